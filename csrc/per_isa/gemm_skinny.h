/* GEMM with very few rows of A, where memory bandwidth is the limit: strided B is read once, along its rows, as gemv
 * reads weights, and the sums stay in cache.
 *
 * The inner step loads ROWS_PER_STEP rows of B times two vectors of columns into registers and adds them, times their
 * elements of A, to all m rows of the sums: 2 * ROWS_PER_STEP multiply-adds for ROWS_PER_STEP broadcasts and two loads
 * and stores of a row. */
_Static_assert((HELD_ROWS ? (HELD_ROWS + 1) * (ROWS_PER_STEP + 1) : 2 * ROWS_PER_STEP + 2) + FREE_REGISTERS <=
                   REGISTERS,
               "gemm_skinny.h needs more registers");

/* sums[m,columns] += A[m,u] B[u,columns], the u rows of B `apart` elements from each other, the u elements of a row of
 * A side by side. What is `ahead` elements behind it in B is prefetched; 0: nothing. */
INLINE void add_step(const int u, int64_t m, int64_t columns, const T *a, const T *b, int64_t apart, T *sums,
                     int64_t ld, int64_t ahead) {
    int64_t j = 0;
    for (; j + 2 * LANES <= columns; j += 2 * LANES) {
        vec row[ROWS_PER_STEP][2];
        UNROLLED (4, int p = 0; p < u; p++)
            row[p][0] = load(b + p * apart + j), row[p][1] = load(b + p * apart + j + LANES);
        if (ahead)
            UNROLLED (4, int p = 0; p < u; p++)
                UNROLLED (2, int64_t l = 0; l < 2 * LANES; l += LINE)
                    __builtin_prefetch(b + p * apart + j + l + ahead, 0, 2);
        T *to = sums + j;
        const T *x = a;
#pragma GCC unroll 4
        for (int64_t i = 0; i < m; i++, to += ld, x += u) {
            vec total[2] = {load(to), load(to + LANES)};
            UNROLLED (4, int p = 0; p < u; p++) total[0] += x[p] * row[p][0], total[1] += x[p] * row[p][1];
            store(to, total[0]), store(to + LANES, total[1]);
        }
    }
    for (; j < columns; j++)
        for (int64_t i = 0; i < m; i++)
            for (int p = 0; p < u; p++) sums[i * ld + j] += a[i * u + p] * b[p * apart + j];
}

#if HELD_ROWS
/* The same for m <= HELD_ROWS and u = ROWS_PER_STEP, with A's elements in registers all along the rows: half of the
 * instructions, so that the reorder buffer spans twice as much of B. */
INLINE void add_held(const int m, int64_t columns, const T *a, const T *b, int64_t apart, T *sums, int64_t ld,
                     int64_t ahead) {
    vec x[HELD_ROWS][ROWS_PER_STEP];
    UNROLLED (4, int i = 0; i < m; i++)
        UNROLLED (4, int p = 0; p < ROWS_PER_STEP; p++) x[i][p] = (vec){0} + a[i * ROWS_PER_STEP + p];
    int64_t j = 0;
    for (; j + LANES <= columns; j += LANES) {
        vec total[HELD_ROWS];
        UNROLLED (4, int i = 0; i < m; i++) total[i] = load(sums + i * ld + j);
        UNROLLED (4, int p = 0; p < ROWS_PER_STEP; p++) {
            const vec row = load(b + p * apart + j);
            if (ahead) __builtin_prefetch(b + p * apart + j + ahead, 0, 2);
            UNROLLED (4, int i = 0; i < m; i++) total[i] += x[i][p] * row;
        }
        UNROLLED (4, int i = 0; i < m; i++) store(sums + i * ld + j, total[i]);
    }
    add_step(ROWS_PER_STEP, m, columns - j, a, b + j, apart, sums + j, ld, 0);
}
#endif

/* The next ROWS_PER_STEP rows of B, by the loop that suits m. */
static void add_next(int64_t m, int64_t columns, const T *a, const T *b, int64_t apart, T *sums, int64_t ld,
                     int64_t ahead) {
#if HELD_ROWS
#define HELD(m)                                                                                                        \
    case m:                                                                                                            \
        ahead ? add_held(m, columns, a, b, apart, sums, ld, ahead) : add_held(m, columns, a, b, apart, sums, ld, 0);   \
        return;
    switch (m) { HELD(1) HELD(2) HELD(3) HELD(4) }
#undef HELD
#endif
    add_step(ROWS_PER_STEP, m, columns, a, b, apart, sums, ld, ahead);
}

static void gemm_skinny(const struct gemm *call) {
    const int64_t m = call->m, n = call->n, k = call->k, lda = call->lda, ldb = call->ldb, ldc = call->ldc;
    const T *a = call->a, *b = call->b;
    T *c = call->c, *workspace = call->workspace;
    const struct caches *caches = host_caches();
#pragma omp parallel num_threads(call->threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        const struct skinny_plan z = plan_gemm_skinny(&target, caches, team, m, n, k);
        const int64_t deep = k / ROWS_PER_STEP, from = ROWS_PER_STEP * deep;

        /* A in the order of use: for each step the elements of every row; then what is left of k, one by one. */
        for (int64_t s = deep * t / team; s < deep * (t + 1) / team; s++)
            for (int64_t i = 0; i < m; i++)
                for (int p = 0; p < ROWS_PER_STEP; p++)
                    workspace[(s * m + i) * ROWS_PER_STEP + p] = a[i * lda + s + p * deep];
        if (t == 0)
            for (int64_t p = from; p < k; p++)
                for (int64_t i = 0; i < m; i++) workspace[p * m + i] = a[i * lda + p];
#pragma omp barrier

        T *sums = workspace + z.a_packed + t * z.sums_thread;
        const int64_t ld = z.apart, end = share(n, LINE, t + 1, team);
        for (int64_t j = share(n, LINE, t, team); j < end; j += z.columns) {
            const int64_t columns = min(end - j, z.columns);
            /* sums that fill half of L1 evict what the hardware prefetchers fetch into it: prefetch rows into L2 */
            const int64_t ahead = 2 * m * columns * (int64_t)sizeof(T) >= caches->l1 ? ldb : 0;
            for (int64_t i = 0; i < m; i++) memset(sums + i * ld, 0, columns * sizeof(T));
            for (int64_t s = 0; s < deep; s++)
                add_next(m, columns, workspace + s * m * ROWS_PER_STEP, b + s * ldb + j, deep * ldb, sums, ld, ahead);
            for (int64_t p = from; p < k; p++)
                add_step(1, m, columns, workspace + p * m, b + p * ldb + j, 0, sums, ld, 0);
            for (int64_t i = 0; i < m; i++) memcpy(c + i * ldc + j, sums + i * ld, columns * sizeof(T));
        }
    }
}

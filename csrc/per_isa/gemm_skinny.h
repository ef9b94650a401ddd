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

/* C[m,columns] = the sums of `parts` threads, `next` elements from one thread's to the next's. */
static void add_up(int64_t m, int64_t columns, const T *sums, int64_t ld, int64_t parts, int64_t next, T *c,
                   int64_t ldc) {
    for (int64_t i = 0; i < m; i++, sums += ld, c += ldc) {
        int64_t j = 0;
        for (; j + LANES <= columns; j += LANES) {
            vec total = load(sums + j);
            for (int64_t r = 1; r < parts; r++) total += load(sums + r * next + j);
            store(c + j, total);
        }
        for (; j < columns; j++) {
            c[j] = sums[j];
            for (int64_t r = 1; r < parts; r++) c[j] += sums[r * next + j];
        }
    }
}

static void gemm_skinny(const struct gemm *call) {
    const int64_t m = call->m, n = call->n, k = call->k, lda = call->lda, ldb = call->ldb, ldc = call->ldc;
    T *c = call->c, *workspace = call->workspace;
    const struct caches *caches = host_caches();
#pragma omp parallel num_threads(call->threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        const struct skinny_plan z = plan_gemm_skinny(&target, caches, team, m, n, k);
        const int64_t column = t % z.across, row = t / z.across; /* row >= z.down: nothing to do */
        const int64_t first = share(n, LINE, column, z.across), end = share(n, LINE, column + 1, z.across);
        const int64_t top = k * row / z.down, rows = row < z.down ? k * (row + 1) / z.down - top : 0;
        const int64_t deep = rows / ROWS_PER_STEP, from = ROWS_PER_STEP * deep;
        const T *a = (const T *)call->a + top, *b = (const T *)call->b + top * ldb;
        T *packed = workspace + top * m, *sums = workspace + z.a_packed + t * z.sums_thread;

        /* A in the order of use: for each step the elements of every row; then what is left of k, one by one. */
        for (int64_t s = deep * column / z.across; s < deep * (column + 1) / z.across; s++)
            for (int64_t i = 0; i < m; i++)
                for (int p = 0; p < ROWS_PER_STEP; p++)
                    packed[(s * m + i) * ROWS_PER_STEP + p] = a[i * lda + s + p * deep];
        if (column == 0)
            for (int64_t p = from; p < rows; p++)
                for (int64_t i = 0; i < m; i++) packed[p * m + i] = a[i * lda + p];
        if (z.across > 1) {
#pragma omp barrier
        }

        const int64_t ld = z.apart;
        for (int64_t j = first; j < end && rows; j += z.columns) {
            const int64_t columns = min(end - j, z.columns);
            T *to = sums + (z.down > 1 ? j - first : 0);
            /* sums that fill half of L1 evict what the hardware prefetchers fetch into it: prefetch rows into L2 */
            const int64_t ahead = 2 * m * columns * (int64_t)sizeof(T) >= caches->l1 ? ldb : 0;
            for (int64_t i = 0; i < m; i++) memset(to + i * ld, 0, columns * sizeof(T));
            for (int64_t s = 0; s < deep; s++)
                add_next(m, columns, packed + s * m * ROWS_PER_STEP, b + s * ldb + j, deep * ldb, to, ld, ahead);
            for (int64_t p = from; p < rows; p++)
                add_step(1, m, columns, packed + p * m, b + p * ldb + j, 0, to, ld, 0);
            if (z.down == 1) add_up(m, columns, to, ld, 1, 0, c + j, ldc);
        }
        if (z.down > 1) {
#pragma omp barrier
            const int64_t j = share(end - first, LINE, row, z.down), last = share(end - first, LINE, row + 1, z.down);
            if (rows)
                add_up(m, last - j, workspace + z.a_packed + column * z.sums_thread + j, ld, z.down,
                       z.across * z.sums_thread, c + first + j, ldc);
        }
    }
}

/* GEMM with very few rows of A, where memory is the limit: B is read once, as it lies, along its rows, as gemv reads it,
 * and the sums are what stays in cache.
 *
 * The inner step takes DEEP rows of B times two vectors of columns into registers and adds them, times their elements
 * of A, to all m rows of the sums: 2 * DEEP multiply-adds for DEEP broadcasts and two loads and stores of a row. */
enum {
    /* Up to so many rows this beats the register tile, which walks down columns: with narrow vectors in pieces of rows that
     * are too short for memory. */
    F(FEW) = VECTOR_BYTES == 64 ? 4 : 16,
    F(DEEP) = 4, /* rows of B at once: as many streams as gemv's, a quarter of k apart */
    F(HELD) = VECTOR_BYTES == 64 ? 4 : 0 /* rows of A whose DEEP elements find room in registers */
};
_Static_assert((F(HELD) ? (F(HELD) + 1) * (F(DEEP) + 1) : 2 * F(DEEP) + 2) + SPARE <= REGISTERS,
               "gemm_skinny.h needs more registers");

/* sums[m,columns] += A[m,u] B[u,columns], the u rows of B `apart` elements from each other, the u elements of a row
 * of A side by side. What lies `ahead` elements behind it in B is asked for; 0: nothing. */
static inline __attribute__((always_inline)) void F(add_deep)(const int u, int64_t m, int64_t columns, const T *a,
                                                              const T *b, int64_t apart, T *sums, int64_t ld,
                                                              int64_t ahead) {
    int64_t j = 0;
    for (; j + 2 * LANES <= columns; j += 2 * LANES) {
        vec row[F(DEEP)][2];
#pragma GCC unroll 4
        for (int p = 0; p < u; p++)
            row[p][0] = F(load)(b + p * apart + j), row[p][1] = F(load)(b + p * apart + j + LANES);
        if (ahead)
#pragma GCC unroll 4
            for (int p = 0; p < u; p++)
#pragma GCC unroll 2
                for (int64_t l = 0; l < 2 * LANES; l += LINE) __builtin_prefetch(b + p * apart + j + l + ahead, 0, 2);
        T *to = sums + j;
        const T *x = a;
#pragma GCC unroll 4
        for (int64_t i = 0; i < m; i++, to += ld, x += u) {
            vec sum[2] = {F(load)(to), F(load)(to + LANES)};
#pragma GCC unroll 4
            for (int p = 0; p < u; p++) sum[0] += x[p] * row[p][0], sum[1] += x[p] * row[p][1];
            F(store)(to, sum[0]), F(store)(to + LANES, sum[1]);
        }
    }
    for (; j < columns; j++)
        for (int64_t i = 0; i < m; i++)
            for (int p = 0; p < u; p++) sums[i * ld + j] += a[i * u + p] * b[p * apart + j];
}

/* The same for m <= HELD and u = DEEP, with A's elements in registers all along the rows: that leaves them half of the
 * instructions, and a core looks twice as far ahead. */
static inline __attribute__((always_inline)) void F(add_held)(const int m, int64_t columns, const T *a, const T *b,
                                                              int64_t apart, T *sums, int64_t ld, int64_t ahead) {
    vec x[F(HELD) + 1][F(DEEP)];
#pragma GCC unroll 4
    for (int i = 0; i < m; i++)
#pragma GCC unroll 4
        for (int p = 0; p < F(DEEP); p++) x[i][p] = (vec){0} + a[i * F(DEEP) + p];
    int64_t j = 0;
    for (; j + LANES <= columns; j += LANES) {
        vec sum[F(HELD) + 1];
#pragma GCC unroll 4
        for (int i = 0; i < m; i++) sum[i] = F(load)(sums + i * ld + j);
#pragma GCC unroll 4
        for (int p = 0; p < F(DEEP); p++) {
            const vec row = F(load)(b + p * apart + j);
            if (ahead) __builtin_prefetch(b + p * apart + j + ahead, 0, 2);
#pragma GCC unroll 4
            for (int i = 0; i < m; i++) sum[i] += x[i][p] * row;
        }
#pragma GCC unroll 4
        for (int i = 0; i < m; i++) F(store)(sums + i * ld + j, sum[i]);
    }
    F(add_deep)(F(DEEP), m, columns - j, a, b + j, apart, sums + j, ld, 0);
}

/* The next DEEP rows of B, by the loop that suits m. */
static void F(add_step)(int64_t m, int64_t columns, const T *a, const T *b, int64_t apart, T *sums, int64_t ld,
                        int64_t ahead) {
#define HELD(m)                                                                                                        \
    (ahead ? F(add_held)(m, columns, a, b, apart, sums, ld, ahead) : F(add_held)(m, columns, a, b, apart, sums, ld, 0))
    if (!F(HELD) || m > F(HELD)) F(add_deep)(F(DEEP), m, columns, a, b, apart, sums, ld, ahead);
    else if (m == 4) HELD(4);
    else if (m == 3) HELD(3);
    else if (m == 2) HELD(2);
    else HELD(1);
#undef HELD
}

/* Columns whose sums fill a quarter of L2: still pieces of B's rows that are long enough to be read as streams. */
static int64_t F(few_columns)(int threads, int64_t m, int64_t n) {
    const int64_t most = cache_bytes(2) / 4 / (m * (int64_t)sizeof(T)), width = divide_up(n, threads);
    return round_up(divide_up(width, divide_up(width, most)), LINE);
}
/* Rows of sums are a sixteenth of 4 KiB apart, beyond whole ones: a load waits for an earlier store to another row where
 * the last 12 bits of their addresses are the same. */
static int64_t F(few_apart)(int threads, int64_t m, int64_t n) {
    const int64_t page = 4096 / sizeof(T);
    return round_up(F(few_columns)(threads, m, n), page) + page / 16;
}
static int64_t F(few_elements)(int threads, int64_t m, int64_t n, int64_t k) {
    return round_up(m * k, LINE) + threads * m * F(few_apart)(threads, m, n);
}

static void F(few_rows)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b, int64_t ldb,
                        T *c, int64_t ldc, T *workspace) {
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num(), team = omp_get_num_threads();
        const int64_t deep = k / F(DEEP), from = F(DEEP) * deep;

        /* A in the order of use: for each step the DEEP elements of every row; then what is left of k, one by one. */
        for (int64_t s = deep * t / team; s < deep * (t + 1) / team; s++)
            for (int64_t i = 0; i < m; i++)
                for (int p = 0; p < F(DEEP); p++) workspace[(s * m + i) * F(DEEP) + p] = a[i * lda + s + p * deep];
        if (t == 0)
            for (int64_t p = from; p < k; p++)
                for (int64_t i = 0; i < m; i++) workspace[p * m + i] = a[i * lda + p];
#pragma omp barrier

        T *sums = workspace + round_up(m * k, LINE) + t * m * F(few_apart)(team, m, n);
        const int64_t nb = F(few_columns)(team, m, n), ld = F(few_apart)(team, m, n), end = share(n, LINE, t + 1, team);
        for (int64_t j = share(n, LINE, t, team); j < end; j += nb) {
            const int64_t columns = end - j < nb ? end - j : nb;
            /* sums that leave no room in L1 for what prefetchers bring there: ask for the next rows, into L2 */
            const int64_t ahead = 2 * m * columns * (int64_t)sizeof(T) >= cache_bytes(1) ? ldb : 0;
            for (int64_t i = 0; i < m; i++) memset(sums + i * ld, 0, columns * sizeof(T));
            for (int64_t s = 0; s < deep; s++)
                F(add_step)(m, columns, workspace + s * m * F(DEEP), b + s * ldb + j, deep * ldb, sums, ld, ahead);
            for (int64_t p = from; p < k; p++)
                F(add_deep)(1, m, columns, workspace + p * m, b + p * ldb + j, 0, sums, ld, 0);
            for (int64_t i = 0; i < m; i++) memcpy(c + i * ldc + j, sums + i * ld, columns * sizeof(T));
        }
    }
}

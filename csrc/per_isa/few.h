/* GEMM with few rows of A: prefill of short prompts, small batches. Packing B would cost as much as using it, so B is
 * read once, as it lies, row by row, and C is what stays in cache: a block of columns of all its rows in L1.
 *
 * Each step adds FEW_K rows of B, times their elements of A, to ROWS rows of C: FEW_K * ROWS multiply-adds for FEW_K
 * loads of B and ROWS loads and stores of C, and the elements of A stay broadcast in registers. */
enum { F(FEW_K) = 4, F(FEW_ROWS) = 2 };
_Static_assert(F(FEW_K) * F(FEW_ROWS) + F(FEW_ROWS) + 1 + !HAS_FMA <= REGISTERS, "few.h needs more registers");

/* C[h,columns] (+)= A[h,u] B[u,columns]; also asks for the lines of the u rows at `next`, unless it is NULL. */
static inline __attribute__((always_inline)) void F(add_few)(const int h, const int u, int64_t columns, const T *a,
                                                             int64_t lda, const T *b, int64_t ldb, T *c, int64_t ldc,
                                                             int accumulate, const T *next) {
    vec x[F(FEW_ROWS)][F(FEW_K)];
#pragma GCC unroll 2
    for (int i = 0; i < h; i++)
#pragma GCC unroll 4
        for (int p = 0; p < u; p++) x[i][p] = (vec){0} + a[i * lda + p];

    int64_t j = 0;
    for (; j + LANES <= columns; j += LANES) {
        if (next && !(j * (int64_t)sizeof(T) & (CACHE_LINE - 1)))
#pragma GCC unroll 4
            for (int p = 0; p < u; p++) __builtin_prefetch(next + p * ldb + j, 0, 2);
        vec sum[F(FEW_ROWS)];
#pragma GCC unroll 2
        for (int i = 0; i < h; i++) sum[i] = accumulate ? F(load)(c + i * ldc + j) : (vec){0};
#pragma GCC unroll 4
        for (int p = 0; p < u; p++) {
            vec row = F(load)(b + p * ldb + j);
#pragma GCC unroll 2
            for (int i = 0; i < h; i++) sum[i] += x[i][p] * row;
        }
#pragma GCC unroll 2
        for (int i = 0; i < h; i++) F(store)(c + i * ldc + j, sum[i]);
    }
    for (; j < columns; j++)
        for (int i = 0; i < h; i++) {
            T sum = accumulate ? c[i * ldc + j] : 0;
            for (int p = 0; p < u; p++) sum += a[i * lda + p] * b[p * ldb + j];
            c[i * ldc + j] = sum;
        }
}

/* All m rows of C times u rows of B; only the first pair of rows asks for what comes next. */
static inline __attribute__((always_inline)) void F(add_all)(const int u, int64_t m, int64_t columns, const T *a,
                                                             int64_t lda, const T *b, int64_t ldb, T *c, int64_t ldc,
                                                             int accumulate, const T *next) {
    int64_t i = 0;
    for (; i + F(FEW_ROWS) <= m; i += F(FEW_ROWS), next = NULL)
        F(add_few)(F(FEW_ROWS), u, columns, a + i * lda, lda, b, ldb, c + i * ldc, ldc, accumulate, next);
    for (; i < m; i++, next = NULL)
        F(add_few)(1, u, columns, a + i * lda, lda, b, ldb, c + i * ldc, ldc, accumulate, next);
}

enum { F(FEW_ELEMENTS) = 8192 / sizeof(T) }; /* the block of C: a quarter of the smallest L1 in use, 32 KiB */

static void F(few_rows)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b, int64_t ldb,
                        T *c, int64_t ldc) {
    const int64_t line = CACHE_LINE / sizeof(T), block = F(FEW_ELEMENTS) / (m > 4 ? m : 4) / line * line;

#pragma omp parallel num_threads(threads)
    {
        /* Apart from C, whose rows may all lie on the same few sets of L1. */
        alignas(CACHE_LINE) T sums[F(FEW_ELEMENTS)];
        int t = omp_get_thread_num(), team = omp_get_num_threads();
        int64_t end = share(n, line, t + 1, team);
        for (int64_t j = share(n, line, t, team); j < end; j += block) {
            int64_t columns = end - j < block ? end - j : block, p = 0;
            for (; p + F(FEW_K) <= k; p += F(FEW_K)) {
                const T *at = b + p * ldb + j;
                const T *next = p + 3 * F(FEW_K) <= k ? at + 2 * F(FEW_K) * ldb : NULL;
                F(add_all)(F(FEW_K), m, columns, a + p, lda, at, ldb, sums, block, p > 0, next);
            }
            for (; p < k; p++) F(add_all)(1, m, columns, a + p, lda, b + p * ldb + j, ldb, sums, block, p > 0, NULL);
            for (int64_t i = 0; i < m; i++) memcpy(c + i * ldc + j, sums + i * block, columns * sizeof(T));
        }
    }
}

/* The lower rungs of the climb: what one writes first, and the first thing one learns to do about it. */

/* Three plain loops. The inner one walks down a column of B: one element of each cache line fetched. */
static void F(naive)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b, int64_t ldb,
                     T *c, int64_t ldc) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            T sum = 0;
            for (int64_t p = 0; p < k; p++) sum += a[i * lda + p] * b[p * ldb + j];
            c[i * ldc + j] = sum;
        }
}

/* The same loops over blocks that stay in cache, the inner one along rows of B and C, which the compiler turns into
 * vectors by itself. A block of B is 64 x 256 elements: 64 KiB in f32, half of the smallest L2 in use (128 KiB). */
enum { F(TILED_M) = 16, F(TILED_K) = 64, F(TILED_N) = 256 };

static void F(tiled)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b, int64_t ldb,
                     T *c, int64_t ldc) {
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t i0 = 0; i0 < m; i0 += F(TILED_M))
        for (int64_t j0 = 0; j0 < n; j0 += F(TILED_N)) {
            int64_t i1 = i0 + F(TILED_M) < m ? i0 + F(TILED_M) : m;
            int64_t j1 = j0 + F(TILED_N) < n ? j0 + F(TILED_N) : n;
            for (int64_t i = i0; i < i1; i++)
                for (int64_t j = j0; j < j1; j++) c[i * ldc + j] = 0;
            for (int64_t p0 = 0; p0 < k; p0 += F(TILED_K)) {
                int64_t p1 = p0 + F(TILED_K) < k ? p0 + F(TILED_K) : k;
                for (int64_t i = i0; i < i1; i++)
                    for (int64_t p = p0; p < p1; p++) {
                        T aip = a[i * lda + p];
                        T *restrict row = c + i * ldc;
                        for (int64_t j = j0; j < j1; j++) row[j] += aip * b[p * ldb + j];
                    }
            }
        }
}

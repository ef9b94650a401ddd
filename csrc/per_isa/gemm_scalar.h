/* The lower steps of the climb: what one writes first, and what one learns to do about it before vectors.
 *
 * They stay scalar, so that each step is one idea and the vectors in gemm.h another: GCC would vectorise the inner loop
 * of tiled and, across neighbouring columns, the tile of packed. Clang has no such attribute: CMake tells it. */
#if defined __clang__
#define SCALAR
#else
#define SCALAR __attribute__((optimize("no-tree-vectorize")))
#endif

/* Three plain loops. The inner one walks down a column of B: one element of each cache line fetched. */
SCALAR static void gemm_naive(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b,
                              int64_t ldb, T *c, int64_t ldc) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            T total = 0;
            for (int64_t p = 0; p < k; p++) total += a[i * lda + p] * b[p * ldb + j];
            c[i * ldc + j] = total;
        }
}

/* The same loops over blocks that stay in cache, the inner one along rows of B and C: every byte of a line is used. A
 * block of B is 64 x 256 elements: 64 KiB in f32, half of the smallest L2 in use (128 KiB). */
enum { TILED_M = 16, TILED_K = 64, TILED_N = 256 };

SCALAR static void gemm_tiled(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b,
                              int64_t ldb, T *c, int64_t ldc) {
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
    for (int64_t i0 = 0; i0 < m; i0 += TILED_M)
        for (int64_t j0 = 0; j0 < n; j0 += TILED_N) {
            const int64_t i1 = min(i0 + TILED_M, m), j1 = min(j0 + TILED_N, n);
            for (int64_t i = i0; i < i1; i++)
                for (int64_t j = j0; j < j1; j++) c[i * ldc + j] = 0;
            for (int64_t p0 = 0; p0 < k; p0 += TILED_K) {
                const int64_t p1 = min(p0 + TILED_K, k);
                for (int64_t i = i0; i < i1; i++)
                    for (int64_t p = p0; p < p1; p++) {
                        const T aip = a[i * lda + p];
                        T *restrict row = c + i * ldc;
                        for (int64_t j = j0; j < j1; j++) row[j] += aip * b[p * ldb + j];
                    }
            }
        }
}

/* C[rows,columns] (+)= A[MR,k] B[k,NV] from packed panels: gemm's register tile with one lane for each of its vectors.
 * MR + NV loads feed MR * NV multiply-adds that don't wait for each other, and C is touched once, after all of them. */
SCALAR static void scalar_tile(int64_t k, const T *restrict a, const T *restrict b, T *c, int64_t ldc, int64_t rows,
                               int64_t columns, int accumulate) {
    T acc[MR][NV] = {{0}};
    for (int64_t p = 0; p < k; p++, a += MR, b += NV)
        UNROLLED (16, int i = 0; i < MR; i++)
            UNROLLED (4, int j = 0; j < NV; j++) acc[i][j] += a[i] * b[j];

    /* constant indices: acc stays in registers */
    UNROLLED (16, int i = 0; i < MR; i++)
        UNROLLED (4, int j = 0; j < NV; j++)
            if (i < rows && j < columns) c[i * ldc + j] = acc[i][j] + (accumulate ? c[i * ldc + j] : 0);
}

/* Elements of workspace of one thread: a block of B, and a panel of A. 132 KiB in f64, too much for a thread's stack.
 */
#define PACKED_THREAD round_up((TILED_N + NV + MR) * TILED_K, LINE)

/* The blocks of tiled, copied into the order in which the tile reads them: B in panels k x NV, A in panels k x MR, each
 * contiguous and padded with zeros. Every thread has its own columns of B and C. */
SCALAR static void gemm_packed(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b,
                               int64_t ldb, T *c, int64_t ldc, T *workspace) {
#pragma omp parallel num_threads(threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        const int64_t first = share(n, LINE, t, team), end = share(n, LINE, t + 1, team);
        T *panels = workspace + t * PACKED_THREAD, *rows = panels + (TILED_N + NV) * TILED_K;
        for (int64_t j0 = first; j0 < end; j0 += TILED_N)
            for (int64_t p0 = 0; p0 < k; p0 += TILED_K) {
                const int64_t nb = min(end - j0, TILED_N), kb = min(k - p0, TILED_K);
                for (int64_t p = 0; p < kb; p++)
                    for (int64_t j = 0; j < round_up(nb, NV); j++)
                        panels[j / NV * NV * kb + p * NV + j % NV] = j < nb ? b[(p0 + p) * ldb + j0 + j] : 0;
                for (int64_t i = 0; i < m; i += MR) {
                    for (int64_t r = 0; r < MR; r++)
                        for (int64_t p = 0; p < kb; p++) rows[p * MR + r] = i + r < m ? a[(i + r) * lda + p0 + p] : 0;
                    for (int64_t j = 0; j < nb; j += NV)
                        scalar_tile(kb, rows, panels + j * kb, c + i * ldc + j0 + j, ldc, m - i, nb - j, p0 > 0);
                }
            }
    }
}

#define OPERANDS(x) x->threads, x->m, x->n, x->k, x->a, x->lda, x->b, x->ldb, x->c, x->ldc
static void run_gemm_naive(const struct gemm *call) { gemm_naive(OPERANDS(call)); }
static void run_gemm_tiled(const struct gemm *call) { gemm_tiled(OPERANDS(call)); }
static void run_gemm_packed(const struct gemm *call) { gemm_packed(OPERANDS(call), call->workspace); }

static int64_t gemm_packed_workspace(const struct gemm *call) {
    return call->threads * PACKED_THREAD * (int64_t)sizeof(T);
}

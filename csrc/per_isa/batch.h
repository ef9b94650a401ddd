/* Many small products in one call: attention's, one per head. Each is too small to be shared among threads, so threads
 * take whole products, or, where those don't divide evenly, equal pieces of all their rows. B is packed into strips that
 * stay in cache for all rows of its product; A is read as it lies, since each element is used for few columns.
 * A single row is not worth packing for. */

/* n rows of k elements -> strips of the transposed, as pack_strips makes them. */
static void F(pack_transposed)(int64_t k, int64_t n, const T *b, int64_t ldb, T *to, int64_t strip) {
    for (int64_t j = 0; j < n; j += LANES, b += LANES * ldb, to += strip) {
        int64_t p = 0;
        for (; j + LANES <= n && p + LANES <= k; p += LANES) {
            vec square[LANES];
#pragma GCC unroll 16
            for (int64_t l = 0; l < LANES; l++) square[l] = F(load)(b + l * ldb + p);
            F(transpose)(square);
#pragma GCC unroll 16
            for (int64_t l = 0; l < LANES; l++) F(store)(to + (p + l) * LANES, square[l]);
        }
        for (; p < k; p++)
            for (int64_t l = 0; l < LANES; l++) to[p * LANES + l] = j + l < n ? b[l * ldb + p] : 0;
    }
}

struct F(batch_plan) {
    int64_t kc, nc, b_thread; /* a block of B: kc x nc, packed: b_thread elements */
};

static struct F(batch_plan) F(plan_batch)(int64_t n, int64_t k) {
    struct F(batch_plan) z;
    z.kc = F(block_k)(0, k);
    int64_t nc = cache_bytes(1) / 2 / (z.kc * (int64_t)sizeof(T)) / NR * NR; /* half of L1, */
    nc = nc < 4 * NR ? 4 * NR : nc;                            /* but what is read of A serves at least four tiles */
    z.nc = n < nc ? n : nc;
    z.b_thread = round_up(round_up(z.nc, LANES) * z.kc, LINE);
    return z;
}

static int64_t F(batch_workspace_bytes)(int threads, int64_t m, int64_t n, int64_t k) {
    return m == 1 ? 0 : threads * F(plan_batch)(n, k).b_thread * (int64_t)sizeof(T);
}

/* C[1,n] = A[1,k] B[k,n] on one thread: a decoder's heads. B is used once, so it is read as gemv.h reads weights. */
static void F(single_row)(int64_t n, int64_t k, const T *a, const T *b, int64_t ldb, int transposed, T *c) {
    const int64_t rows = transposed ? n : k, each = rows / F(STREAMS);
    for (int64_t i = 0; i < each; i++)
        if (transposed)
            F(dots)(F(STREAMS), each, k, b + i * ldb, ldb, a, c + i);
        else
            F(add_rows)(F(STREAMS), each, n, a + i, b + i * ldb, ldb, c, i > 0);
    for (int64_t i = F(STREAMS) * each; i < rows; i++)
        if (transposed)
            F(dots)(1, 0, k, b + i * ldb, ldb, a, c + i);
        else
            F(add_rows)(1, 0, n, a + i, b + i * ldb, ldb, c, i > 0);
}

/* C[m,n] = A[m,k] B[k,n] on one thread. */
static void F(small_product)(int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b, int64_t ldb,
                             int transposed, T *c, int64_t ldc, T *strips) {
    alignas(CACHE_LINE) T scratch[MR * WIDEST * LANES];
    const struct F(batch_plan) z = F(plan_batch)(n, k);
    const int64_t tiles = divide_up(m, MR), width = AT_ONCE(divide_up(m, tiles)) * LANES;
    struct F(ahead) none = {.at = a, .mask = NEVER};
    for (int64_t jc = 0; jc < n; jc += z.nc)
        for (int64_t pc = 0; pc < k; pc += z.kc) {
            const int64_t nb = n - jc < z.nc ? n - jc : z.nc, kb = k - pc < z.kc ? k - pc : z.kc, strip = kb * LANES;
            if (transposed)
                F(pack_transposed)(kb, nb, b + jc * ldb + pc, ldb, strips, strip);
            else
                F(pack_strips)(kb, nb, b + pc * ldb + jc, ldb, strips, strip);
            for (int64_t tile = 0; tile < tiles; tile++) {
                const int64_t i = F(tile_start)(m, tiles, tile), h = F(tile_start)(m, tiles, tile + 1) - i;
                for (int64_t j = 0; j < nb; j += width) {
                    const int64_t columns = nb - j < width ? nb - j : width, wide = divide_up(columns, LANES);
                    T *to = c + i * ldc + jc + j;
                    const int direct = columns == wide * LANES;
                    F(direct_tile)[h][wide - 1](kb, a + i * lda + pc, lda, strips + j * kb, strip,
                                                direct ? to : scratch, direct ? ldc : wide * LANES, direct && pc > 0,
                                                &none);
                    if (!direct) F(copy_edge)(h, columns, scratch, wide * LANES, to, ldc, pc > 0);
                }
            }
        }
}

static void F(batched)(int threads, int64_t batch, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,
                       int64_t stride_a, const T *b, int64_t ldb, int64_t stride_b, int transposed, T *c, int64_t ldc,
                       int64_t stride_c, void *workspace) {
    const int64_t each = F(plan_batch)(n, k).b_thread;
#pragma omp parallel num_threads(threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        const int64_t rows = batch * m;
        for (int64_t r = rows * t / team, last = rows * (t + 1) / team; r < last;) {
            const int64_t g = r / m, i = r % m, h = m - i < last - r ? m - i : last - r;
            if (m == 1)
                F(single_row)(n, k, a + g * stride_a, b + g * stride_b, ldb, transposed, c + g * stride_c);
            else
                F(small_product)(h, n, k, a + g * stride_a + i * lda, lda, b + g * stride_b, ldb,
                                 transposed, c + g * stride_c + i * ldc, ldc, (T *)workspace + t * each);
            r += h;
        }
    }
}

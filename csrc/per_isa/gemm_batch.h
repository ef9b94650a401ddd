/* Many small products in one call: attention's, one per head. Each is too small to be shared among threads, so threads
 * take whole products, or, where those don't divide evenly, equal pieces of all their rows. Operands are as small as caches
 * and are read as they lie; only a transposed B has to be turned first, into strips that serve all rows of its product. */

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
    z.kc = F(block_k)(k);
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
static void F(small_product)(struct F(batch_plan) z, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b,
                             int64_t ldb, int transposed, T *c, int64_t ldc, T *strips) {
    alignas(CACHE_LINE) T scratch[MR * WIDEST * LANES];
    const int64_t tiles = divide_up(m, MR), width = AT_ONCE(divide_up(m, tiles)) * LANES;
    struct F(ahead) none = {.at = a, .mask = NEVER};
    for (int64_t jc = 0; jc < n; jc += z.nc)
        for (int64_t pc = 0; pc < k; pc += z.kc) {
            const int64_t nb = n - jc < z.nc ? n - jc : z.nc, kb = k - pc < z.kc ? k - pc : z.kc, strip = kb * LANES;
            /* the columns from `edge` on come in strips: a tile at the edge may not read beyond B */
            const int64_t edge = transposed ? 0 : nb / width * width;
            if (transposed)
                F(pack_transposed)(kb, nb, b + jc * ldb + pc, ldb, strips, strip);
            else if (edge < nb)
                F(pack_strips)(kb, nb - edge, b + pc * ldb + jc + edge, ldb, strips + edge * kb, strip);
            for (int64_t tile = 0, i = 0, h; tile < tiles; tile++, i += h) {
                h = F(tile_start)(m, tiles, tile + 1) - i;
                for (int64_t j = 0; j < nb; j += width) {
                    const int64_t columns = nb - j < width ? nb - j : width, wide = divide_up(columns, LANES);
                    T *to = c + i * ldc + jc + j;
                    const int whole = columns == wide * LANES, lies = j < edge;
                    F(tile) *run = (lies ? F(both_tile) : F(direct_tile))[h][wide - 1];
                    run(kb, a + i * lda + pc, lda, lies ? b + pc * ldb + jc + j : strips + j * kb, lies ? ldb : strip,
                        NULL, whole ? to : scratch, whole ? ldc : wide * LANES, whole && pc > 0, &none);
                    if (!whole) F(copy_edge)(h, columns, scratch, wide * LANES, to, ldc, pc > 0);
                }
            }
        }
}

static void F(batched)(int threads, int64_t batch, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,
                       int64_t stride_a, const T *b, int64_t ldb, int64_t stride_b, int transposed, T *c, int64_t ldc,
                       int64_t stride_c, void *workspace) {
    const struct F(batch_plan) z = F(plan_batch)(n, k);
#pragma omp parallel num_threads(threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        const int64_t rows = batch * m;
        for (int64_t r = rows * t / team, last = rows * (t + 1) / team; r < last;) {
            const int64_t g = r / m, i = r % m, h = m - i < last - r ? m - i : last - r;
            if (m == 1)
                F(single_row)(n, k, a + g * stride_a, b + g * stride_b, ldb, transposed, c + g * stride_c);
            else
                F(small_product)(z, h, n, k, a + g * stride_a + i * lda, lda, b + g * stride_b, ldb, transposed,
                                 c + g * stride_c + i * ldc, ldc, (T *)workspace + t * z.b_thread);
            r += h;
        }
    }
}

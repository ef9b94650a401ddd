/* Many small products in one call: attention's, one per head. Each is too small to be shared among threads, so threads
 * take whole products, or, where those don't divide evenly, equal pieces of all their rows. Operands are as small as
 * caches and are read strided; only a transposed B is packed first, into strips that serve all rows of its product. */

/* C[1,n] = A[1,k] B[k,n] on one thread: a decoder's heads. B is used once, so it is read as gemv.h reads weights. */
static void single_row(int64_t n, int64_t k, const T *a, const T *b, int64_t ldb, int transposed, T *c) {
    const int64_t rows = transposed ? n : k, each = rows / STREAMS;
    for (int64_t i = 0; i < each; i++)
        if (transposed) dots(STREAMS, each, k, b + i * ldb, ldb, a, c + i);
        else add_rows(STREAMS, each, n, a + i, b + i * ldb, ldb, c, i > 0);
    for (int64_t i = STREAMS * each; i < rows; i++)
        if (transposed) dots(1, 0, k, b + i * ldb, ldb, a, c + i);
        else add_rows(1, 0, n, a + i, b + i * ldb, ldb, c, i > 0);
}

/* C[m,n] = A[m,k] B[k,n] on one thread. */
static void small_product(struct batch_plan z, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b,
                          int64_t ldb, int transposed, T *c, int64_t ldc, T *strips) {
    alignas(CACHE_LINE) T scratch[MR * WIDEST * LANES];
    const int64_t tiles = divide_up(m, MR), width = TILE_VECTORS(divide_up(m, tiles)) * LANES;
    struct ahead none = {.at = a, .mask = NEVER};
    for (int64_t jc = 0; jc < n; jc += z.nc)
        for (int64_t pc = 0; pc < k; pc += z.kc) {
            const int64_t nb = min(n - jc, z.nc), kb = min(k - pc, z.kc), strip = kb * LANES;
            /* the columns from `edge` on are packed: a tile at the edge may not read beyond B */
            const int64_t edge = transposed ? 0 : nb / width * width;
            if (transposed) pack_transposed(kb, nb, b + jc * ldb + pc, ldb, strips, strip);
            else if (edge < nb) pack_strips(kb, nb - edge, b + pc * ldb + jc + edge, ldb, strips + edge * kb, strip);
            for (int64_t i = 0, first = 0, h; i < tiles; i++, first += h) {
                h = tile_start(m, tiles, i + 1) - first;
                for (int64_t j = 0; j < nb; j += width) {
                    const int64_t columns = min(nb - j, width), wide = divide_up(columns, LANES);
                    T *to = c + first * ldc + jc + j;
                    const int whole = columns == wide * LANES, strided = j < edge;
                    tile *run = (strided ? as_bs_tile : as_bp_tile)[h][wide - 1];
                    run(kb, a + first * lda + pc, lda, strided ? b + pc * ldb + jc + j : strips + j * kb,
                        strided ? ldb : strip, NULL, whole ? to : scratch, whole ? ldc : wide * LANES, whole && pc > 0,
                        &none);
                    if (!whole) copy_edge(h, columns, scratch, wide * LANES, to, ldc, pc > 0);
                }
            }
        }
}

/* Row i of B, or STREAMS rows `each` apart, of every product: a decoder's heads. */
INLINE void rows_of_all(const struct gemm_batch *call, const int transposed, const int rows, int64_t each, int64_t i,
                        T *sums, int64_t apart, int accumulate) {
    for (int64_t g = 0; g < call->batch; g++) {
        const T *a = (const T *)call->a + g * call->stride_a;
        const T *b = (const T *)call->b + g * call->stride_b + i * call->ldb;
        if (transposed) dots(rows, each, call->k, b, call->ldb, a, sums + g * apart + i);
        else add_rows(rows, each, call->n, a + i, b, call->ldb, sums + g * apart, accumulate);
    }
}

/* Products of one row each whose matrices B interleave: K and V as [token, head, head_dim]. Then a row of B of all of
 * them is one piece of memory, and threads take consecutive rows, of which they read a few streams as gemv.h does:
 * matrix after matrix the streams would be a quarter of one head's rows long, which took 1.4 times as long (64 tokens
 * of 12 heads from memory, Zen 3). Sums over rows are added up as gemv_t's are. */
INLINE void interleaved(const struct gemm_batch *call, const int transposed) {
    const int64_t batch = call->batch, n = call->n, count = transposed ? n : call->k, line = round_up(n, LINE);
    T *c = call->c, *workspace = call->workspace;
#pragma omp parallel num_threads(call->threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        const int64_t first = count * t / team, end = count * (t + 1) / team, each = (end - first) / STREAMS;
        const int own = !transposed && team > 1;
        T *sums = own ? workspace + t * batch * line : c;
        const int64_t apart = own ? line : call->stride_c;
        for (int64_t i = first; i < first + each; i++)
            rows_of_all(call, transposed, STREAMS, each, i, sums, apart, i > first);
        for (int64_t i = first + STREAMS * each; i < end; i++)
            rows_of_all(call, transposed, 1, 0, i, sums, apart, i > first);
        if (own) {
#pragma omp barrier
            for (int64_t g = batch * t / team; g < batch * (t + 1) / team; g++) {
                T *to = c + g * call->stride_c;
                memset(to, 0, n * sizeof(T));
                for (int s = 0; s < team; s++) {
                    if (count * s / team == count * (s + 1) / team) continue; /* with count < team some had no row */
                    const T *from = workspace + (s * batch + g) * line;
                    for (int64_t j = 0; j < n; j++) to[j] += from[j];
                }
            }
        }
    }
}

static int interleave(const struct gemm_batch *call) { return call->m == 1 && call->stride_b < call->ldb; }

static void products(const struct gemm_batch *call, const int transposed) {
    const int64_t m = call->m, n = call->n, k = call->k, rows = call->batch * m;
    const struct batch_plan z = plan_gemm_batch(&target, host_caches(), m, n, k);
#pragma omp parallel num_threads(call->threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        T *strips = (T *)call->workspace + t * z.b_thread;
        for (int64_t r = rows * t / team, last = rows * (t + 1) / team; r < last;) {
            const int64_t g = r / m, i = r % m, h = min(m - i, last - r);
            const T *a = (const T *)call->a + g * call->stride_a + i * call->lda;
            const T *b = (const T *)call->b + g * call->stride_b;
            T *c = (T *)call->c + g * call->stride_c + i * call->ldc;
            if (m == 1) single_row(n, k, a, b, call->ldb, transposed, c);
            else small_product(z, h, n, k, a, call->lda, b, call->ldb, transposed, c, call->ldc, strips);
            r += h;
        }
    }
}

static void run_gemm_batch(const struct gemm_batch *call) {
    if (interleave(call)) interleaved(call, 0);
    else products(call, 0);
}
static void run_gemm_batch_t(const struct gemm_batch *call) {
    if (interleave(call)) interleaved(call, 1);
    else products(call, 1);
}

static int64_t gemm_batch_workspace(const struct gemm_batch *call) {
    if (interleave(call)) return call->threads * call->batch * round_up(call->n, LINE) * (int64_t)sizeof(T);
    return call->threads * plan_gemm_batch(&target, host_caches(), call->m, call->n, call->k).b_thread *
           (int64_t)sizeof(T);
}

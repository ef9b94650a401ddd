/* GEMM in five loops around the register microkernel (Goto's order), with two changes for the shapes of transformer
 * layers (few rows of A, a large B that is read once):
 *
 *   - B is not packed ahead of its use. The first row tile reads it strided and copies it into the strips that the
 *     other tiles read: two stores in some 28 cycles of multiply-adds, where a loop of its own would cost a tenth of
 *     the product's time at m = 128. If m <= MR there is one row tile: B would be packed and never reused, so it isn't.
 *   - the rows of a block are spread over tiles of nearly equal height instead of being padded to a multiple of MR.
 * All threads share each packed block of A; each copies the columns of B for its own tiles. */
#define PREFETCH_B_ROWS 160 /* of strided B, ahead of a single row tile: 20 KiB cover the latency of DRAM */

/* What is read of B next: a tile's width of it, packed or strided; `apart` as tiles have it. copy: where the first row
 * tile packs it for the others, or NULL. */
struct panel {
    const T *at;
    int64_t apart;
    int packed;
    T *copy;
};

/* Columns j .. and rows p .. of B as strips, for all row tiles: copied, or, in linear.h, unpacked; and their rows. */
static void make_panel(const struct gemm *call, int64_t j, int64_t columns, int64_t p, int64_t kb, T *to);
#if INTEGER
#define PANEL_ROWS(kb) round_up(kb, BLOCK_K)
#define FORM_OF(panel) ap_bp_tile
#else
#define PANEL_ROWS(kb) (kb)
#define FORM_OF(panel) ((panel).packed ? ap_bp_tile : (panel).copy ? ap_bs_copy_tile : ap_bs_tile)
static void make_panel(const struct gemm *call, int64_t j, int64_t columns, int64_t p, int64_t kb, T *to) {
    pack_strips(kb, columns, (const T *)call->b + p * call->ldb + j, call->ldb, to, kb * LANES);
}
#endif

/* A panel of B against the row tiles [tile, last) of a packed block of A. Of packed B the first one, two or four tiles
 * prefetch the next panel, together one line for each that they read. */
static inline void multiply_panel(int64_t kb, int64_t rows, int64_t tiles, int64_t row_tile, int64_t last,
                                  int64_t columns, const T *a, struct panel b, T *c, int64_t ldc, int accumulate,
                                  struct ahead ahead) {
    alignas(CACHE_LINE) T scratch[MR * WIDEST * LANES];
    const int64_t wide = divide_up(columns, LANES), whole = wide * LANES;
    int64_t prefetching = !b.packed ? 1 : last - row_tile >= 4 ? 4 : last - row_tile >= 2 ? 2 : 1;
    struct ahead none = {.at = a, .mask = NEVER};
    if (b.packed && ahead.mask != NEVER) ahead.mask = LINE / LANES * prefetching - 1; /* a line is LINE / LANES steps */
    for (; row_tile < last; row_tile++) {
        const int64_t i = tile_start(rows, tiles, row_tile), h = tile_start(rows, tiles, row_tile + 1) - i;
        T *to = columns == whole ? c + i * ldc : scratch;
        tile *run = FORM_OF(b)[h][wide - 1];
        run(kb, a + i * kb, 0, b.at, b.apart, b.copy, to, columns == whole ? ldc : whole,
            columns == whole && accumulate, prefetching-- > 0 ? &ahead : &none);
        if (columns != whole) copy_edge(h, columns, scratch, whole, c + i * ldc, ldc, accumulate);
        if (b.copy) b = (struct panel){b.copy, kb * LANES, 1, NULL};
    }
}

/* What gemm, gemm_prepacked and linear share; b is strided, in the first alone, packed is the second's. */
static void five_loops(const struct gemm *call, const T *b, const T *packed) {
    const int64_t m = call->m, n = call->n, k = call->k, lda = call->lda, ldb = call->ldb, ldc = call->ldc;
    const T *a = call->a;
    T *c = call->c, *workspace = call->workspace;
#pragma omp parallel num_threads(call->threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        const struct gemm_plan z = plan_gemm(&target, host_caches(), team, packed != NULL, m, n, k);
        const int64_t column = t % z.across, row = t / z.across; /* row >= z.down: only helps to pack A */
        T *mine = workspace + 2 * z.a_block + t * z.b_thread;
        int block = 0;

        for (int64_t jc = 0; jc < n; jc += z.nc) { /* LOOP 5: columns of B and C */
            const int64_t nb = min(n - jc, z.nc);
            const int64_t first = share(nb, z.unit, column, z.across), end = share(nb, z.unit, column + 1, z.across);

            for (int64_t pc = 0; pc < k; pc += z.kc) { /* LOOP 4: the inner dimension */
                const int64_t kb = min(k - pc, z.kc), deep = PANEL_ROWS(kb);

                for (int64_t ic = 0; ic < m; ic += z.mc) { /* LOOP 3: rows of A and C */
                    const int64_t mb = min(m - ic, z.mc), tiles = divide_up(mb, MR);

                    /* Two blocks in turn: while the slowest thread still reads one, the others fill the next. */
                    T *shared = workspace + (block++ & 1) * z.a_block;
                    for (int64_t i = tiles * t / team; i < tiles * (t + 1) / team; i++) {
                        const int64_t r = tile_start(mb, tiles, i), h = tile_start(mb, tiles, i + 1) - r;
                        pack_a(h, kb, a + (ic + r) * lda + pc, lda, shared + r * kb);
                    }
#pragma omp barrier
                    if (row >= z.down) continue;
                    const int64_t begin = tiles * row / z.down, last = tiles * (row + 1) / z.down;
                    /* Of strided B, several tiles prefetch the next panel, row by row; one looks less far ahead. */
                    const int64_t lead = last - begin > 1 ? kb : min(kb, PREFETCH_B_ROWS);
                    if (b && jc + pc + ic == 0)
                        for (int64_t p = 0; p < lead; p++)
                            for (int64_t j = 0; j < z.width; j += LINE)
                                __builtin_prefetch(b + p * ldb + first + j, 0, 2);

                    for (int64_t jr = first; jr < end; jr += z.width) { /* LOOP 2: panels of B; LOOP 1: tiles of A */
                        const int64_t columns = min(end - jr, z.width);
                        const int more = jr + z.width < end, whole = columns % LANES == 0;
                        const T *strided = b + pc * ldb + jc + jr;
                        T *kept = mine + (jr - first) / z.width % z.panels * deep * z.width;
                        struct panel panel = {kept, deep * LANES, 1, NULL};
                        struct ahead ahead = {.at = kept + deep * z.width, .mask = more ? 0 : NEVER};
                        if (packed) {
                            panel.at = packed + (jc + jr) * k + pc * LANES, panel.apart = k * LANES;
                            ahead.at = panel.at + z.width * k;
                            if (m <= STREAMED_ROWS) ahead.mask = NEVER;
                        } else if (b && ic == 0 && whole) {
                            /* at the very end, what is cached already */
                            const T *next = pc + kb < k ? b + (pc + kb) * ldb + jc + first : strided;
                            const T *then = more ? strided + z.width : next;
                            panel = (struct panel){strided, ldb, 0, last - begin == 1 && m <= z.mc ? NULL : kept};
                            ahead = (struct ahead){lead < kb ? strided + lead * ldb : then, then, kb - lead, 0};
                        } else if (ic == 0) {
                            make_panel(call, jc + jr, columns, pc, kb, kept);
                            ahead.mask = NEVER;
                        }
                        multiply_panel(kb, mb, tiles, begin, last, columns, shared, panel, c + ic * ldc + jc + jr, ldc,
                                       pc > 0, ahead);
                    }
                }
            }
        }
    }
}

#if ARITHMETIC
static void run_gemm(const struct gemm *call) {
    if (call->m <= SKINNY_ROWS) gemm_skinny(call);
    else five_loops(call, call->b, NULL);
}
static void run_gemm_prepacked(const struct gemm *call) { five_loops(call, NULL, call->b); }

static int64_t gemm_workspace(const struct gemm *call) {
    return plan_gemm_workspace(&target, host_caches(), call->threads, 0, call->m, call->n, call->k);
}
static int64_t gemm_prepacked_workspace(const struct gemm *call) {
    return plan_gemm_workspace(&target, host_caches(), call->threads, 1, call->m, call->n, call->k);
}

/* gemm_prepacked's weights: all of B as strips. */
static void run_pack(const struct pack *call) {
    const int64_t n = call->n, k = call->k, ldb = call->ldb, wide = 8 * LINE;
    const T *b = call->b;
    T *packed = call->packed;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t j = 0; j < n; j += wide) pack_strips(k, min(n - j, wide), b + j, ldb, packed + j * k, k * LANES);
}
#endif

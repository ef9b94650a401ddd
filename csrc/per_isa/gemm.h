/* GEMM in five loops around the register microkernel (Goto's order), with two changes that the shapes of transformer
 * layers ask for (few rows of A, a large B that is read once):
 *   - B is packed one group of panels at a time, just before it is used, into a buffer that stays in L2; only where
 *     several blocks of A follow each other (m > mc) are all packed panels kept.
 *   - the rows of a block are spread over tiles of nearly equal height instead of being padded to a multiple of MR.
 * All threads share each packed block of A; each packs the panels of B for its own tiles. */

enum { F(FEW) = 4 };   /* up to so many rows, B is read as it lies (few.h): packing it would take longer */
enum { F(GROUP) = 4 }; /* panels packed together: rows of 4 * NR elements are long enough for the prefetchers */

struct F(plan) {
    int64_t kc, mc, nc;    /* block sizes: k, m, n */
    int64_t slots;         /* packed panels of B that a thread keeps */
    int64_t a_block, b_thread; /* workspace, in elements: one block of A (there are two), one thread's panels */
    int across, down;      /* grid of threads over the columns and the row tiles of a block */
};

static struct F(plan) F(make_plan)(int threads, int64_t m, int64_t n, int64_t k) {
    struct F(plan) z;
    int64_t size = sizeof(T), l1 = cache_bytes(1), l2 = cache_bytes(2), l3 = cache_bytes(3);

    /* kc: one panel of A (MR x kc) and one of B (kc x NR) fill 3/4 of L1; C and the next panels pass through the rest. */
    int64_t kc = l1 * 3 / 4 / ((MR + NR) * size);
    kc = kc < 64 ? 64 : kc;
    z.kc = divide_up(k, divide_up(k, kc));

    /* mc: a block of A (mc x kc) fills half of L2, the panels of B on their way through take the other half. */
    int64_t mc = l2 / 2 / (z.kc * size) / MR * MR;
    mc = mc < MR ? MR : mc;
    z.mc = divide_up(m, divide_up(m, mc));

    /* nc: the packed panels of B that all threads keep for the next block of A fill half of L3. */
    int64_t nc = l3 / 2 / (z.kc * size) / NR * NR;
    nc = nc < NR * threads ? NR * threads : nc;
    z.nc = m <= z.mc ? n : n < nc ? n : nc;

    /* The thread grid with the shortest longest share; on a tie the wider one, which packs less of B twice. */
    int64_t panels = divide_up(z.nc, NR), tiles = divide_up(z.mc, MR), best = INT64_MAX;
    for (int across = 1; across <= threads; across++) {
        int down = threads / across;
        int64_t longest = divide_up(panels, across) * divide_up(tiles, down);
        if (longest <= best) best = longest, z.across = across, z.down = down;
    }
    z.slots = m <= z.mc ? F(GROUP) : round_up(divide_up(panels, z.across) + 1, F(GROUP));
    z.a_block = round_up(z.mc * z.kc, CACHE_LINE / size);
    z.b_thread = z.slots * z.kc * NR;
    return z;
}

static int64_t F(workspace_bytes)(int threads, int64_t m, int64_t n, int64_t k) {
    int64_t most = 0;
    for (int team = 1; team <= threads; team++) { /* OpenMP may start fewer threads than it is asked for */
        struct F(plan) z = F(make_plan)(team, m, n, k);
        int64_t size = (2 * z.a_block + z.b_thread * team) * (int64_t)sizeof(T);
        most = size > most ? size : most;
    }
    return most;
}

/* Rows [first, last) of tile i when `rows` rows are spread over `tiles` tiles. */
static inline int64_t F(tile_start)(int64_t rows, int64_t tiles, int64_t i) { return rows * i / tiles; }

/* h rows of k elements -> k columns of h elements. */
static inline void F(pack_a)(int64_t h, int64_t k, const T *a, int64_t lda, T *restrict to) {
    for (int64_t p = 0; p < k; p++)
        for (int64_t i = 0; i < h; i++) to[p * h + i] = a[i * lda + p];
}

/* k rows of `columns` elements -> ceil(columns / NR) panels of k x NR, `stride` elements apart. */
static void F(pack_panels)(int64_t k, int64_t columns, const T *b, int64_t ldb, T *to, int64_t stride) {
                     int64_t whole = columns / NR;
    for (int64_t p = 0; p < k; p++, b += ldb, to += NR) {
        for (int64_t j = 0; j < whole; j++)
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++)
                F(store)(to + j * stride + v * LANES, F(load)(b + j * NR + v * LANES));
        if (whole * NR < columns) {
            T *edge = to + whole * stride;
            for (int64_t j = 0; j < NR; j++) edge[j] = whole * NR + j < columns ? b[whole * NR + j] : 0;
        }
    }
}

/* One panel of B against the row tiles [tile, last) of a packed block of A. The kb rows at `next`, `stride` elements
 * apart, are what memory has to deliver meanwhile: the first one, two or four tiles each ask for a share of them. */
static inline void F(column)(int64_t kb, int64_t rows, int64_t tiles, int64_t tile, int64_t last, int64_t columns,
                             const T *a, const T *b, T *c, int64_t ldc, int accumulate, const T *next,
                             int64_t stride) {
    alignas(CACHE_LINE) T scratch[MR * NR];
    const int64_t asking = last - tile >= 4 ? 4 : last - tile >= 2 ? 2 : 1;
    for (int64_t asked = 0; tile < last; tile++, asked++) {
        const struct F(ahead) ahead = {next ? next + asked % asking * (kb / asking) * stride : a, next ? stride : 0,
                                       next && asked < asking ? asking - 1 : INT64_MAX};
        int64_t i = F(tile_start)(rows, tiles, tile), h = F(tile_start)(rows, tiles, tile + 1) - i;
        T *to = c + i * ldc;
        if (columns >= NR) {
            F(tile)[h](kb, a + i * kb, b, to, ldc, accumulate, ahead);
            continue;
        }
        F(tile)[h](kb, a + i * kb, b, scratch, NR, 0, ahead);
        for (int64_t r = 0; r < h; r++)
            for (int64_t j = 0; j < columns; j++)
                to[r * ldc + j] = scratch[r * NR + j] + (accumulate ? to[r * ldc + j] : 0);
    }
}

/* What gemm and gemm_prepacked share; packed is NULL in the first, b in the second. */
static void F(five_loops)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b,
                          int64_t ldb, const T *packed, T *c, int64_t ldc, T *workspace) {
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num(), team = omp_get_num_threads(), block = 0;
        const struct F(plan) z = F(make_plan)(team, m, n, k);
        int column = t % z.across, row = t / z.across; /* row >= z.down: only helps to pack A */
        T *mine = workspace + 2 * z.a_block + t * z.b_thread;

        for (int64_t jc = 0; jc < n; jc += z.nc) {             /* LOOP 5: columns of B and C */
            int64_t nb = n - jc < z.nc ? n - jc : z.nc;
            int64_t first = share(nb, NR, column, z.across), end = share(nb, NR, column + 1, z.across);

            for (int64_t pc = 0; pc < k; pc += z.kc) {         /* LOOP 4: the inner dimension */
                int64_t kb = k - pc < z.kc ? k - pc : z.kc;

                for (int64_t ic = 0; ic < m; ic += z.mc) {     /* LOOP 3: rows of A and C */
                    int64_t mb = m - ic < z.mc ? m - ic : z.mc, tiles = divide_up(mb, MR);

                    /* Two blocks in turn: while the slowest thread still reads one, the others fill the next. */
                    T *shared = workspace + (block++ & 1) * z.a_block;
                    for (int64_t tile = tiles * t / team; tile < tiles * (t + 1) / team; tile++) {
                        int64_t i = F(tile_start)(mb, tiles, tile), h = F(tile_start)(mb, tiles, tile + 1) - i;
                        F(pack_a)(h, kb, a + (ic + i) * lda + pc, lda, shared + i * kb);
                    }
#pragma omp barrier
                    if (row >= z.down) continue;
                    int64_t tile = tiles * row / z.down, last = tiles * (row + 1) / z.down;

                    for (int64_t jr = first; jr < end; jr += NR) { /* LOOP 2: panels of B; LOOP 1: tiles of A */
                        int64_t j = jc + jr, index = (jr - first) / NR, stride = NR;
                        const T *panel, *next = NULL;
                        if (packed) {
                            panel = packed + j * k + pc * NR;
                            if (jr + NR < end) next = panel + k * NR;
                        } else {
                            T *slot = mine + index % z.slots * (z.kc * NR);
                            if (ic == 0 && index % F(GROUP) == 0) {
                                int64_t columns = end - jr < F(GROUP) * NR ? end - jr : F(GROUP) * NR;
                                F(pack_panels)(kb, columns, b + pc * ldb + j, ldb, slot, z.kc * NR);
                            }
                            panel = slot, stride = ldb;
                            if (ic == 0 && jr + (F(GROUP) + 1) * NR <= end) next = b + pc * ldb + j + F(GROUP) * NR;
                        }
                        F(column)(kb, mb, tiles, tile, last, nb - jr, shared, panel, c + ic * ldc + j, ldc, pc > 0,
                                  next, stride);
                    }
                }
            }
        }
    }
}

static void F(plain)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b, int64_t ldb,
                     T *c, int64_t ldc, void *workspace) {
    if (m <= F(FEW)) {
        F(few_rows)(threads, m, n, k, a, lda, b, ldb, c, ldc);
        return;
    }
    F(five_loops)(threads, m, n, k, a, lda, b, ldb, NULL, c, ldc, workspace);
}

static void F(prepacked)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *packed,
                     T *c, int64_t ldc, void *workspace) {
    F(five_loops)(threads, m, n, k, a, lda, NULL, 0, packed, c, ldc, workspace);
}

static void F(pack_b)(int threads, int64_t n, int64_t k, const T *b, int64_t ldb, T *packed) {
                     #pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t j = 0; j < n; j += F(GROUP) * NR) {
        int64_t columns = n - j < F(GROUP) * NR ? n - j : F(GROUP) * NR;
        F(pack_panels)(k, columns, b + j, ldb, packed + j * k, k * NR);
    }
}

/* GEMM in five loops around the register microkernel (Goto's order), with two changes that the shapes of transformer
 * layers ask for (few rows of A, a large B that is read once):
 *   - B isn't packed ahead of its use. The first tile of rows reads it as it lies and leaves a copy in the order in which
 *     the other tiles read it: two stores in some 28 cycles of multiply-adds, where a loop of its own would cost a tenth
 *     of the product's time at m = 128. With a single tile of rows there is nobody to leave a copy for.
 *   - the rows of a block are spread over tiles of nearly equal height instead of being padded to a multiple of MR.
 * All threads share each packed block of A; each copies the columns of B for its own tiles. */

#define PAIR (2 * LINE) /* of B as it lies, what memory delivers together: the other line of a pair comes unasked */
#define LEAD 160        /* rows of B: some 20 KiB ask for memory's latency several times over; fewer left it idle */

struct F(plan) {
    int64_t kc, mc, nc;        /* block sizes: k, m, n */
    int64_t width;             /* columns of a tile: AT_ONCE vectors */
    int64_t panels;            /* tile's widths of B that a thread keeps */
    int64_t a_block, b_thread; /* workspace, in elements: one block of A (there are two), one thread's panels */
    int across, down;          /* grid of threads over the columns and the row tiles of a block */
};

/* kc: a tile's columns (kc x NR) and its rows of A (MR x kc) fill three L1s. They stream from L2 as fast as they are used,
 * and the longer a block, the less often C is passed over. */
static int64_t F(block_k)(int64_t k) {
    const int64_t kc = cache_bytes(1) * 3 / ((MR + NR) * (int64_t)sizeof(T));
    return divide_up(k, divide_up(k, kc < 64 ? 64 : kc));
}

static struct F(plan) F(make_plan)(int threads, int packed, int64_t m, int64_t n, int64_t k) {
    struct F(plan) z;
    int64_t size = sizeof(T), l2 = cache_bytes(2), l3 = cache_bytes(3);

    z.kc = F(block_k)(k);
    if (m <= MR) { /* a single tile of rows, at most half of L2: C is written once, and all of B is one stream */
        int64_t most = l2 / 2 / (MR * size);
        z.kc = divide_up(k, divide_up(k, most));
    }
    /* mc: a block of A (mc x kc) fills half of L2, the panels of B on their way through take the other half. */
    int64_t mc = l2 / 2 / (z.kc * size) / MR * MR;
    mc = mc < MR ? MR : mc;
    z.mc = divide_up(m, divide_up(m, mc));
    int64_t tiles = divide_up(z.mc, MR), rest = (m - 1) % z.mc + 1; /* the last block's rows; its tiles may be taller */
    int64_t height = divide_up(z.mc, tiles), last = divide_up(rest, divide_up(rest, MR));
    z.width = AT_ONCE(height > last ? height : last) * LANES;
    const int64_t piece = z.width > PAIR ? PAIR : LINE;
    if (!packed && z.width > piece) z.width = z.width / piece * piece;

    /* nc: the panels of B that all threads keep for the next block of A fill half of L3. */
    int64_t nc = l3 / 2 / (z.kc * size) / z.width * z.width;
    nc = nc < z.width * threads ? z.width * threads : nc;
    z.nc = m <= z.mc ? n : n < nc ? n : nc;

    /* The thread grid with the shortest longest share; on a tie the wider one, which copies less of B twice. At most as
     * many rows of threads as the first block has tiles: then each has one there (floor(tiles (row + 1) / down) exceeds
     * floor(tiles row / down) where tiles >= down), and whoever multiplies in a later block has copied its panels of B. */
    int64_t panels = divide_up(z.nc, z.width), best = INT64_MAX;
    for (int across = 1; across <= threads; across++) {
        int down = threads / across < tiles ? threads / across : (int)tiles;
        int64_t longest = divide_up(panels, across) * divide_up(tiles, down);
        if (longest <= best) best = longest, z.across = across, z.down = down;
    }
    z.panels = m <= z.mc ? 1 : divide_up(panels, z.across) + 1;
    z.a_block = round_up(z.mc * z.kc, LINE);
    z.b_thread = packed ? 0 : z.panels * z.kc * z.width;
    return z;
}

static int64_t F(workspace_bytes)(int threads, int packed, int64_t m, int64_t n, int64_t k) {
    int64_t most = 0;
    for (int team = 1; team <= threads; team++) { /* OpenMP may start fewer threads than it is asked for */
        struct F(plan) z = F(make_plan)(team, packed, m, n, k);
        int64_t blocks = 2 * z.a_block + z.b_thread * team, rows = m <= F(FEW) ? F(few_elements)(team, m, n, k) : 0;
        int64_t size = (blocks > rows ? blocks : rows) * (int64_t)sizeof(T);
        most = size > most ? size : most;
    }
    return most;
}

/* Rows [first, last) of tile i when `rows` rows are spread over `tiles` tiles. */
static inline int64_t F(tile_start)(int64_t rows, int64_t tiles, int64_t i) { return rows * i / tiles; }

/* h rows of k elements -> k columns of h elements, a square at a time. Whole vectors are stored: what a column of the last
 * h % LANES rows writes too far is overwritten by the squares that follow, and none writes beyond the panel. */
static inline void F(pack_a)(int64_t h, int64_t k, const T *a, int64_t lda, T *to) {
    int64_t p = 0;
    for (; (p + LANES) * h + LANES <= k * h; p += LANES)
        for (int64_t i = (h - 1) / LANES * LANES; i >= 0; i -= LANES) {
            vec square[LANES];
#pragma GCC unroll 16
            for (int64_t l = 0; l < LANES; l++) {
                square[l] = (vec){0};
                if (i + l < h) square[l] = F(load)(a + (i + l) * lda + p);
            }
            F(transpose)(square);
#pragma GCC unroll 16
            for (int64_t q = 0; q < LANES; q++) F(store)(to + (p + q) * h + i, square[q]);
        }
    for (; p < k; p++)
        for (int64_t i = 0; i < h; i++) to[p * h + i] = a[i * lda + p];
}

/* `u` rows of `columns` elements -> as many rows of the strips, which are `strip` elements apart. */
static inline __attribute__((always_inline)) void F(pack_rows)(const int u, int64_t columns, const T *b, int64_t ldb,
                                                               T *to, int64_t strip) {
    int64_t j = 0;
    for (; j + LANES <= columns; j += LANES, to += strip)
#pragma GCC unroll 4
        for (int p = 0; p < u; p++) F(store)(to + p * LANES, F(load)(b + p * ldb + j));
    if (j < columns)
        for (int p = 0; p < u; p++)
            for (int64_t l = 0; l < LANES; l++) to[p * LANES + l] = j + l < columns ? b[p * ldb + j + l] : 0;
}

/* k rows of `columns` elements -> ceil(columns / LANES) strips of k x LANES, the last one zero-padded. Four rows at a
 * time: whole cache lines of a strip are written, and B is read as four streams. */
static void F(pack_strips)(int64_t k, int64_t columns, const T *b, int64_t ldb, T *to, int64_t strip) {
    int64_t p = 0;
    for (; p + 4 <= k; p += 4) F(pack_rows)(4, columns, b + p * ldb, ldb, to + p * LANES, strip);
    for (; p < k; p++) F(pack_rows)(1, columns, b + p * ldb, ldb, to + p * LANES, strip);
}

/* The valid columns of a tile that was computed in scratch memory, rows `wide` apart. */
static inline void F(copy_edge)(int64_t h, int64_t columns, const T *scratch, int64_t wide, T *c, int64_t ldc,
                                int accumulate) {
    for (int64_t r = 0; r < h; r++)
        for (int64_t j = 0; j < columns; j++)
            c[r * ldc + j] = scratch[r * wide + j] + (accumulate ? c[r * ldc + j] : 0);
}

/* What is read of B next: a tile's width of it in strips, or as it lies; `apart` as tiles have it. copy: where the first
 * tile of rows leaves strips for the others, or NULL. */
struct F(panel) {
    const T *at;
    int64_t apart;
    int strips;
    T *copy;
};

/* A panel of B against the row tiles [tile, last) of a packed block of A. Of strips the first one, two or four tiles ask
 * for what memory has to deliver meanwhile, together one line for each that they read of B. */
static inline void F(column)(int64_t kb, int64_t rows, int64_t tiles, int64_t tile, int64_t last, int64_t columns,
                             const T *a, struct F(panel) b, T *c, int64_t ldc, int accumulate, struct F(ahead) ahead) {
    alignas(CACHE_LINE) T scratch[MR * WIDEST * LANES];
    const int64_t wide = divide_up(columns, LANES), whole = wide * LANES;
    int64_t asking = !b.strips ? 1 : last - tile >= 4 ? 4 : last - tile >= 2 ? 2 : 1;
    struct F(ahead) none = {.at = a, .mask = NEVER};
    if (b.strips && ahead.mask != NEVER) ahead.mask = LINE / LANES * asking - 1; /* a line lasts LINE / LANES steps */
    for (; tile < last; tile++) {
        int64_t i = F(tile_start)(rows, tiles, tile), h = F(tile_start)(rows, tiles, tile + 1) - i;
        T *to = columns == whole ? c + i * ldc : scratch;
        F(tile) *run = b.strips ? F(packed_tile)[h][wide - 1] : (b.copy ? F(copying_tile) : F(lying_tile))[h][wide - 1];
        run(kb, a + i * kb, 0, b.at, b.apart, b.copy, to, columns == whole ? ldc : whole,
            columns == whole && accumulate, asking-- > 0 ? &ahead : &none);
        if (columns != whole) F(copy_edge)(h, columns, scratch, whole, c + i * ldc, ldc, accumulate);
        if (b.copy) b = (struct F(panel)){b.copy, kb * LANES, 1, NULL};
    }
}

/* What gemm and gemm_prepacked share; packed is NULL in the first, b in the second. */
static void F(five_loops)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b,
                          int64_t ldb, const T *packed, T *c, int64_t ldc, T *workspace) {
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num(), team = omp_get_num_threads(), block = 0;
        const struct F(plan) z = F(make_plan)(team, packed != NULL, m, n, k);
        int column = t % z.across, row = t / z.across; /* row >= z.down: only helps to pack A */
        T *mine = workspace + 2 * z.a_block + t * z.b_thread;

        for (int64_t jc = 0; jc < n; jc += z.nc) {             /* LOOP 5: columns of B and C */
            int64_t nb = n - jc < z.nc ? n - jc : z.nc;
            int64_t first = share(nb, z.width, column, z.across), end = share(nb, z.width, column + 1, z.across);

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
                    /* Of B as it lies, several tiles ask for the next panel, row by row; a single one not so far ahead. */
                    const int64_t lead = last - tile > 1 || kb < LEAD ? kb : LEAD;
                    if (!packed && jc + pc + ic == 0)
                        for (int64_t p = 0; p < lead; p++)
                            for (int64_t j = 0; j < z.width; j += LINE) __builtin_prefetch(b + p * ldb + first + j, 0, 2);

                    for (int64_t jr = first; jr < end; jr += z.width) { /* LOOP 2: panels of B; LOOP 1: tiles of A */
                        int64_t columns = end - jr < z.width ? end - jr : z.width;
                        const int more = jr + z.width < end, whole = columns % LANES == 0;
                        const T *lying = b + pc * ldb + jc + jr;
                        T *kept = mine + (jr - first) / z.width % z.panels * kb * z.width;
                        struct F(panel) panel = {kept, kb * LANES, 1, NULL};
                        struct F(ahead) ahead = {.at = kept + kb * z.width, .mask = more ? 0 : NEVER};
                        if (packed) {
                            panel.at = packed + (jc + jr) * k + pc * LANES, panel.apart = k * LANES;
                            ahead.at = panel.at + z.width * k;
                        } else if (ic == 0 && whole) {
                            /* at the very end, what is there anyway */
                            const T *next = pc + kb < k ? b + (pc + kb) * ldb + jc + first : lying;
                            const T *then = more ? lying + z.width : next;
                            panel = (struct F(panel)){lying, ldb, 0, last - tile == 1 && m <= z.mc ? NULL : kept};
                            ahead = (struct F(ahead)){lead < kb ? lying + lead * ldb : then, then, kb - lead, 0};
                        } else if (ic == 0)
                            F(pack_strips)(kb, columns, lying, ldb, kept, kb * LANES);
                        F(column)(kb, mb, tiles, tile, last, columns, shared, panel, c + ic * ldc + jc + jr, ldc, pc > 0,
                                  ahead);
                    }
                }
            }
        }
    }
}

static void F(plain)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b, int64_t ldb,
                     T *c, int64_t ldc, void *workspace) {
    if (m <= F(FEW))
        F(few_rows)(threads, m, n, k, a, lda, b, ldb, c, ldc, workspace);
    else
        F(five_loops)(threads, m, n, k, a, lda, b, ldb, NULL, c, ldc, workspace);
}

static void F(prepacked)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *packed, T *c,
                         int64_t ldc, void *workspace) {
    F(five_loops)(threads, m, n, k, a, lda, NULL, 0, packed, c, ldc, workspace);
}

static void F(pack_b)(int threads, int64_t n, int64_t k, const T *b, int64_t ldb, T *packed) {
    const int64_t wide = 8 * LINE;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t j = 0; j < n; j += wide)
        F(pack_strips)(k, n - j < wide ? n - j : wide, b + j, ldb, packed + j * k, k * LANES);
}

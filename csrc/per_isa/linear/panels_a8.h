/* linear_a8 of nibbles with many rows. Panels of strips, as much of k as fills half of L1, are unpacked once for all
 * tiles of a block of rows: their weights as dot products take them, their scales as T. A tile has sums of a group of x
 * in registers, and its totals, which are touched once a group, in memory. */
#if REGISTERS == 16
#define PANEL_A8_ROWS MR
#define PANEL_STRIPS 2
#else
#define PANEL_A8_ROWS LINEAR_ROWS
#define PANEL_STRIPS 3
#endif

/* A block of a panel, BLOCK_K of k: for each step a vector of each strip, then their scales and zero points. */
struct panel_block {
    ints w[BLOCK_K / STEP][PANEL_STRIPS];
#if GROUP
    vec scale[PANEL_STRIPS];
#endif
#if SCALE_BYTES == 3
    vec zero[PANEL_STRIPS];
#endif
};

static void unpack_strip(const struct linear_plan *z, const uint8_t *strip, int64_t first, int64_t last, int s,
                         struct panel_block *to) {
    const uint8_t *w = strip + z->scales + first * (BLOCK_K * LANES * WEIGHT_BITS / 8);
    for (int64_t b = first; b < last; b++, to++, w += BLOCK_K * LANES * WEIGHT_BITS / 8) {
        UNROLLED (16, int t = 0; t < BLOCK_K / STEP; t++) to->w[STEP_OF(t)][s] = weights_of(w, t);
#if GROUP
        to->scale[s] = scale_of(strip, b * BLOCK_K / GROUP);
#endif
#if SCALE_BYTES == 3
        to->zero[s] = __builtin_convertvector(zero_of(strip, b * BLOCK_K / GROUP), vec);
#endif
    }
}

typedef void panel_tile(int64_t blocks, const int32_t *q, const struct rounded *of, const struct panel_block *panel,
                        const vec *before, vec *total);
INLINE void multiply_panel_a8(const int h, int64_t blocks, const int32_t *q, const struct rounded *of,
                              const struct panel_block *panel, const vec *before, vec *to) {
    vec total[PANEL_A8_ROWS * PANEL_STRIPS];
    UNROLLED (32, int e = 0; e < h * PANEL_STRIPS; e++) total[e] = before[e];
    for (int64_t b = 0; b < blocks; b++, q += BLOCK_K / QUANTA * h, of += h, panel++) {
        ints sums[PANEL_A8_ROWS][PANEL_STRIPS];
        UNROLLED (16, int i = 0; i < h; i++)
            UNROLLED (8, int s = 0; s < PANEL_STRIPS; s++) sums[i][s] = (ints){0};
        UNROLLED (16, int t = 0; t < BLOCK_K / STEP; t++)
            UNROLLED (16, int i = 0; i < h; i++) {
                const ints x = (ints){0} + q[t * h + i];
                UNROLLED (8, int s = 0; s < PANEL_STRIPS; s++) {
                    sums[i][s] = DOT(sums[i][s], panel->w[t][s], x);
                    KEEP(sums[i][s]);
                }
            }
        UNROLLED (16, int i = 0; i < h; i++)
            UNROLLED (8, int s = 0; s < PANEL_STRIPS; s++) {
#if WEIGHT_BITS == 4
                sums[i][s] = total_nibbles(sums[i][s]);
#endif
#if SCALE_BYTES == 3
                vec exact = __builtin_convertvector(sums[i][s], vec) - of[i].sum * panel->zero[s];
#else
                if (ZERO) sums[i][s] -= of[i].zeros;
                vec exact = __builtin_convertvector(sums[i][s], vec);
#endif
#if GROUP
                total[i * PANEL_STRIPS + s] += exact * (of[i].scale * panel->scale[s]);
#else
                total[i * PANEL_STRIPS + s] += exact * of[i].scale;
#endif
            }
    }
    UNROLLED (32, int e = 0; e < h * PANEL_STRIPS; e++) to[e] = total[e];
}
/* More rows than PANELS() asks for are tiles of more than half the tallest's: the others are never called. */
#define PANEL_TILE(name, h)                                                                                            \
    static void name##_##h(int64_t blocks, const int32_t *q, const struct rounded *of,                                 \
                           const struct panel_block *panel, const vec *before, vec *total) {                           \
        if (2 * h > PANEL_A8_ROWS) name(h, blocks, q, of, panel, before, total);                                       \
    }
#define PANEL_ROW(name, h) [h] = name##_##h,
PASTE(HEIGHTS_, PANEL_A8_ROWS)(PANEL_TILE, multiply_panel_a8) static panel_tile *const panel_tiles[] = {
    PASTE(HEIGHTS_, PANEL_A8_ROWS)(PANEL_ROW, multiply_panel_a8)};

/* Blocks of k of a panel: half of L1. */
static int64_t panel_blocks(const struct linear_plan *z) {
    const int64_t all = z->k / BLOCK_K;
    return divide_up(all, divide_up(all, max(host_caches()->l1 / 2 / (int64_t)sizeof(struct panel_block), 1)));
}
/* Tiles of a block of rows, whose x fills half of L2. */
static int64_t panel_row_blocks(const struct linear_plan *z, int64_t tiles) {
    return divide_up(tiles, max(host_caches()->l2 / 2 / (a8_row_bytes(z) * PANEL_A8_ROWS), 1));
}
static int64_t totals_bytes(const struct linear_plan *z, int64_t tiles) {
    return (divide_up(tiles, panel_row_blocks(z, tiles)) + 1) * (int64_t)sizeof(vec[PANEL_A8_ROWS][PANEL_STRIPS]);
}

/* y[h, columns] = total, the whole vectors of it. */
static void store_rows(int64_t h, const vec *total, T *y, int64_t ldy, int64_t columns) {
    for (int64_t i = 0; i < h; i++, y += ldy)
        UNROLLED (8, int j = 0; j < PANEL_STRIPS; j++, total++) {
            if ((j + 1) * LANES <= columns) store(y + j * LANES, *total);
            else if (j * LANES < columns) store_some(y + j * LANES, *total, columns - j * LANES);
        }
}

static void run_panels_a8(const struct linear *call) {
    const int64_t m = call->m, n = call->n, k = call->k, ldx = call->ldx, ldy = call->ldy;
    const struct linear_plan z = plan_linear(&target, n, k);
    const int64_t tiles = divide_up(m, PANEL_A8_ROWS), row = a8_row_bytes(&z);
    const int64_t all = z.k / BLOCK_K, pieces = divide_up(all, panel_blocks(&z)), blocks = panel_row_blocks(&z, tiles);
    uint8_t *const ready = call->workspace;
    const uint8_t *const w = call->w;
    static const vec none[PANEL_A8_ROWS * PANEL_STRIPS];
    T *const y = call->y;
#pragma omp parallel num_threads(call->threads)
    {
        const int64_t t = omp_get_thread_num(), team = omp_get_num_threads();
        for (int64_t i = tiles * t / team; i < tiles * (t + 1) / team; i++) {
            const int64_t r = tile_start(m, tiles, i), h = tile_start(m, tiles, i + 1) - r;
            prepare_a8(&z, (int)h, k, (const T *)call->x + r * ldx, ldx, ready + r * row);
        }
#pragma omp barrier
        const int64_t mine = panel_blocks(&z) * (int64_t)sizeof(struct panel_block) + totals_bytes(&z, tiles);
        struct panel_block *const panel = (struct panel_block *)(ready + round_up(row * m, CACHE_LINE) + t * mine);
        vec *const totals = (vec *)(panel + panel_blocks(&z));
        const int64_t first = z.strips * t / team, last = z.strips * (t + 1) / team;
        for (int64_t b = 0; b < blocks; b++) {
            const int64_t begin = tiles * b / blocks, end = tiles * (b + 1) / blocks;
            const int64_t top = tile_start(m, tiles, begin);
            for (int64_t s = first; s < last; s += PANEL_STRIPS)
                for (int64_t p = 0; p < pieces; p++) {
                    const int64_t from = all * p / pieces, to = all * (p + 1) / pieces;
                    for (int j = 0; j < PANEL_STRIPS; j++) /* what there isn't repeats the last */
                        unpack_strip(&z, w + min(s + j, last - 1) * z.strip, from, to, j, panel);
                    for (int64_t i = begin; i < end; i++) {
                        const int64_t r = tile_start(m, tiles, i), h = tile_start(m, tiles, i + 1) - r;
                        const uint8_t *x = ready + r * row;
                        vec *const total = totals + (r - top) * PANEL_STRIPS;
                        panel_tiles[h](to - from, (const int32_t *)x + from * (BLOCK_K / QUANTA) * h,
                                       (const struct rounded *)(x + z.k * h * (int64_t)sizeof(quantum)) + from * h,
                                       panel, p ? total : none, total);
                        if (to == all)
                            store_rows(h, total, y + r * ldy + s * LANES, ldy, min(n - s * LANES, (last - s) * LANES));
                    }
                }
        }
    }
}

static int64_t panels_a8_workspace(const struct linear *call) {
    const struct linear_plan z = plan_linear(&target, call->n, call->k);
    const int64_t mine =
        panel_blocks(&z) * (int64_t)sizeof(struct panel_block) + totals_bytes(&z, divide_up(call->m, PANEL_A8_ROWS));
    return round_up(a8_row_bytes(&z) * call->m, CACHE_LINE) + call->threads * mine;
}

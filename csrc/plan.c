/* Block sizes, thread grids and workspaces, for C's kernels, Numba's and the tests: what is decided before anything is
 * computed. The tile is the target's, the caches are the caller's. */
#include "plan.h"

static int64_t lanes(const struct target *t) { return t->vector_bytes / t->element_bytes; }
static int64_t line(const struct target *t) { return CACHE_LINE / t->element_bytes; }

int64_t plan_tile_vectors(const struct target *t, int64_t rows) {
    return min((t->registers - t->free_registers) / (rows + 1), t->widest);
}

int64_t plan_tile_start(int64_t rows, int64_t tiles, int64_t tile) { return tile_start(rows, tiles, tile); }

int64_t packed_elements(const struct target *t, int64_t n, int64_t k) { return round_up(n, lanes(t)) * k; }

int64_t plan_gemv_t(const struct target *t, int64_t n) { return round_up(n, line(t)); }

/* kc: a tile's columns (kc x NR) and its rows of A (MR x kc) fill three L1s. They stream from L2 as fast as they are
 * used, and the longer a block, the fewer passes over C. */
static int64_t block_k(const struct target *t, const struct caches *caches, int64_t k) {
    const int64_t kc = caches->l1 * 3 / ((t->mr + t->nv * lanes(t)) * t->element_bytes);
    return divide_up(k, divide_up(k, max(kc, 64)));
}

struct gemm_plan plan_gemm(const struct target *t, const struct caches *caches, int64_t threads, int packed, int64_t m,
                           int64_t n, int64_t k) {
    struct gemm_plan z;
    const int64_t size = t->element_bytes, mr = t->mr;

    z.kc = block_k(t, caches, k);
    if (m <= mr) /* a single row tile, at most half of L2: C is written once, and all of B is one stream */
        z.kc = divide_up(k, divide_up(k, caches->l2 / 2 / (mr * size)));
    z.kc = round_up(z.kc, max(t->block_k, 1));
    /* mc: a block of A (mc x kc) fills half of L2, the panels of B that pass through take the other half. */
    const int64_t half = caches->l2 / 2 / (z.kc * size) / mr * mr;
    z.mc = divide_up(m, divide_up(m, max(half, mr)));

    /* width: that of a tile of the tallest rows; the last block's tiles may be taller than the others'. */
    const int64_t tiles = divide_up(z.mc, mr), rest = (m - 1) % z.mc + 1;
    const int64_t height = max(divide_up(z.mc, tiles), divide_up(rest, divide_up(rest, mr)));
    z.width = plan_tile_vectors(t, height) * lanes(t);
    /* Strided B in whole pairs of lines: adjacent-line prefetch fetches both. */
    const int64_t piece = z.width > 2 * line(t) ? 2 * line(t) : line(t);
    if (!packed && !t->weight_bits && z.width > piece) z.width = z.width / piece * piece;

    /* unit: with one row tile, packed columns by the line: a panel more or less would be much of a share. */
    z.unit = packed && m <= mr ? line(t) : z.width;

    /* nc: the panels of B that all threads keep for the next block of A fill half of L3. */
    const int64_t nc = caches->l3 / 2 / (z.kc * size) / z.width * z.width;
    z.nc = m <= z.mc ? n : min(n, max(nc, z.width * threads));

    /* The thread grid with the shortest longest share; on a tie the wider one, which copies less of B twice. At most as
     * many rows of threads as the first block has tiles, which no later block exceeds: then each has a tile in the
     * first (tiles (row + 1) / down >= tiles row / down + 1), and so has copied the panels of B that it reads in later
     * ones. */
    const int64_t panels = divide_up(z.nc, z.width);
    int64_t best = INT64_MAX;
    for (int64_t across = 1; across <= threads; across++) {
        const int64_t down = min(threads / across, tiles);
        const int64_t longest = divide_up(panels, across) * divide_up(tiles, down);
        if (longest <= best) best = longest, z.across = across, z.down = down;
    }
    z.panels = m <= z.mc ? 1 : divide_up(panels, z.across) + 1;
    z.a_block = round_up(z.mc * z.kc, line(t));
    z.b_thread = packed ? 0 : z.panels * z.kc * z.width;
    z.blocks = divide_up(n, z.nc) * divide_up(k, z.kc) * divide_up(m, z.mc);
    return z;
}

#define SUMS_SHARE 16 /* rows of B for each row of sums that a thread has of its own */

struct skinny_plan plan_gemm_skinny(const struct target *t, const struct caches *caches, int64_t threads, int64_t m,
                                    int64_t n, int64_t k) {
    struct skinny_plan z;
    /* The thread grid with the shortest longest share; on a tie the one with more rows of threads, whose pieces of B
     * are longer: in pieces of 1.5 KiB hardware prefetchers fetch the neighbour's part of each row as well. Rows of
     * threads have sums of their own, m down / k of what is read of B, to be added up: at most a sixteenth. */
    const int64_t lines = divide_up(n, line(t)), most = max(1, min(threads, k / (SUMS_SHARE * m)));
    int64_t best = INT64_MAX;
    for (int64_t down = 1; down <= most; down++) {
        const int64_t across = min(threads / down, lines), longest = divide_up(lines, across) * divide_up(k, down);
        if (longest <= best) best = longest, z.across = across, z.down = down;
    }
    /* columns: their sums fill a quarter of L2, and are still long enough pieces of B's rows to be read as streams. */
    const int64_t fit = caches->l2 / 4 / (m * t->element_bytes), width = divide_up(lines, z.across) * line(t);
    z.columns = round_up(divide_up(width, divide_up(width, fit)), line(t));
    /* apart: rows of sums differ by a sixteenth of 4 KiB modulo 4 KiB, so that a load is not held up by a store to
     * another row whose address has the same last 12 bits (4K aliasing). */
    const int64_t page = 4096 / t->element_bytes;
    z.apart = round_up(z.down > 1 ? width : z.columns, page) + page / 16;
    z.a_packed = round_up(m * k, line(t));
    z.sums_thread = m * z.apart;
    return z;
}

int64_t plan_gemm_workspace(const struct target *t, const struct caches *caches, int64_t threads, int packed, int64_t m,
                            int64_t n, int64_t k) {
    int64_t elements = 0;
    for (int64_t team = 1; team <= threads; team++) { /* OpenMP may start fewer threads than it is asked for */
        const struct gemm_plan z = plan_gemm(t, caches, team, packed, m, n, k);
        elements = max(elements, 2 * z.a_block + z.b_thread * team);
        if (m <= t->skinny_rows) {
            const struct skinny_plan skinny = plan_gemm_skinny(t, caches, team, m, n, k);
            elements = max(elements, skinny.a_packed + skinny.sums_thread * team);
        }
    }
    return elements * t->element_bytes;
}

struct batch_plan plan_gemm_batch(const struct target *t, const struct caches *caches, int64_t m, int64_t n,
                                  int64_t k) {
    struct batch_plan z;
    const int64_t nr = t->nv * lanes(t);
    z.kc = block_k(t, caches, k);
    /* nc: a block of B fills half of L1, but what is read of A serves at least four tiles. */
    z.nc = min(n, max(caches->l1 / 2 / (z.kc * t->element_bytes) / nr * nr, 4 * nr));
    /* A single row is multiplied by B as it is. */
    z.b_thread = m == 1 ? 0 : round_up(round_up(z.nc, lanes(t)) * z.kc, line(t));
    return z;
}

struct linear_plan plan_linear(const struct target *t, int64_t n, int64_t k) {
    struct linear_plan z;
    z.k = round_up(k, max(t->block_k, t->group));
    z.strips = divide_up(n, lanes(t));
    z.scales = round_up((t->group ? z.k / t->group : 1) * lanes(t) * t->scale_bytes, CACHE_LINE);
    z.strip = z.scales + round_up(z.k * lanes(t) * t->weight_bits / 8, CACHE_LINE);
    return z;
}

/* linear: y[m,n] = x[m,k] w[n,k]^T, for weights that are only stored. A tile is h rows of x times v strips of w over
 * all of k, and each weight that is widened serves h rows. With one tile of rows weights are read
 * once, as v streams from as many equally long pieces of a thread's strips. With more, blocks of rows that fill half of
 * L2 pass over the strips, and a strip stays in L1 or L2 from one tile of the block to the next; or, where widening
 * takes long, f32's five loops multiply copies of the strips in f32. */
#if MR > 8
#define LINEAR_ROWS 8
#else
#define LINEAR_ROWS MR
#endif

/* Rows of x up to which each tile widens weights for itself, in registers: two tiles, of 4-bit weights. Of more
 * five_loops() is the quicker, which has them widened once for all tiles, to memory (Zen 3: 0.94 times as quick at 8
 * rows, 1.09 times at 9). */
#define DIRECT_ROWS 8

/* What a tile computes: y[h, v strips of LANES columns], of strips `apart` bytes and columns from each other. */
struct strips {
    const uint8_t *at;
    int64_t apart;
    T *y;
    int64_t ldy, columns_apart, columns; /* the valid ones, of the last strip at least one */
};

INLINE void store_tile(const int h, const int v, vec total[][WIDEST], const struct strips *to) {
    UNROLLED (8, int s = 0; s < v; s++) {
        T *y = to->y + s * to->columns_apart;
        const int64_t columns = to->columns - s * to->columns_apart;
        UNROLLED (16, int i = 0; i < h; i++) {
            if (columns >= LANES) store(y + i * to->ldy, total[i][s]);
            else store_some(y + i * to->ldy, total[i][s], columns);
        }
    }
}

/* Scales and zero points of group g of a strip: row by row. */
#if SCALE_BYTES == 4
static inline vec scale_of(const uint8_t *scales, int64_t g) { return load((const T *)scales + g * LANES); }
#elif SCALE_BYTES
static inline vec scale_of(const uint8_t *scales, int64_t g) { return load_halves(scales + g * LANES * SCALE_BYTES); }
#else
static inline vec scale_of(const uint8_t *scales, int64_t g) { return (void)scales, (void)g, (vec){0} + 1; }
#endif
#if SCALE_BYTES == 3
static inline ints zero_of(const uint8_t *scales, int64_t g) {
    typedef uint8_t bytes __attribute__((vector_size(VECTOR_BYTES / 4), aligned(1), may_alias));
    return __builtin_convertvector(*(const bytes *)(scales + (g * SCALE_BYTES + 2) * LANES), ints);
}
#elif INTEGER
static inline ints zero_of(const uint8_t *scales, int64_t g) { return (void)scales, (void)g, (ints){0} + ZERO; }
#else
static inline ints zero_of(const uint8_t *scales, int64_t g) { return (void)scales, (void)g, (ints){0}; }
#endif

/* With 16 registers three strips of one or two rows of 4-bit weights, which need constants, beat four (Zen 3), but not
 * with zero points; and the sums of all groups are in memory. At least 12 sums, where there is room: adds wait for each
 * other, 4 cycles x 2 ports, and for loads. */
#if WEIGHT_BITS == 4 && REGISTERS == 16
#define F32_ROWS 4
#define STRIPS(h) ((h) == 1 || ((h) == 2 && SCALE_BYTES == 2) ? 3 : 2)
#else
#define F32_ROWS LINEAR_ROWS
#define FEW_SUMS(h) (HAS_FMA && !INTEGER && (h) * TILE_VECTORS(F32_ROWS) < 12)
#define STRIPS(h)                                                                                                      \
    (2 * (h) >= F32_ROWS && !FEW_SUMS(h) ? TILE_VECTORS(F32_ROWS) : INTEGER && (h) < 3 ? 3 : TILE_VECTORS(h))
#endif

/* x is packed, k columns of h elements. A small tile has several sums of each kind, for as many k in turn, so that adds
 * don't wait for each other. */
INLINE void multiply(const int h, const int v, const struct linear_plan *z, const void *packed,
                     const struct strips *strips) {
    const int turns = h * v == 1 ? 4 : h * v == 2 ? 2 : 1;
    vec total[F32_ROWS][WIDEST], part[4][F32_ROWS][WIDEST];
    UNROLLED (16, int i = 0; i < h; i++)
        UNROLLED (8, int s = 0; s < v; s++) {
            total[i][s] = (vec){0};
            UNROLLED (4, int u = 0; u < turns; u++) part[u][i][s] = (vec){0};
        }
    const T *x = packed;
    const uint8_t *w = strips->at + z->scales;
    const int64_t apart = strips->apart;
    for (int64_t b = 0; b < z->k / BLOCK_K; b++, x += BLOCK_K * h) {
        const int64_t g = GROUP ? b / (GROUP / BLOCK_K) : 0;
        ints zero[WIDEST];
        UNROLLED (8, int s = 0; s < v; s++) zero[s] = zero_of(strips->at + s * apart, g);
        UNROLLED (16, int j = 0; j < BLOCK_K / CHUNK_K; j++) {
            UNROLLED (8, int e = 0; e < CHUNK_K; e++) {
                const int u = (j * CHUNK_K + e) % turns;
                vec row[WIDEST];
                UNROLLED (8, int s = 0; s < v; s++) row[s] = widened(w + s * apart, e, zero[s]);
                UNROLLED (16, int i = 0; i < h; i++)
                    UNROLLED (8, int s = 0; s < v; s++) part[u][i][s] += x[K_OF(j, e) * h + i] * row[s];
            }
            w += CHUNK;
        }
        if (GROUP || b + 1 == z->k / BLOCK_K)
            UNROLLED (8, int s = 0; s < v; s++) {
                const vec scale = scale_of(strips->at + s * apart, g);
                UNROLLED (16, int i = 0; i < h; i++)
                    UNROLLED (4, int u = 0; u < turns; u++)
                        total[i][s] += part[u][i][s] * scale, part[u][i][s] = (vec){0};
            }
    }
    store_tile(h, v, total, strips);
}

#define FETCHED_LINES 4 /* of scales, and of weights, where a stream begins */

typedef void linear_tile(const struct linear_plan *z, const void *x, const struct strips *strips);
struct linear_form { /* one operation's tiles by height, v strips wide and one, and how it prepares x */
    struct {
        int v;
        linear_tile *wide, *one, *lower; /* lower: one row less, as wide, if those tiles are of another width */
    } tiles[LINEAR_ROWS + 1];
    int64_t rows; /* the tallest */
    void (*prepare)(const struct linear_plan *z, int h, int64_t k, const T *x, int64_t ldx, void *packed);
    int64_t (*row_bytes)(const struct linear_plan *z); /* of x, prepared */
};

/* Thread t's part of a call, of a team of so many. */
static void run_part(const struct linear *call, const struct linear_form *form, int64_t t, int64_t team) {
    const int64_t m = call->m, n = call->n, k = call->k, ldx = call->ldx, ldy = call->ldy;
    const struct linear_plan z = plan_linear(&target, n, k);
    const T *x = call->x;
    T *y = call->y;
    const int64_t tiles = divide_up(m, form->rows), row = form->row_bytes(&z);
    const int64_t blocks = divide_up(tiles, max(host_caches()->l2 / 2 / (row * form->rows), 1));
    const int64_t tallest = divide_up(m, tiles);
    const int v = form->tiles[tallest].v; /* of all tiles */
    const int64_t first = z.strips * t / team, last = z.strips * (t + 1) / team, each = (last - first) / v;
    const uint8_t *w = (const uint8_t *)call->w + first * z.strip;
    for (int s = 0; s < v; s++) /* where streams begin is fetched while x is prepared */
        for (int line = 0; line < FETCHED_LINES; line++) {
            __builtin_prefetch(w + s * each * z.strip + line * CACHE_LINE);
            __builtin_prefetch(w + s * each * z.strip + z.scales + line * CACHE_LINE);
        }
    const int alone = tiles == 1; /* each thread prepares the tile for itself: a barrier takes longer */
    uint8_t *ready = (uint8_t *)call->workspace + (alone ? t * round_up(row * m, CACHE_LINE) : 0);
    for (int64_t i = alone ? 0 : tiles * t / team; i < (alone ? 1 : tiles * (t + 1) / team); i++) {
        const int64_t r = tile_start(m, tiles, i), h = tile_start(m, tiles, i + 1) - r;
        form->prepare(&z, (int)h, k, x + r * ldx, ldx, ready + r * row);
    }
    if (!alone) {
#pragma omp barrier
    }
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t s = first; s < last; s++) {
            const int wide = s < first + each;
            const struct strips from = {
                w + (s - first) * z.strip, each * z.strip, y + s * LANES, ldy, each * LANES, n - s * LANES};
            for (int64_t i = tiles * b / blocks; i < tiles * (b + 1) / blocks; i++) {
                const int64_t r = tile_start(m, tiles, i), h = tile_start(m, tiles, i + 1) - r;
                struct strips strips = from;
                strips.y += r * ldy;
                (!wide                   ? form->tiles[h].one
                 : form->tiles[h].v == v ? form->tiles[h].wide
                                         : form->tiles[tallest].lower)(&z, ready + r * row, &strips);
            }
            if (wide && s + 1 == first + each) s = first + v * each - 1;
        }
}

static void run_form(const struct linear *call, const struct linear_form *form) {
    if (call->threads == 1) { /* a region takes 0.3 us (Zen 3), as long as 7 KiB from memory */
        run_part(call, form, 0, 1);
        return;
    }
#pragma omp parallel num_threads(call->threads)
    run_part(call, form, omp_get_thread_num(), omp_get_num_threads());
}

static int64_t form_workspace(const struct linear *call, const struct linear_form *form) {
    const struct linear_plan z = plan_linear(&target, call->n, call->k);
    const int64_t bytes = round_up(form->row_bytes(&z) * call->m, CACHE_LINE);
    return call->m <= form->rows ? bytes * call->threads : bytes;
}

#define LINEAR_TILE(name, h)                                                                                           \
    static void name##_##h(const struct linear_plan *z, const void *x, const struct strips *strips) {                  \
        name(h, STRIPS(h), z, x, strips);                                                                              \
    }                                                                                                                  \
    static void name##_##h##_1(const struct linear_plan *z, const void *x, const struct strips *strips) {              \
        name(h, 1, z, x, strips);                                                                                      \
    }                                                                                                                  \
    static void name##_##h##_lower(const struct linear_plan *z, const void *x, const struct strips *strips) {          \
        if (h > 1 && STRIPS(h) != STRIPS(h - 1)) name(h - 1, STRIPS(h), z, x, strips);                                 \
    }
#define LINEAR_ROW(name, h) [h] = {STRIPS(h), name##_##h, name##_##h##_1, name##_##h##_lower},
#define LINEAR_FORM(name, rows, prepare, row_bytes)                                                                    \
    PASTE(HEIGHTS_, rows)(LINEAR_TILE, name) static const struct linear_form name##_form = {                           \
        {PASTE(HEIGHTS_, rows)(LINEAR_ROW, name)}, rows, prepare, row_bytes};

#if !EXTENSION
/* h rows of x -> columns of h elements, zeros behind the last. */
static void prepare(const struct linear_plan *z, int h, int64_t k, const T *x, int64_t ldx, void *packed) {
    if (h == 1) memcpy(packed, x, k * sizeof(T));
    else pack_a(h, k, x, ldx, packed);
    memset((T *)packed + k * h, 0, (z->k - k) * h * sizeof(T));
}
static int64_t f32_row_bytes(const struct linear_plan *z) { return z->k * (int64_t)sizeof(T); }

#if WEIGHT_BITS == 4 /* half of DIRECT_ROWS */
#define MOST_ROWS 4
#else
#define MOST_ROWS F32_ROWS
#endif
LINEAR_FORM(multiply, MOST_ROWS, prepare, f32_row_bytes)
#if !INTEGER /* a weight is widened by one instruction, as well in each tile */
static void run_linear(const struct linear *call) { run_form(call, &multiply_form); }
static int64_t linear_workspace(const struct linear *call) { return form_workspace(call, &multiply_form); }
#else
/* What five_loops() multiplies: weights times their scales, which rounds only where a scale has more than f16's bits.
 */
static void make_panel(const struct gemm *call, int64_t j, int64_t columns, int64_t p, int64_t kb, T *to) {
    const struct linear_plan z = plan_linear(&target, call->n, call->k);
    const uint8_t *strip = (const uint8_t *)call->b + j / LANES * z.strip;
    for (; columns > 0; columns -= LANES, strip += z.strip) {
        const uint8_t *w = strip + z.scales + p * LANES * WEIGHT_BITS / 8;
        for (int64_t b = p; b < p + kb; b += BLOCK_K, to += BLOCK_K * LANES) {
            const int64_t g = GROUP ? b / GROUP : 0;
            const ints zero = zero_of(strip, g);
            const vec scale = scale_of(strip, g);
            UNROLLED (16, int i = 0; i < BLOCK_K / CHUNK_K; i++, w += CHUNK)
                UNROLLED (8, int e = 0; e < CHUNK_K; e++) store(to + K_OF(i, e) * LANES, widened(w, e, zero) * scale);
        }
    }
}

static void run_linear(const struct linear *call) {
    if (call->m <= DIRECT_ROWS) {
        run_form(call, &multiply_form);
        return;
    }
    const struct gemm gemm = {.threads = call->threads,
                              .m = call->m,
                              .n = call->n,
                              .k = call->k,
                              .a = call->x,
                              .b = call->w,
                              .c = call->y,
                              .lda = call->ldx,
                              .ldc = call->ldy,
                              .workspace = call->workspace};
    five_loops(&gemm, NULL, NULL);
}
static int64_t linear_workspace(const struct linear *call) {
    if (call->m <= DIRECT_ROWS) return form_workspace(call, &multiply_form);
    return plan_gemm_workspace(&target, host_caches(), call->threads, 0, call->m, call->n, call->k);
}
#endif
#endif

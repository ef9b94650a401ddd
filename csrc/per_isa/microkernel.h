/* The register microkernel: C[h,w] (+)= A[h,k] B[k,w], h = 1 .. MR rows by v = 1 .. AT_ONCE(h) vectors of LANES columns.
 *
 * Each step loads v vectors of B and broadcasts h elements of A into h * v independent multiply-adds, all of which stay in
 * registers. B comes in strips, k rows of one vector, the next strip `apart` elements on; or as it lies, k rows `apart`
 * elements from each other. A comes packed, k columns of h elements, or as it lies, h rows `lda` apart.
 * A tile of every height and width is the same source with other constants: rows that don't divide by MR are spread
 * over tiles of nearly equal height, so no multiply-add is spent on padding rows, and low tiles are wide: they have as
 * many accumulators as tall ones, and read as many streams of B at once. */
#define AT_ONCE(h) ((REGISTERS - SPARE) / ((h) + 1) < WIDEST ? (REGISTERS - SPARE) / ((h) + 1) : WIDEST)
_Static_assert(AT_ONCE(MR) == NV, "the tallest tile is NV vectors wide");

#define NEVER INT64_MAX /* as a mask: only step 0 asks, for a line that is there anyway */
#define LINE ((int64_t)(CACHE_LINE / sizeof(T)))
#define SOON 32 /* steps of the tallest tile take longer than a line takes to come from L3 */

/* What memory has to deliver meanwhile, into L2. Of strips: every mask + 1 steps (a power of two) the next line of each.
 * Of rows: in every step the next row's lines, and after `left` rows on at `then`. */
struct F(ahead) {
    const T *at, *then;
    int64_t left, mask;
};

/* k steps of a tile; a and b are moved on. */
static inline __attribute__((always_inline)) void F(steps)(const int h, const int v, const int a_packed,
                                                           const int b_strips, const int copying, int64_t k,
                                                           const T **a, int64_t lda, const T **b, int64_t apart,
                                                           T *copy, int64_t strip, vec acc[MR][WIDEST],
                                                           struct F(ahead) *next) {
    const T *x = *a, *y = *b, *four[(MR + 3) / 4]; /* of A as it lies, every fourth row */
#pragma GCC unroll 4
    for (int i = 0; i < h; i += 4) four[i / 4] = x + i * lda;
#pragma GCC unroll 4
    for (int64_t p = 0; p < k; p++, x += a_packed ? h : 1, y += b_strips ? LANES : apart) {
        if (!a_packed) /* opaque: compilers would make an offset of each row, more than there are registers for */
#pragma GCC unroll 4
            for (int i = 0; i < h; i += 4) __asm__("" : "+r"(four[i / 4]));
        vec row[WIDEST];
#pragma GCC unroll 8
        for (int j = 0; j < v; j++) {
            row[j] = F(load)(y + j * (b_strips ? apart : LANES));
            if (copying) F(store)(copy + j * strip + p * LANES, row[j]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < h; i++)
#pragma GCC unroll 8
            for (int j = 0; j < v; j++) acc[i][j] += (a_packed ? x[i] : four[i / 4][i % 4 * lda]) * row[j];
        if (!a_packed)
#pragma GCC unroll 4
            for (int i = 0; i < h; i += 4) four[i / 4]++;

        if (a_packed && b_strips && !(p & next->mask)) {
#pragma GCC unroll 8
            for (int j = 0; j < v; j++) __builtin_prefetch(next->at + j * apart, 0, 2);
            next->at += LINE;
        }
        if (a_packed && !b_strips) {
#pragma GCC unroll 8
            for (int64_t j = 0; j < v * LANES; j += LINE) __builtin_prefetch(next->at + j, 0, 2);
            __builtin_prefetch(next->at + v * LANES - 1, 0, 2); /* another line where rows don't begin with one */
            next->at += apart;
            if (--next->left == 0) next->at = next->then;
        }
    }
    *a = x, *b = y;
}

static inline __attribute__((always_inline)) void F(tile_any)(const int h, const int v, const int a_packed,
                                                              const int b_strips, const int copying, int64_t k,
                                                              const T *a, int64_t lda, const T *b, int64_t apart,
                                                              T *copy, T *c, int64_t ldc, int accumulate,
                                                              struct F(ahead) *ahead) {
    if (h * v + v + SPARE > REGISTERS) __builtin_unreachable(); /* never called: see AT_ONCE */
    vec acc[MR][WIDEST];
#pragma GCC unroll 16
    for (int i = 0; i < h; i++)
#pragma GCC unroll 8
        for (int j = 0; j < v; j++) acc[i][j] = (vec){0};

    struct F(ahead) next = *ahead;
    const int64_t soon = a_packed && k > SOON ? k - SOON : 0;
    if (a_packed) {
        F(steps)(h, v, a_packed, b_strips, copying, soon, &a, lda, &b, apart, copy, k * LANES, acc, &next);
        T *line = c; /* C's lines, just in time: asked for at the beginning they'd be gone again */
        for (int i = 0; i < h; i++, line += ldc)
            for (int64_t j = 0; j < v * LANES; j += LINE) __builtin_prefetch(line + j, 1);
    }
    F(steps)(h, v, a_packed, b_strips, copying, k - soon, &a, lda, &b, apart, copy + soon * LANES, k * LANES, acc, &next);
    *ahead = next;

#pragma GCC unroll 16
    for (int i = 0; i < h; i++)
#pragma GCC unroll 8
        for (int j = 0; j < v; j++) {
            T *to = c + i * ldc + j * LANES;
            if (accumulate) acc[i][j] += F(load)(to);
            F(store)(to, acc[i][j]);
        }
}

typedef void F(tile)(int64_t k, const T *a, int64_t lda, const T *b, int64_t apart, T *copy, T *c, int64_t ldc,
                     int accumulate, struct F(ahead) *ahead);

/* The kinds of tiles, each with a function per height and width and a table of them: a_packed, b_strips, copying. */
#define FORM_packed 1, 1, 0  /* A packed, B in strips */
#define FORM_copying 1, 0, 1 /* A packed, B as it lies, and copied into strips on the way */
#define FORM_lying 1, 0, 0   /* A packed, B as it lies */
#define FORM_direct 0, 1, 0  /* A as it lies, B in strips */
#define FORM_both 0, 0, 0    /* both as they lie */

#define TILE(kind, h, v)                                                                                               \
    static void F(kind##_##h##x##v)(int64_t k, const T *a, int64_t lda, const T *b, int64_t apart, T *copy, T *c,      \
                                    int64_t ldc, int accumulate, struct F(ahead) *ahead) {                             \
        F(tile_any)(h, v, FORM_##kind, k, a, lda, b, apart, copy, c, ldc, accumulate, ahead);                          \
    }
#define ENTRY(kind, h, v) F(kind##_##h##x##v),
#define WIDTHS(X, kind, h) X(kind, h, 1) X(kind, h, 2) X(kind, h, 3) X(kind, h, 4) X(kind, h, 5) X(kind, h, 6)
#define TILES(kind, h) WIDTHS(TILE, kind, h)
#define ROW(kind, h) {WIDTHS(ENTRY, kind, h)},
#define HEIGHTS_4(X, kind) X(kind, 1) X(kind, 2) X(kind, 3) X(kind, 4)
#define HEIGHTS_6(X, kind) HEIGHTS_4(X, kind) X(kind, 5) X(kind, 6)
#define HEIGHTS_7(X, kind) HEIGHTS_6(X, kind) X(kind, 7)
#define HEIGHTS_14(X, kind)                                                                                            \
    HEIGHTS_7(X, kind) X(kind, 8) X(kind, 9) X(kind, 10) X(kind, 11) X(kind, 12) X(kind, 13) X(kind, 14)
#define KIND(kind)                                                                                                     \
    PASTE(HEIGHTS_, MR)(TILES, kind)                                                                                   \
    static F(tile) *const F(kind##_tile)[MR + 1][WIDEST] /* [height][width - 1] */                                     \
        = {{NULL}, PASTE(HEIGHTS_, MR)(ROW, kind)};
KIND(packed)
KIND(copying)
KIND(lying)
KIND(direct)
KIND(both)

/* The register microkernel: C[h,w] (+)= A[h,k] B[k,w], h = 1 .. MR rows by v = 1 .. AT_ONCE(h) vectors of LANES columns.
 *
 * B comes in strips: k rows of one vector, the next strip `strip` elements on. A comes packed, k columns of h elements,
 * or as it lies, h rows lda apart. Each step loads v vectors of B and broadcasts h elements of A into h * v
 * independent multiply-adds, all of which stay in registers.
 * A tile of every height and width is the same source with other constants: rows that don't divide by MR are spread
 * over tiles of nearly equal height, so no multiply-add is spent on padding rows, and low tiles are wide: they have as
 * many accumulators as tall ones, and read as many streams of B at once. */
#define AT_ONCE(h) ((REGISTERS - SPARE) / ((h) + 1) < WIDEST ? (REGISTERS - SPARE) / ((h) + 1) : WIDEST)
_Static_assert(AT_ONCE(MR) == NV, "the tallest tile is NV vectors wide");

#define NEVER INT64_MAX /* as a mask: only step 0 asks, for a line that is there anyway */
#define LINE ((int64_t)(CACHE_LINE / sizeof(T)))

/* What memory has to deliver meanwhile: every mask + 1 steps (a power of two) one line of each of v streams `apart`
 * elements from each other; after `lines` of them the streams go on `step` elements behind their last beginning. */
struct F(ahead) {
    const T *at, *begin;
    int64_t left, lines, apart, step, mask;
};

static inline __attribute__((always_inline)) void F(ask)(struct F(ahead) *next, const int streams) {
#pragma GCC unroll 8
    for (int j = 0; j < streams; j++) __builtin_prefetch(next->at + j * next->apart, 0, 2);
    next->at += LINE;
    if (--next->left == 0) next->left = next->lines, next->at = next->begin += next->step;
}

static inline __attribute__((always_inline)) void F(tile_any)(const int h, const int v, const int packed, int64_t k,
                                                              const T *a, int64_t lda, const T *b, int64_t strip,
                                                              T *c, int64_t ldc, int accumulate,
                                                              struct F(ahead) *ahead) {
    if (h * v + v + SPARE > REGISTERS) __builtin_unreachable(); /* never called: see AT_ONCE */
    vec acc[MR][WIDEST];
#pragma GCC unroll 16
    for (int i = 0; i < h; i++)
#pragma GCC unroll 8
        for (int j = 0; j < v; j++) acc[i][j] = (vec){0};

    /* C is read (or written) only after the k loop: ask for its lines now. */
    for (int i = 0; i < h; i++)
        for (int64_t j = 0; j < v * LANES; j += LINE) __builtin_prefetch(c + i * ldc + j, 1);

    struct F(ahead) next = *ahead;
#pragma GCC unroll 4
    for (int64_t p = 0; p < k; p++, a += packed ? h : 1, b += LANES) {
        vec row[WIDEST];
#pragma GCC unroll 8
        for (int j = 0; j < v; j++) row[j] = F(load)(b + j * strip);
#pragma GCC unroll 16
        for (int i = 0; i < h; i++)
#pragma GCC unroll 8
            for (int j = 0; j < v; j++) acc[i][j] += a[packed ? i : i * lda] * row[j];
        if (!(p & next.mask)) F(ask)(&next, v);
    }
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

typedef void F(tile)(int64_t k, const T *a, int64_t lda, const T *b, int64_t strip, T *c, int64_t ldc, int accumulate,
                     struct F(ahead) *ahead);

#define TILE(h, v, name, packed)                                                                                       \
    static void F(name##_##h##x##v)(int64_t k, const T *a, int64_t lda, const T *b, int64_t strip, T *c, int64_t ldc, \
                                    int accumulate, struct F(ahead) *ahead) {                                          \
        F(tile_any)(h, v, packed, k, a, lda, b, strip, c, ldc, accumulate, ahead);                                     \
    }
#define WIDTHS(X, h) X(h, 1) X(h, 2) X(h, 3) X(h, 4) X(h, 5) X(h, 6)
#define TILE_PACKED(h, v) TILE(h, v, packed, 1)
#define TILE_DIRECT(h, v) TILE(h, v, direct, 0)
#define ENTRY_PACKED(h, v) F(packed_##h##x##v),
#define ENTRY_DIRECT(h, v) F(direct_##h##x##v),
#define HEIGHTS_4(X) X(1) X(2) X(3) X(4)
#define HEIGHTS_6(X) HEIGHTS_4(X) X(5) X(6)
#define HEIGHTS_7(X) HEIGHTS_6(X) X(7)
#define HEIGHTS_14(X) HEIGHTS_7(X) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define HEIGHTS PASTE(HEIGHTS_, MR)

#define DEFINE(h) WIDTHS(TILE_PACKED, h) WIDTHS(TILE_DIRECT, h)
HEIGHTS(DEFINE)
#undef DEFINE

/* [height][width - 1] */
static F(tile) *const F(packed_tile)[MR + 1][WIDEST] = {
    {NULL},
#define ENTRIES_OF(h) {WIDTHS(ENTRY_PACKED, h)},
    HEIGHTS(ENTRIES_OF)
#undef ENTRIES_OF
};
static F(tile) *const F(direct_tile)[MR + 1][WIDEST] = {
    {NULL},
#define ENTRIES_OF(h) {WIDTHS(ENTRY_DIRECT, h)},
    HEIGHTS(ENTRIES_OF)
#undef ENTRIES_OF
};

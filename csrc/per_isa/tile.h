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
    const T *x = *a, *y = *b;
#pragma GCC unroll 4
    for (int64_t p = 0; p < k; p++, x += a_packed ? h : 1, y += b_strips ? LANES : apart) {
        vec row[WIDEST];
#pragma GCC unroll 8
        for (int j = 0; j < v; j++) {
            row[j] = F(load)(y + j * (b_strips ? apart : LANES));
            if (copying) F(store)(copy + j * strip + p * LANES, row[j]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < h; i++)
#pragma GCC unroll 8
            for (int j = 0; j < v; j++) acc[i][j] += x[a_packed ? i : i * lda] * row[j];

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

#define TILE(name, h, v, a_packed, b_strips, copying)                                                                  \
    static void F(name##_##h##x##v)(int64_t k, const T *a, int64_t lda, const T *b, int64_t apart, T *copy, T *c,      \
                                    int64_t ldc, int accumulate, struct F(ahead) *ahead) {                             \
        F(tile_any)(h, v, a_packed, b_strips, copying, k, a, lda, b, apart, copy, c, ldc, accumulate, ahead);          \
    }
#define WIDTHS(X, h) X(h, 1) X(h, 2) X(h, 3) X(h, 4) X(h, 5) X(h, 6)
#define HEIGHTS_4(X) X(1) X(2) X(3) X(4)
#define HEIGHTS_6(X) HEIGHTS_4(X) X(5) X(6)
#define HEIGHTS_7(X) HEIGHTS_6(X) X(7)
#define HEIGHTS_14(X) HEIGHTS_7(X) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#define HEIGHTS PASTE(HEIGHTS_, MR)

/* Each kind's functions, and its table: [height][width - 1]. */
#define PACKED(h, v) TILE(packed, h, v, 1, 1, 0)   /* A packed, B in strips */
#define COPYING(h, v) TILE(copying, h, v, 1, 0, 1) /* A packed, B as it lies, and copied into strips on the way */
#define LYING(h, v) TILE(lying, h, v, 1, 0, 0)     /* A packed, B as it lies */
#define DIRECT(h, v) TILE(direct, h, v, 0, 1, 0)   /* A as it lies, B in strips */
#define BOTH(h, v) TILE(both, h, v, 0, 0, 0)       /* both as they lie */
#define ENTRY_PACKED(h, v) F(packed_##h##x##v),
#define ENTRY_COPYING(h, v) F(copying_##h##x##v),
#define ENTRY_LYING(h, v) F(lying_##h##x##v),
#define ENTRY_DIRECT(h, v) F(direct_##h##x##v),
#define ENTRY_BOTH(h, v) F(both_##h##x##v),
#define TABLE(name) static F(tile) *const F(name##_tile)[MR + 1][WIDEST]

#define KIND(h) WIDTHS(PACKED, h)
#define ROW(h) {WIDTHS(ENTRY_PACKED, h)},
HEIGHTS(KIND)
TABLE(packed) = {{NULL}, HEIGHTS(ROW)};
#undef KIND
#undef ROW
#define KIND(h) WIDTHS(COPYING, h)
#define ROW(h) {WIDTHS(ENTRY_COPYING, h)},
HEIGHTS(KIND)
TABLE(copying) = {{NULL}, HEIGHTS(ROW)};
#undef KIND
#undef ROW
#define KIND(h) WIDTHS(LYING, h)
#define ROW(h) {WIDTHS(ENTRY_LYING, h)},
HEIGHTS(KIND)
TABLE(lying) = {{NULL}, HEIGHTS(ROW)};
#undef KIND
#undef ROW
#define KIND(h) WIDTHS(DIRECT, h)
#define ROW(h) {WIDTHS(ENTRY_DIRECT, h)},
HEIGHTS(KIND)
TABLE(direct) = {{NULL}, HEIGHTS(ROW)};
#undef KIND
#undef ROW
#define KIND(h) WIDTHS(BOTH, h)
#define ROW(h) {WIDTHS(ENTRY_BOTH, h)},
HEIGHTS(KIND)
TABLE(both) = {{NULL}, HEIGHTS(ROW)};
#undef KIND
#undef ROW

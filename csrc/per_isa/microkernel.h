/* The register microkernel: C[h,w] (+)= A[h,k] B[k,w], h = 1 .. MR rows by v = 1 .. TILE_VECTORS(h) vectors of columns.
 *
 * Each step loads v vectors of B and broadcasts h elements of A into h * v independent multiply-adds, all of which stay
 * in registers. B is packed in strips, k rows of one vector, the next strip `apart` elements on; or strided, k rows
 * `apart` elements from each other. A is packed, k columns of h elements, or strided, h rows `lda` apart. A tile of
 * every height and width is the same source with other constants: rows that don't divide by MR are spread over tiles of
 * nearly equal height, so no multiply-add is spent on padding, and low tiles are wide: they have as many accumulators
 * as tall ones, and read as many streams of B at once. */
_Static_assert(TILE_VECTORS(MR) == NV, "the tallest tile is NV vectors wide");

#define NEVER INT64_MAX /* as a mask: prefetch in step 0 alone, a line that is cached already */
/* Prefetch C so many steps before it is stored: 32 steps of the 14x2 tile are 450 cycles, more than an L3 hit. */
#define PREFETCH_C_STEPS 32

/* What is prefetched into L2 meanwhile. Of packed B: every mask + 1 steps (a power of two) the next line of each strip.
 * Of strided B: in every step the next row's lines, and after `left` rows those from `then` on. */
struct ahead {
    const T *at, *then;
    int64_t left, mask;
};

typedef void tile(int64_t k, const T *a, int64_t lda, const T *b, int64_t apart, T *copy, T *c, int64_t ldc,
                  int accumulate, struct ahead *ahead);

#if ARITHMETIC
/* k steps of a tile; a and b are moved on. */
INLINE void steps(const int h, const int v, const int a_packed, const int b_packed, const int copying, int64_t k,
                  const T **a, int64_t lda, const T **b, int64_t apart, T *copy, int64_t strip, vec acc[MR][WIDEST],
                  struct ahead *next) {
    const T *x = *a, *y = *b;
    const T *four[(MR + 3) / 4]; /* of strided A, every fourth row: its neighbours are 1 to 3 lda on */
    UNROLLED (4, int i = 0; i < h; i += 4) four[i / 4] = x + i * lda;
#pragma GCC unroll 4
    for (int64_t p = 0; p < k; p++, x += a_packed ? h : 1, y += b_packed ? LANES : apart) {
        if (!a_packed) /* opaque: compilers would make an offset of each row, more than there are registers for */
            UNROLLED (4, int i = 0; i < h; i += 4) __asm__("" : "+r"(four[i / 4]));
        vec row[WIDEST];
        UNROLLED (8, int j = 0; j < v; j++) {
            row[j] = load(y + j * (b_packed ? apart : LANES));
            if (copying) store(copy + j * strip + p * LANES, row[j]);
        }
        UNROLLED (16, int i = 0; i < h; i++)
            UNROLLED (8, int j = 0; j < v; j++) acc[i][j] += (a_packed ? x[i] : four[i / 4][i % 4 * lda]) * row[j];
        if (!a_packed)
            UNROLLED (4, int i = 0; i < h; i += 4) four[i / 4]++;

        if (a_packed && b_packed && !(p & next->mask)) {
            UNROLLED (8, int j = 0; j < v; j++) __builtin_prefetch(next->at + j * apart, 0, 2);
            next->at += LINE;
        }
        if (a_packed && !b_packed) {
            UNROLLED (8, int64_t j = 0; j < v * LANES; j += LINE) __builtin_prefetch(next->at + j, 0, 2);
            __builtin_prefetch(next->at + v * LANES - 1, 0, 2); /* one more line where rows aren't line-aligned */
            next->at += apart;
            if (--next->left == 0) next->at = next->then;
        }
    }
    *a = x, *b = y;
}

/* At a tile's beginning, C's lines would leave L1 again. */
INLINE void prefetch_c(const int h, const int v, T *c, int64_t ldc) {
    for (int i = 0; i < h; i++, c += ldc)
        for (int64_t j = 0; j < v * LANES; j += LINE) __builtin_prefetch(c + j, 1);
}

INLINE void any_tile(const int h, const int v, const int a_packed, const int b_packed, const int copying, int64_t k,
                     const T *a, int64_t lda, const T *b, int64_t apart, T *copy, T *c, int64_t ldc, int accumulate,
                     struct ahead *ahead) {
    if (h * v + v + FREE_REGISTERS > REGISTERS) __builtin_unreachable(); /* never called: see TILE_VECTORS */
    vec acc[MR][WIDEST];
    UNROLLED (16, int i = 0; i < h; i++)
        UNROLLED (8, int j = 0; j < v; j++) acc[i][j] = (vec){0};

    struct ahead next = *ahead;
    const int64_t before = a_packed && k > PREFETCH_C_STEPS ? k - PREFETCH_C_STEPS : 0;
    int last = !a_packed;
    if (a_packed && b_packed) { /* a copy for either part: where each ends is predicted better, 1 to 2 % at 8 rows */
        steps(h, v, 1, 1, 0, before, &a, lda, &b, apart, NULL, 0, acc, &next);
        prefetch_c(h, v, c, ldc);
        last = 1;
    } else if (a_packed) __asm__("" : "+r"(last)); /* opaque: one copy takes half as long to compile */
    for (; last < 2; last++) {
        steps(h, v, a_packed, b_packed, copying, last ? k - before : before, &a, lda, &b, apart, copy, k * LANES, acc,
              &next);
        if (last) continue;
        copy += copying ? before * LANES : 0;
        prefetch_c(h, v, c, ldc);
    }
    *ahead = next;

    UNROLLED (16, int i = 0; i < h; i++)
        UNROLLED (8, int j = 0; j < v; j++) {
            T *to = c + i * ldc + j * LANES;
            if (accumulate) acc[i][j] += load(to);
            store(to, acc[i][j]);
        }
}

/* The forms of tiles, each with a function per height and width and a table of them: A packed or strided, B packed or
 * strided, and whether B is copied into strips on the way. */
#define FORM_ap_bp 1, 1, 0
#define FORM_ap_bs_copy 1, 0, 1
#define FORM_ap_bs 1, 0, 0
#define FORM_as_bp 0, 1, 0
#define FORM_as_bs 0, 0, 0

#define TILE(form, h, v)                                                                                               \
    static void form##_##h##x##v(int64_t k, const T *a, int64_t lda, const T *b, int64_t apart, T *copy, T *c,         \
                                 int64_t ldc, int accumulate, struct ahead *ahead) {                                   \
        any_tile(h, v, FORM_##form, k, a, lda, b, apart, copy, c, ldc, accumulate, ahead);                             \
    }
#define ENTRY(form, h, v) form##_##h##x##v,
#define WIDTHS(X, form, h) X(form, h, 1) X(form, h, 2) X(form, h, 3) X(form, h, 4) X(form, h, 5) X(form, h, 6)
#define TILES(form, h) WIDTHS(TILE, form, h)
#define ROW(form, h) {WIDTHS(ENTRY, form, h)},
#define FORM(form)                                                                                                     \
    EACH_HEIGHT(TILES, form)                                                                                           \
    static tile *const form##_tile[MR + 1][WIDEST] /* [height][width - 1] */                                           \
        = {{NULL}, EACH_HEIGHT(ROW, form)};
FORM(ap_bp)
FORM(ap_bs_copy)
FORM(ap_bs)
FORM(as_bp)
FORM(as_bs)
#else /* f32's, which its object has with the same constants */
extern const struct kernel TABLE(ISA, f32)[];
#define ap_bp_tile ((tile *const(*)[WIDEST])TABLE(ISA, f32)->target->tiles)
#endif

/* The register microkernel: C[h,NR] (+)= A[h,k] B[k,NR], h = 1 .. MR, from packed panels.
 *
 * A panel: k columns of h elements. B panel: k rows of NR elements. Each step loads NV vectors of B and broadcasts h
 * elements of A into h * NV independent multiply-adds, all of which stay in registers (asserted in isa.c).
 * A tile of every height up to MR is the same source with another constant: rows that don't divide by MR are
 * spread over tiles of nearly equal height, so no multiply-add is spent on padding rows.
 *
 * Meanwhile the tile asks for a part of the B that comes after this panel, so that memory works while it computes:
 * one row of NR elements every mask + 1 steps (mask + 1 a power of two). */
struct F(ahead) {
    const T *row;
    int64_t stride; /* elements from one row to the next */
    int64_t mask;
};

static inline __attribute__((always_inline)) void F(tile_rows)(const int h, int64_t k, const T *a, const T *b, T *c,
                                                               int64_t ldc, int accumulate, struct F(ahead) next) {
    vec acc[MR][NV];
#pragma GCC unroll 16
    for (int i = 0; i < h; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) acc[i][j] = (vec){0};

    /* C is read (or written) only after the k loop: ask for its lines now. */
    for (int i = 0; i < h; i++) __builtin_prefetch(c + i * ldc, 1);

    for (int64_t p = 0; p < k; p++, a += h, b += NR) {
        vec row[NV];
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) row[j] = F(load)(b + j * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < h; i++)
#pragma GCC unroll 4
            for (int j = 0; j < NV; j++) acc[i][j] += a[i] * row[j];
        if (!(p & next.mask)) {
            for (int64_t j = 0; j < NR; j += CACHE_LINE / (int64_t)sizeof(T)) __builtin_prefetch(next.row + j, 0, 2);
            next.row += next.stride;
        }
    }

#pragma GCC unroll 16
    for (int i = 0; i < h; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NV; j++) {
            T *to = c + i * ldc + j * LANES;
            if (accumulate) acc[i][j] += F(load)(to);
            F(store)(to, acc[i][j]);
        }
}

#define TILE(h)                                                                                                     \
    static __attribute__((noinline)) void F(tile_##h)(int64_t k, const T *a, const T *b, T *c, int64_t ldc,         \
                                                      int accumulate, struct F(ahead) next) {                       \
        F(tile_rows)(h, k, a, b, c, ldc, accumulate, next);                                                         \
    }
TILE(1) TILE(2) TILE(3) TILE(4)
#if MR > 4
TILE(5) TILE(6)
#endif
#if MR > 6
TILE(7)
#endif
#if MR > 7
TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)
#endif
#undef TILE

static void (*const F(tile)[MR + 1])(int64_t, const T *, const T *, T *, int64_t, int, struct F(ahead)) = {
    NULL, F(tile_1), F(tile_2), F(tile_3), F(tile_4),
#if MR > 4
    F(tile_5), F(tile_6),
#endif
#if MR > 6
    F(tile_7),
#endif
#if MR > 7
    F(tile_8), F(tile_9), F(tile_10), F(tile_11), F(tile_12), F(tile_13), F(tile_14),
#endif
};
_Static_assert(MR == 4 || MR == 6 || MR == 7 || MR == 14, "give tile.h a tile of every height up to MR");

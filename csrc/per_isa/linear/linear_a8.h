#include <math.h>

/* linear_a8: linear with activations rounded to 8 bits, in groups of BLOCK_K of k with a scale each, on the way in.
 * Within a group all is integers, and exact: sum w x = scale_w scale_x (sum u q - zero sum q), u = w / scale_w + zero
 * as it is packed, q = x / scale_x; so weights that are stored without a sign are multiplied as they are, and a zero
 * point costs one subtraction a group. */
#if STEP == 4
typedef int8_t quantum; /* an activation, as the dot products take it */
#else
typedef int16_t quantum;
#endif
static inline void store_quanta(quantum *p, const ints numbers[BLOCK_K / LANES]) {
#ifdef STORE_BYTES
    if (sizeof(quantum) == 1) STORE_BYTES(p, (const raw *)numbers);
    else STORE_SHORTS(p, (const raw *)numbers);
#else
    for (int j = 0; j < BLOCK_K; j++) p[j] = (quantum)numbers[j / LANES][j % LANES];
#endif
}

struct rounded { /* of one row and group */
    T scale;
#if SCALE_BYTES == 3
    T sum; /* of q */
#else
    int32_t zeros; /* ZERO times that */
#endif
};
#define QUANTA (4 / (int)sizeof(quantum)) /* in 32 bits */

INLINE ints larger(ints a, ints b) {
#ifdef LARGER
    return (ints)LARGER((raw)a, (raw)b);
#else
    const ints first = a > b;
    return (a & first) | (b & ~first);
#endif
}

/* LANES groups of a row of x, of which `groups` count: of each BLOCK_K / QUANTA words, `apart` from each other, and a
 * struct rounded. What groups have one of is computed for all of them at once, a lane each. */
static inline void round_groups(int64_t groups, int64_t apart, const T *x, uint8_t *q, struct rounded *of) {
    vec each[LANES]; /* the largest |x|, of their bits, as those of NaN and infinities are the largest */
    UNROLLED (16, int g = 0; g < LANES; g++) {
        ints largest = {0};
        UNROLLED (8, int j = 0; j < BLOCK_K; j += LANES)
            largest = larger(largest, (ints)load(x + g * BLOCK_K + j) & 0x7fffffff);
        each[g] = (vec)largest;
    }
    transpose(each);
    ints largest = (ints)each[0];
    UNROLLED (16, int g = 1; g < LANES; g++) largest = larger(largest, (ints)each[g]);
    const vec most = (vec)largest;
    const mask finite = most < (T)INFINITY, large = most >= (T)0x1p-100;
    alignas(VECTOR_BYTES) T inverse[LANES], scale[LANES];
    store(inverse, CHOOSE(finite & large, 127 / most, (vec){0}));
    store(scale, CHOOSE(finite, CHOOSE(large, most / 127, (vec){0}), (vec){0} + (T)NAN));

    for (int g = 0; g < LANES; g++) {
        ints numbers[BLOCK_K / LANES], total = {0};
        alignas(VECTOR_BYTES) quantum rounded[BLOCK_K];
        UNROLLED (8, int j = 0; j < BLOCK_K / LANES; j++) {
            numbers[j] = inverse[g] > 0 ? nearest(load(x + g * BLOCK_K + j * LANES) * inverse[g]) : (ints){0};
            total += numbers[j];
        }
        store_quanta(apart == 1 && g < groups ? (quantum *)q + g * BLOCK_K : rounded, numbers);
        each[g] = __builtin_convertvector(total, vec);
        if (apart > 1 && g < groups)
            for (int j = 0; j < BLOCK_K / QUANTA; j++)
                memcpy(q + 4 * apart * (g * (BLOCK_K / QUANTA) + j), rounded + j * QUANTA, 4);
    }
    transpose(each);
    UNROLLED (16, int g = 1; g < LANES; g++) each[0] += each[g]; /* 32 * 127 at most: exact */
    for (int g = 0; g < groups; g++, of += apart) {
        of->scale = scale[g];
#if SCALE_BYTES == 3
        of->sum = each[0][g];
#else
        of->zeros = ZERO * (int32_t)each[0][g];
#endif
    }
}

static void round_row(const struct linear_plan *z, int64_t apart, int64_t k, const T *x, uint8_t *q,
                      struct rounded *of) {
    const int64_t at_once = LANES * BLOCK_K;
    for (int64_t p = 0; p < z->k; p += at_once, q += 4 * apart * (at_once / QUANTA), of += LANES * apart) {
        alignas(VECTOR_BYTES) T some[LANES * BLOCK_K];
        const T *from = x + p;
        if (p + at_once > k) {
            memset(some, 0, sizeof some);
            if (p < k) memcpy(some, from, (k - p) * sizeof(T));
            from = some;
        }
        round_groups(min((z->k - p) / BLOCK_K, LANES), apart, from, q, of);
    }
}

/* h rows, side by side: the words of all groups, then all struct rounded. */
static void prepare_a8(const struct linear_plan *z, int h, int64_t k, const T *x, int64_t ldx, void *packed) {
    uint8_t *q = packed;
    struct rounded *of = (struct rounded *)(q + z->k * h * (int64_t)sizeof(quantum));
    for (int i = 0; i < h; i++) round_row(z, h, k, x + i * ldx, q + 4 * i, of + i);
}
static int64_t a8_row_bytes(const struct linear_plan *z) {
    return z->k * (int64_t)sizeof(quantum) + z->k / BLOCK_K * (int64_t)sizeof(struct rounded);
}

/* Step t of a block, in the order in which weights lie: of nibbles first one half of a vector, then the other. */
#if WEIGHT_BITS == 4
#define STEP_OF(t) ((t) / 2 + (t) % 2 * 4)
#define DOT dot_nibbles
INLINE ints weights_of(const uint8_t *w, int t) { return load_ints(w + t / 2 * CHUNK) >> t % 2 * 4 & 0x0f0f0f0f; }
#else
#define STEP_OF(t) (t)
#define DOT dot_bytes
INLINE ints weights_of(const uint8_t *w, int t) { return load_bytes(w + t * CHUNK); }
#endif

#undef STRIPS
/* Two registers for each row and strip, the sum of a group and that of all: of 16 registers some are in memory, fewest
 * with 4 rows of 2 strips (Zen 3: 1.25 to 1.5 times as fast as 5 x 2, 6 x 2, 8 x 1). One row reads four streams. */
#if REGISTERS == 16
#define A8_ROWS 4
#else
#define A8_ROWS LINEAR_ROWS
#endif
#define STRIPS(h) ((h) == 1 ? 4 : REGISTERS > 16 ? 3 : 2)

INLINE void multiply_a8(const int h, const int v, const struct linear_plan *z, const void *packed,
                        const struct strips *strips) {
    vec total[A8_ROWS][WIDEST];
    UNROLLED (16, int i = 0; i < h; i++)
        UNROLLED (8, int s = 0; s < v; s++) total[i][s] = (vec){0};
    const int32_t *q = packed;
    const struct rounded *of = (const struct rounded *)((const uint8_t *)packed + z->k * h * (int64_t)sizeof(quantum));
    const uint8_t *w = strips->at + z->scales;
    const int64_t apart = strips->apart;
    for (int64_t g = 0; g < z->k / (GROUP ? GROUP : BLOCK_K); g++) {
#if GROUP
        vec scale[WIDEST];
        UNROLLED (8, int s = 0; s < v; s++) scale[s] = scale_of(strips->at + s * apart, g);
#endif
#if SCALE_BYTES == 3
        vec zero[WIDEST];
        UNROLLED (8, int s = 0; s < v; s++) zero[s] = __builtin_convertvector(zero_of(strips->at + s * apart, g), vec);
#endif
        for (int b = 0; b < (GROUP ? GROUP / BLOCK_K : 1); b++, q += BLOCK_K / QUANTA * h, of += h) {
            ints sums[A8_ROWS][WIDEST];
            UNROLLED (16, int i = 0; i < h; i++)
                UNROLLED (8, int s = 0; s < v; s++) sums[i][s] = (ints){0};
            UNROLLED (16, int t = 0; t < BLOCK_K / STEP; t++) {
                ints some[WIDEST];
                UNROLLED (8, int s = 0; s < v; s++) some[s] = weights_of(w + s * apart, t);
                UNROLLED (16, int i = 0; i < h; i++) {
                    const ints x = (ints){0} + q[STEP_OF(t) * h + i];
                    UNROLLED (8, int s = 0; s < v; s++) {
                        sums[i][s] = DOT(sums[i][s], some[s], x);
                        KEEP(sums[i][s]);
                    }
                }
            }
            w += BLOCK_K * LANES * WEIGHT_BITS / 8;
            UNROLLED (16, int i = 0; i < h; i++)
                UNROLLED (8, int s = 0; s < v; s++) {
#if WEIGHT_BITS == 4
                    sums[i][s] = total_nibbles(sums[i][s]);
#endif
#if SCALE_BYTES == 3
                    vec exact = __builtin_convertvector(sums[i][s], vec) - of[i].sum * zero[s];
#else
                    if (ZERO) sums[i][s] -= of[i].zeros;
                    vec exact = __builtin_convertvector(sums[i][s], vec);
#endif
#if GROUP
                    total[i][s] += exact * of[i].scale * scale[s];
#else
                    total[i][s] += exact * of[i].scale;
#endif
                }
        }
    }
#if !GROUP
    UNROLLED (8, int s = 0; s < v; s++)
        UNROLLED (16, int i = 0; i < h; i++) total[i][s] *= scale_of(strips->at + s * apart, 0);
#endif
    store_tile(h, v, total, strips);
}

LINEAR_FORM(multiply_a8, A8_ROWS, prepare_a8, a8_row_bytes)
static void run_linear_a8(const struct linear *call) { run_form(call, &multiply_a8_form); }
static int64_t linear_a8_workspace(const struct linear *call) { return form_workspace(call, &multiply_a8_form); }

#include <math.h>

/* linear_a8: linear with activations rounded to 8 bits, in groups of BLOCK_K of k with a scale each, on the way in.
 * Within a group all is integers, and exact: sum w x = scale_w scale_x (sum u q - zero sum q), u = w / scale_w + zero
 * as it is packed, q = x / scale_x; so weights that are stored without a sign are multiplied as they are, and a zero
 * point costs one subtraction a group. */
#include "per_isa/linear/rounding.h"

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

#if WEIGHT_BITS == 4
#include "per_isa/linear/panels_a8.h"
#define PANELS(m) ((m) > 4 * A8_ROWS) /* unpacking is repaid by five tiles; with three it takes 3 to 6 % longer */
#else
#define PANELS(m) 0
static void run_panels_a8(const struct linear *call) { (void)call; }
static int64_t panels_a8_workspace(const struct linear *call) { return (void)call, 0; }
#endif

static void run_linear_a8(const struct linear *call) {
    if (PANELS(call->m)) run_panels_a8(call);
    else run_form(call, &multiply_a8_form);
}
static int64_t linear_a8_workspace(const struct linear *call) {
    return PANELS(call->m) ? panels_a8_workspace(call) : form_workspace(call, &multiply_a8_form);
}

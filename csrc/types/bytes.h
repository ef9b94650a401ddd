/* What integers of 8 bits have in common, with GROUP neighbours to a scale, or 0: a row. Packed STEP of a row side by
 * side, as many as the ISA's dot product eats: see isa/. */
typedef float T;
#define ARITHMETIC 0
#define STREAM 0
#define PLAIN 0

#include "per_isa/linear/integers.h"

#define LINEAR 1
#define INTEGER 1
#define WEIGHT_BITS 8
#define STEP BYTE_STEP
#define CHUNK (STEP * LANES)
#define CHUNK_K STEP
#define BLOCK_K 32
#define K_OF(j, e) (STEP * (j) + (e))
#define ZERO BYTE_BIAS /* what is added to a number as it is packed */
static inline vec widened(const uint8_t *chunk, int e, ints zero) {
    (void)zero;
    const ints some = load_bytes(chunk) ^ (BYTE_BIAS ? (int)0x80808080 : 0);
    const int bits = 32 / STEP;
    if (STEP == 2 && e == 0) /* times 1 and 0: one instruction instead of two shifts */
        return __builtin_convertvector(dot_bytes((ints){0}, some, (ints){0} + 1), vec);
    const ints one = (some << (32 - bits * (e + 1))) >> (32 - bits);
    return __builtin_convertvector(one, vec);
}

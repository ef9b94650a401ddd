/* What integers of 4 bits have in common: GROUP neighbours to an f16 scale, and, with ZEROS, to the byte that stands
 * for 0, which is 8 otherwise. Stored, byte j has element j low and element j + GROUP / 2 high. Packed, a vector has 4
 * neighbours of each row low, and those 16 further on high: the halves of a vector are two steps of a dot product of
 * bytes, a mask and a shift away. */
typedef float T;
typedef struct __attribute__((packed)) {
    uint16_t scale;
#if ZEROS
    uint8_t zero;
#endif
    uint8_t q[GROUP / 2];
} stored;
#define ARITHMETIC 0
#define STREAM 0
#define PLAIN 0

#include "per_isa/linear/integers.h"

#define LINEAR 1
#define INTEGER 1
#define WEIGHT_BITS 4
#define SCALE_BYTES (2 + ZEROS)
#define STEP 4
#define CHUNK VECTOR_BYTES
#define CHUNK_K 8
#define BLOCK_K 32
#define K_OF(j, e) ((e) / 4 * 16 + 4 * (j) + (e) % 4)
#define ZERO 8
static inline vec widened(const uint8_t *chunk, int e, ints zero) {
    const int bit = e % 4 * 8 + e / 4 * 4;
#if ZEROS
    return __builtin_convertvector((load_ints(chunk) >> bit & 15) - zero, vec);
#else
    (void)zero; /* 8: a number of four bits with a sign, but for its highest bit */
    return __builtin_convertvector((load_ints(chunk) ^ (int)0x88888888) << (28 - bit) >> 28, vec);
#endif
}

static inline int number(const stored *row, int64_t k, int64_t p) {
    (void)k;
    const int64_t in = p % GROUP;
    return row[p / GROUP].q[in % (GROUP / 2)] >> (in < GROUP / 2 ? 0 : 4) & 15;
}
static inline void put_scale(const stored *row, int64_t k, int64_t group, uint8_t *scales, int r) {
    (void)k;
    scales += group * LANES * SCALE_BYTES;
    memcpy(scales + r * 2, &row[group].scale, 2);
#if ZEROS
    scales[2 * LANES + r] = row[group].zero;
#endif
}

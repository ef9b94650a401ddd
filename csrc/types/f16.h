/* f16: IEEE 754's half precision, of weights alone, see f32.h. */
typedef float T;
typedef uint16_t stored;
#define ARITHMETIC 0
#define STREAM 0
#define PLAIN 1

#include "per_isa/vector.h"

static inline vec load_stored(const stored *p) { return load_halves(p); }
static inline T value(const stored *p) {
    alignas(VECTOR_BYTES) stored lane[LANES] = {*p};
    return load_halves(lane)[0];
}

#define LINEAR 1
#define INTEGER 0
#define WEIGHT_BITS 16
#define GROUP 0
#define SCALE_BYTES 0
#define STEP 1
#define CHUNK (VECTOR_BYTES / 2)
#define CHUNK_K 1
#define BLOCK_K 8
#define K_OF(j, e) ((j) + (e))
static inline vec widened(const uint8_t *chunk, int e, ints zero) {
    (void)e, (void)zero;
    return load_halves(chunk);
}

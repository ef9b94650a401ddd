/* bf16: the upper half of an f32, of weights alone, see f32.h. Packed two of a row side by side: an f32 is one shift,
 * or one mask, away. */
typedef float T;
typedef uint16_t stored;
#define ARITHMETIC 0
#define STREAM 0
#define PLAIN 1

#include "per_isa/vector.h"

typedef stored halves __attribute__((vector_size(VECTOR_BYTES / 2), aligned(2), may_alias));
static inline vec load_stored(const stored *p) {
    return (vec)(__builtin_convertvector(*(const halves *)p, ints) << 16);
}
static inline T value(const stored *p) {
    const uint32_t bits = (uint32_t)*p << 16;
    T x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#ifdef DOT_HALVES /* sums + w x, of two neighbours along k in each lane */
INLINE vec dot_halves(vec sums, ints w, ints x) { return (vec)DOT_HALVES(sums, w, x); }
#endif

#define LINEAR 1
#define INTEGER 0
#define BF16 1
#define WEIGHT_BITS 16
#define GROUP 0
#define SCALE_BYTES 0
#define STEP 2
#define CHUNK VECTOR_BYTES
#define CHUNK_K 2
#define BLOCK_K 8
#define K_OF(j, e) (2 * (j) + (e))
static inline vec widened(const uint8_t *chunk, int e, ints zero) {
    (void)zero;
    const ints two = load_ints(chunk);
    return (vec)(e ? two & (int)0xffff0000 : two << 16);
}

/* neon_dotprod: NEON with SDOT of Armv8.2, for integers of 8 and 4 bits: four bytes times four, all with a sign, and a
 * sum in 32 bits, in one instruction. i8mm's USDOT does as many. */
#include "isa/neon.h"

typedef int32x4_t raw;
#define BYTE_STEP 4
#define BYTE_BIAS 0
#define LOAD_BYTES(p) load_ints(p)
#define DOT_BYTES(sums, w, x) vdotq_s32(sums, (int8x16_t)(w), (int8x16_t)(x))
#define DOT_NIBBLES DOT_BYTES
#define NEAREST(v) vcvtnq_s32_f32((float32x4_t)(v))

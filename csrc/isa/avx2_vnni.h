/* avx2_vnni: AVX2 with AVX-VNNI, for integers of 8 and 4 bits. */
#include "isa/avx2.h"

/* Dot products, see integers.h: four bytes without a sign times four with one, and a sum in 32 bits, in one
 * instruction. So weights are packed 128 more than they are, and nibbles are taken as they are. */
#undef BYTE_STEP
#undef BYTE_BIAS
#undef LOAD_BYTES
#undef DOT_BYTES
#undef DOT_NIBBLES
#undef TOTAL_NIBBLES
#define BYTE_STEP 4
#define BYTE_BIAS 128
#define LOAD_BYTES(p) _mm256_loadu_si256(p)
#define DOT_BYTES(sums, w, x) _mm256_dpbusd_avx_epi32(sums, w, x)
#define DOT_NIBBLES DOT_BYTES

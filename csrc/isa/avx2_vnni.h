/* avx2_vnni: AVX2 with AVX-VNNI, for integers of 8 and 4 bits. */
#include "isa/avx2.h"
#include "isa/vnni.h"

#define LOAD_BYTES(p) _mm256_loadu_si256(p)
#define DOT_BYTES(sums, w, x) _mm256_dpbusd_avx_epi32(sums, w, x)

/* avx512_bf16: AVX-512 with its products of bf16: two neighbours along k times two, each added to a sum in f32 and
 * rounded, in one instruction. */
#include "isa/avx512_vnni.h"

#define DOT_HALVES(sums, w, x) _mm512_dpbf16_ps((__m512)(sums), (__m512bh)(w), (__m512bh)(x))

/* avx512_vnni: AVX-512 with its VNNI, for integers of 8 and 4 bits. VBMI's permutations of bytes have nothing to do
 * here: nibbles are packed so that a mask and a shift unpack them. */
#include "isa/avx512.h"
#include "isa/vnni.h"

#define LOAD_BYTES(p) _mm512_loadu_si512(p)
#define DOT_BYTES(sums, w, x) _mm512_dpbusd_epi32(sums, w, x)

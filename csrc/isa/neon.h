/* neon: Advanced SIMD of AArch64, 32 registers of 16 bytes. */
#include <arm_neon.h>

#define VECTOR_BYTES 16
#define REGISTERS 32
#define HAS_FMA 1

/* The tallest tile, see generic.h: 7 * 3 + 3 + 5 = 29 registers. */
#define MR 7
#define NV 3
#define FREE_REGISTERS 5 /* GCC loads broadcasts ahead of their use: a tile of 8 x 3 spills */

#define CHAINS 24 /* see generic.h: latency 4 x 4 ports on wide cores */
_Static_assert(CHAINS + 1 <= REGISTERS, "the peak probe exceeds the register file");

#define SKINNY_ROWS 16
#define HELD_ROWS 0
#define STREAMED_ROWS 0
#define DOT_STREAMS 4
#define DOT_VECTORS 2

#define MASKED 0
/* STNP is a hint that current cores ignore: such a copy would be a plain one under another name. */
#define NONTEMPORAL 0

#define WIDEN_HALVES(p) vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)(p))))

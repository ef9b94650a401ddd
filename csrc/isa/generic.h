/* generic: what every CPU of the architecture has: SSE2 on x86-64, Advanced SIMD on AArch64, scalars elsewhere. */
#define VECTOR_BYTES 16
#define REGISTERS 16
#define HAS_FMA 0

/* The tallest register tile is MR rows of C by NV vectors; kernel.c checks that its accumulators, NV vectors of B and
 * FREE_REGISTERS fit the register file. Larger is better: each vector of B serves MR multiply-adds, each element of A
 * NV. At least latency x ports independent accumulators are needed to keep the FMA units busy: 4 x 2 on Zen and Intel
 * cores, 4 x 4 on wide Arm cores. A tile of fewer rows is wider by the same budget: TILE_VECTORS in microkernel.h. */
#define MR 4
#define NV 2
#define FREE_REGISTERS 2 /* a broadcast of A, and a product, which without FMA is a value */

/* Independent multiply-adds of the peak probe: at least latency x ports, beside a constant. On x86-64 without FMA a
 * multiply and an add: 3 + 3 cycles x 2 on Zen, (4 + 4) x 1 on Intel cores. Zen 3: 8 reach 65 %, 12 reach 100 %. */
#if defined __aarch64__ /* 32 registers: see neon.h */
#define CHAINS 24
#else
#define CHAINS 12
_Static_assert(CHAINS + 2 <= REGISTERS, "the peak probe exceeds the register file");
#endif

#define SKINNY_ROWS 16  /* of A, up to which gemm_skinny.h beats the register tile, which walks down columns of B */
#define HELD_ROWS 0     /* of A, whose elements gemm_skinny.h keeps in registers */
#define STREAMED_ROWS 0 /* of A, up to which a row tile reads packed weights as they come, without prefetching */
#define DOT_STREAMS 4   /* rows of W that gemv reads side by side */
#define DOT_VECTORS 2   /* of each, in turn */

#define MASKED 0 /* no masked loads and stores */
#if defined __x86_64__
#include <immintrin.h>
#define NONTEMPORAL 1
#define STORE_NONTEMPORAL(p, v) _mm_stream_pd(p, (__m128d)(v))
#define STORE_FENCE() _mm_sfence()
#else
#define NONTEMPORAL 0
#endif

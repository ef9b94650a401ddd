/* avx512: AVX-512 F, VL, BW and DQ, 32 registers of 64 bytes. */
#include <immintrin.h>

#define VECTOR_BYTES 64
#define REGISTERS 32
#define HAS_FMA 1

/* The tallest tile, see generic.h: 14 * 2 + 2 + 1 = 31 registers. */
#define MR 14
#define NV 2
#define FREE_REGISTERS 1 /* a broadcast of A */

#define CHAINS 24 /* see generic.h: latency 4 x 2 ports */
_Static_assert(CHAINS + 1 <= REGISTERS, "the peak probe exceeds the register file");

#define SKINNY_ROWS 4
#define HELD_ROWS 4
#define STREAMED_ROWS 0
#define DOT_STREAMS 3 /* fewer streams are read faster, and a long x stays in L1 long enough. Zen 4: 3 beat 4 */
#define DOT_VECTORS 4

#define NONTEMPORAL 1
#define STORE_NONTEMPORAL(p, v) _mm512_stream_pd(p, (__m512d)(v))
#define STORE_FENCE() _mm_sfence()

/* The first `count` lanes, see avx2.h. By name: GCC 12 compiles a masked store of eight doubles that is left to it to
 * vextractf64x4 with a mask and a memory operand, which does not suppress the faults of masked lanes. */
#define MASKED 1
static inline __m512i load_lanes(int size, const void *p, int64_t count) {
    const unsigned mask = (1u << count) - 1;
    return size == 4 ? (__m512i)_mm512_maskz_loadu_ps((__mmask16)mask, p)
                     : (__m512i)_mm512_maskz_loadu_pd((__mmask8)mask, p);
}
static inline void store_lanes(int size, void *p, __m512i v, int64_t count) {
    const unsigned mask = (1u << count) - 1;
    if (size == 4) _mm512_mask_storeu_ps(p, (__mmask16)mask, (__m512)v);
    else _mm512_mask_storeu_pd(p, (__mmask8)mask, (__m512d)v);
}

#define WIDEN_HALVES(p) _mm512_cvtph_ps(_mm256_loadu_si256(p))

/* Dot products as in avx2.h. */
#define BYTE_STEP 2
#define BYTE_BIAS 0
#define LOAD_BYTES(p) _mm512_cvtepi8_epi16(_mm256_loadu_si256(p))
#define DOT_BYTES(sums, w, x) _mm512_add_epi32(sums, _mm512_madd_epi16(w, x))
#define DOT_NIBBLES(sums, w, x) _mm512_add_epi16(sums, _mm512_maddubs_epi16(w, x))
#define TOTAL_NIBBLES(sums) _mm512_madd_epi16(sums, _mm512_set1_epi16(1))
#define NEAREST(v) _mm512_cvtps_epi32(v)
#define LARGER(a, b) _mm512_max_epi32(a, b)
/* 32 numbers of 8 or 16 bits, as they come in two vectors of 32-bit lanes, side by side. */
static inline void store_bytes(__m128i *p, const __m512i *v) {
    for (int i = 0; i < 2; i++) _mm_storeu_si128(p + i, _mm512_cvtepi32_epi8(v[i]));
}
static inline void store_shorts(__m256i *p, const __m512i *v) {
    for (int i = 0; i < 2; i++) _mm256_storeu_si256(p + i, _mm512_cvtepi32_epi16(v[i]));
}
#define STORE_BYTES(p, v) store_bytes((__m128i *)(p), v)
#define STORE_SHORTS(p, v) store_shorts((__m256i *)(p), v)

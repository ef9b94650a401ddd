/* avx2: AVX2 with FMA and F16C, 16 registers of 32 bytes. */
#include <immintrin.h>

#define VECTOR_BYTES 32
#define REGISTERS 16
#define HAS_FMA 1

/* The tallest tile, see generic.h: 6 * 2 + 2 + 1 = 15 registers, 12 accumulators for latency 4 x 2 ports. */
#define MR 6
#define NV 2
#define FREE_REGISTERS 1 /* a broadcast of A */

#define CHAINS 12 /* see generic.h: latency 4 x 2 ports; Zen 3: 8 to 15 reach 100 % */
_Static_assert(CHAINS + 1 <= REGISTERS, "the peak probe exceeds the register file");

#define SKINNY_ROWS 15 /* more than with AVX-512: a narrow tile reads pieces of B's rows too short for prefetchers */
#define HELD_ROWS 0
/* The reorder buffer spans so much of B by itself; prefetching took 1.27, 1.23, 1.10, 1.01 times as long at 1, 2, 3 and
 * 4 rows, 0.87 times at 5 (Zen 3). */
#define STREAMED_ROWS 4
#define DOT_STREAMS 4 /* Zen 4: 4 beat 3 */
#define DOT_VECTORS 2

#define NONTEMPORAL 1
#define STORE_NONTEMPORAL(p, v) _mm256_stream_pd(p, (__m256d)(v))
#define STORE_FENCE() _mm_sfence()

/* The first `count` lanes of `size` bytes from and to memory; the others are neither read nor written, so there need be
 * no memory. Those that are not loaded are 0. */
#define MASKED 1
static inline __m256i first_lanes(int size, int64_t count) {
    return size == 4 ? _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
                     : _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
}
static inline __m256i load_lanes(int size, const void *p, int64_t count) {
    const __m256i mask = first_lanes(size, count);
    return size == 4 ? (__m256i)_mm256_maskload_ps(p, mask) : (__m256i)_mm256_maskload_pd(p, mask);
}
static inline void store_lanes(int size, void *p, __m256i v, int64_t count) {
    const __m256i mask = first_lanes(size, count);
    if (size == 4) _mm256_maskstore_ps(p, mask, (__m256)v);
    else _mm256_maskstore_pd(p, mask, (__m256d)v);
}

#define WIDEN_HALVES(p) _mm256_cvtph_ps(_mm_loadu_si128(p))

/* Dot products, see integers.h. Weights of 8 bits are widened to 16 and multiplied two by two, which is exact; those of
 * 4 bits are bytes without a sign, times bytes with one, and the sum of two such products, eight times over, fits 16
 * bits: 8 * 2 * 15 * 127 = 30480. */
#define BYTE_STEP 2
#define BYTE_BIAS 0
#define LOAD_BYTES(p) _mm256_cvtepi8_epi16(_mm_loadu_si128(p))
#define DOT_BYTES(sums, w, x) _mm256_add_epi32(sums, _mm256_madd_epi16(w, x))
#define DOT_NIBBLES(sums, w, x) _mm256_add_epi16(sums, _mm256_maddubs_epi16(w, x))
#define TOTAL_NIBBLES(sums) _mm256_madd_epi16(sums, _mm256_set1_epi16(1))
#define NEAREST(v) _mm256_cvtps_epi32(v)
#define LARGER(a, b) _mm256_max_epi32(a, b)
/* 32 numbers of 8 or 16 bits, as they come in four vectors of 32-bit lanes, side by side. */
static inline void store_bytes(__m256i *p, const __m256i *v) {
    const __m256i some = _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
    _mm256_storeu_si256(p, _mm256_permutevar8x32_epi32(some, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
}
static inline void store_shorts(__m256i *p, const __m256i *v) {
    for (int i = 0; i < 2; i++)
        _mm256_storeu_si256(p + i, _mm256_permute4x64_epi64(_mm256_packs_epi32(v[2 * i], v[2 * i + 1]), 0xd8));
}
#define STORE_BYTES(p, v) store_bytes((__m256i *)(p), v)
#define STORE_SHORTS(p, v) store_shorts((__m256i *)(p), v)

/* What sparse.h asks of an ISA:
 *   GROUP_BITS  weights whose bits of a bitmap lie side by side: LANES where EXPANDS
 *   EXPANDS     can it expand values?
 *   expanded    a vector of the next values in the lanes that have a bit, and of zeros; PART bytes behind the last
 *               value may be read
 *   strip_few   strip_group() of sparse.h where 16 bytes hold all values of a group; of_two is kept from group to group
 *   csr_row     the product of a row of CSR */
#if defined __AVX512F__
#define EXPANDS 1
#define strip_few(fixed, bits, values, x, total, of_two) strip_group(fixed, bits, values, x, total)
#define GROUP_BITS 16
static inline unsigned group_bits(const uint8_t *bits) { return bits[0] | (unsigned)bits[1] << 8; }
/* In registers: the form of vpexpand that reads memory is microcoded on Zen 4. */
static inline vec expanded(unsigned bits, const stored *values) {
#if SCALED
    const __m512i wide = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)values));
    return (vec)_mm512_cvtepi32_ps(_mm512_maskz_expand_epi32((__mmask16)bits, wide));
#else
    return (vec)_mm512_maskz_expand_ps((__mmask16)bits, _mm512_loadu_ps(values));
#endif
}
#elif defined __AVX2__
#define EXPANDS 1
#define GROUP_BITS 8
static inline unsigned group_bits(const uint8_t *bits) { return *bits; }

/* By tables that have a row for each byte of bits: of a lane, which value comes there, the number of bits below. */
#define BELOW_(b)                                                                                                      \
    (((b) & 1) + ((b) >> 1 & 1) + ((b) >> 2 & 1) + ((b) >> 3 & 1) + ((b) >> 4 & 1) + ((b) >> 5 & 1) + ((b) >> 6 & 1))
#define BELOW(b, lane) BELOW_((b) & ((1 << (lane)) - 1))
#define ROW_1(b)                                                                                                       \
    {LANE_OF(b, 0), LANE_OF(b, 1), LANE_OF(b, 2), LANE_OF(b, 3),                                                       \
     LANE_OF(b, 4), LANE_OF(b, 5), LANE_OF(b, 6), LANE_OF(b, 7)},
#define ROWS_4(b) ROW_1(b) ROW_1(b + 1) ROW_1(b + 2) ROW_1(b + 3)
#define ROWS_16(b) ROWS_4(b) ROWS_4(b + 4) ROWS_4(b + 8) ROWS_4(b + 12)
#define ROWS_64(b) ROWS_16(b) ROWS_16(b + 16) ROWS_16(b + 32) ROWS_16(b + 48)
#define ROWS ROWS_64(0) ROWS_64(64) ROWS_64(128) ROWS_64(192)
#define LANE_OF(b, lane) ((b) >> (lane) & 1 ? PLACE(BELOW(b, lane)) : NOWHERE)

/* Of vpshufb, which makes zeros, too, and takes its table from memory, for values that 16 bytes hold: those that begin
 * at an address, and those that end there. */
#define NOWHERE ((int32_t)0x80808080)
#if SCALED
#define PLACE(value) ((int32_t)((unsigned)(value) << 24 | 0x808080)) /* the upper byte of a lane */
#else
#define PLACE(value) (0x03020100 + 0x04040404 * (value))
#endif
static const alignas(64) int32_t from_start[256][8] = {ROWS};
#undef LANE_OF
#define LANE_OF(b, lane)                                                                                               \
    ((b) >> (lane) & 1 ? PLACE((16 / (int)sizeof(stored) - BELOW_(b) - ((b) >> 7 & 1) + BELOW(b, lane)) & 15) : NOWHERE)
static const alignas(64) int32_t to_end[256][8] = {ROWS};

/* A byte of bits names a row of 32 bytes: times 4 by lea, for shifts have two ports of four, and times 8 by addressing.
 */
static inline vec placed(const int32_t (*table)[8], uint64_t byte, const void *values) {
    uint64_t quarter;
    __asm__("lea (,%1,4), %0" : "=r"(quarter) : "r"(byte));
    const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128(values));
    const __m256i lanes = _mm256_shuffle_epi8(both, *(const __m256i *)((const char *)table + 8 * quarter));
#if SCALED
    return (vec)_mm256_cvtepi32_ps(_mm256_srai_epi32(lanes, 24));
#else
    return (vec)lanes;
#endif
}

/* Values of two rows begin and end where one popcount says: 29 instructions for 32 weights, of which a core that shares
 * its six a cycle has no more than three. In registers by name: GCC would load x for each row, count again what is an
 * address, and extend a count of 16 bits whose upper ones are zero. */
INLINE const stored *strip_few(const int fixed, const uint8_t *bits, const stored *values, vec x, vec *total,
                               uint64_t *of_two) {
    uint32_t word;
    memcpy(&word, bits, sizeof word);
    uint64_t rows = word, of_four = 16;
    __asm__("" : "+x"(x));
    if (!fixed) {
        __asm__("popcnt %w1, %w0" : "+r"(*of_two) : "r"(rows));
        __asm__("popcnt %1, %0" : "=r"(of_four) : "r"(rows));
    }
    const stored *middle = values + (fixed ? 8 : *of_two);
    total[0] += placed(from_start, rows & 255, values) * x;
    total[1] += (fixed ? placed(from_start, rows >> 8 & 255, values + 4)
                       : placed(to_end, rows >> 8 & 255, (const char *)middle - 16)) *
                x;
    rows >>= 16;
    __asm__("" : "+r"(rows));
    total[2] += placed(from_start, rows & 255, middle) * x;
    values += of_four;
    __asm__("" : "+r"(values));
    total[3] +=
        (fixed ? placed(from_start, rows >> 8, values - 4) : placed(to_end, rows >> 8, (const char *)values - 16)) * x;
    return values;
}

#if SCALED
static inline vec expanded(unsigned bits, const stored *values) { return placed(from_start, bits, values); }
#else
#undef LANE_OF
#undef NOWHERE
#define LANE_OF(b, lane) ((b) >> (lane) & 1 ? BELOW(b, lane) : NOWHERE)
#define NOWHERE INT32_MIN /* a sign for vblendvps; vpermps reads the lowest three bits alone */
static const alignas(64) int32_t places[256][8] = {ROWS};

static inline vec expanded(unsigned bits, const stored *values) {
    const __m256i place = *(const __m256i *)places[bits];
    /* Loaded by itself: Zen 3 takes twice as long for a vpermps that reads memory. A blend by name: GCC makes a
     * comparison and an and of one with zeros. */
    __m256 next = _mm256_loadu_ps(values), found;
    __asm__("" : "+x"(next));
    next = _mm256_permutevar8x32_ps(next, place);
    __asm__("vblendvps %3, %2, %1, %0" : "=x"(found) : "x"(next), "x"(_mm256_setzero_ps()), "x"(place));
    return (vec)found;
}
#endif
#else
#define EXPANDS 0
#define GROUP_BITS 8
static inline unsigned group_bits(const uint8_t *bits) { return *bits; }
#endif

#if !SCALED
INLINE T csr_row(const int index_bytes, int64_t count, const void *columns, const T *values, const T *x) {
    const int32_t *wide = columns;
    const uint16_t *narrow = columns;
    T total = 0;
    int64_t p = 0;
#if defined __AVX2__ /* eight at a time, in two chains; gathers take 9 cycles on Zen 3, loads one by one 12 */
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
#define COLUMNS(p)                                                                                                     \
    (index_bytes == 4 ? _mm256_loadu_si256((const __m256i *)(wide + (p)))                                              \
                      : _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(narrow + (p)))))
    for (; p + 16 <= count; p += 16)
        UNROLLED (2, int c = 0; c < 2; c++)
            sums[c] += _mm256_loadu_ps(values + p + 8 * c) * _mm256_i32gather_ps(x, COLUMNS(p + 8 * c), 4);
    for (; p < count; p += 8) { /* PART bytes behind the last column may be read */
        const __m256i valid = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(count - p)), lane);
        const __m256 found = _mm256_mask_i32gather_ps(_mm256_setzero_ps(), x, COLUMNS(p), (__m256)valid, 4);
        sums[0] += _mm256_maskload_ps(values + p, valid) * found;
    }
#undef COLUMNS
    const __m256 both = sums[0] + sums[1];
    const __m128 half = _mm256_castps256_ps128(both) + _mm256_extractf128_ps(both, 1);
    total = (half[0] + half[1]) + (half[2] + half[3]);
#else
    T sums[4] = {0}; /* chains */
    for (; p + 4 <= count; p += 4)
        UNROLLED (4, int c = 0; c < 4; c++)
            sums[c] += values[p + c] * x[index_bytes == 4 ? wide[p + c] : narrow[p + c]];
    for (; p < count; p++) sums[0] += values[p] * x[index_bytes == 4 ? wide[p] : narrow[p]];
    total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
#endif
    return total;
}
#endif

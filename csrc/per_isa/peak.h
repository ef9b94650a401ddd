/* The ceiling of a type's multiply-adds: as many independent chains as saturate the units, whatever the register tile
 * has; nothing loaded, nothing stored. A step adds PRODUCTS of them to each lane of a chain. */
#if ARITHMETIC
/* x = x * 0.5 + 0.5 stays at 1 for ever: no denormals, no overflow, and no compiler may fold it without -ffast-math.
 * Each chain starts at another value, so no two can be merged. Without FMA it is a multiply and an add. */
#define PEAK_CHAINS CHAINS
#define PRODUCTS 1
typedef vec chain;
#define FACTOR ((T)0.5)
INLINE chain first(chain factor, int i) { return factor + (T)i; }
INLINE chain step(chain x, chain *half) { return x * *half + *half; }
static inline double all_of(chain x) { return sum(x); }
#elif PRODUCTS_OF_HALVES
/* Ones times ones, two of them side by side: a chain counts its products, exactly up to 2^24. */
#define PEAK_CHAINS CHAINS
#define PRODUCTS STEP
typedef vec chain;
#define FACTOR 0x1.007fp0f /* 0x3f803f80 */
INLINE chain first(chain factor, int i) { return (void)factor, (void)i, (chain){0}; }
INLINE chain step(chain x, chain *ones) {
    KEEP(*ones); /* another one each time, to the compiler */
    x = dot_halves(x, (ints)*ones, (ints)*ones);
    KEEP(x);
    return x;
}
#else
/* Ones times ones, so that a chain counts its products, by the dot product that linear_a8 issues, with what it takes to
 * have sums of 32 bits. A dot product that adds has a latency, which CHAINS cover; where it is a multiply and an add,
 * the chain is one cycle a step, and half as many leave registers to the products.
 *
 * AVX2 and AVX-512BW: 32 (or 64) exact products of 8 bits take two multiplies and two adds, as two vpmaddwd or as
 * vpsignb, vpmaddubsw and vpmaddwd: 16 bits hold 2 * 127 * 127, but no second such sum. Of nibbles they hold eight, so
 * one vpmaddwd serves eight vpmaddubsw. Zen 3: 50 of 64, and 90 of 114 operations a cycle, for an add may take one of
 * the two units that multiply. Where an ISA has no dot product, 32-bit multiplies of what is widened already: a tile
 * shares widening. */
#ifndef DOT_BYTES
#define PEAK_CHAINS (CHAINS / 2)
#define PRODUCTS 1
#elif WEIGHT_BITS == 4 && SHORT_SUMS
#define PEAK_CHAINS (CHAINS / 2)
#define PRODUCTS BLOCK_K
#else
#define PEAK_CHAINS (SHORT_SUMS ? CHAINS / 2 : CHAINS)
#define PRODUCTS STEP
#endif
typedef ints chain;
#define FACTOR ((PRODUCTS) == 1 ? 1 : STEP == 2 ? 0x00010001 : 0x01010101)
INLINE chain first(chain factor, int i) { return (void)factor, (void)i, (chain){0}; }
INLINE chain product(chain sums, chain *ones) { /* another one each time, to the compiler */
    KEEP(*ones);
#ifndef DOT_BYTES
    sums += *ones * *ones;
#elif WEIGHT_BITS == 4
    sums = dot_nibbles(sums, *ones, *ones);
#else
    sums = dot_bytes(sums, *ones, *ones);
#endif
    KEEP(sums);
    return sums;
}
INLINE chain step(chain x, chain *ones) {
#if WEIGHT_BITS == 4 && SHORT_SUMS
    chain some = {0};
    UNROLLED (16, int t = 0; t < BLOCK_K / STEP; t++) some = product(some, ones);
    x += total_nibbles(some);
    KEEP(x);
    return x;
#else
    return product(x, ones);
#endif
}
#endif
#if !ARITHMETIC
static inline double all_of(chain x) {
    double all = 0;
    for (int l = 0; l < (int)LANES; l++) all += x[l];
    return all;
}
#endif

static void run_peak(const struct peak *call) {
    const int64_t iterations = call->iterations;
    double total = 0;
#pragma omp parallel num_threads(call->threads) reduction(+ : total)
    {
        chain acc[PEAK_CHAINS], opaque = (chain){0} + FACTOR;
        __asm__("" : "+m"(opaque)); /* not a constant to the compiler */
        chain factor = opaque;      /* in a register */
        UNROLLED (32, int i = 0; i < PEAK_CHAINS; i++) acc[i] = first(factor, i);
        for (int64_t p = 0; p < iterations; p++) {
            UNROLLED (32, int i = 0; i < PEAK_CHAINS; i++) acc[i] = step(acc[i], &factor);
        }
        UNROLLED (32, int i = 0; i < PEAK_CHAINS; i++) total += all_of(acc[i]);
    }
    *call->total = total;
}

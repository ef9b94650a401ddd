#include "per_isa/vector.h"

/* Dot products of integers: STEP neighbours along k of LANES rows of weights, times as many activations, which all rows
 * share, into 32-bit lanes, a row each. An ISA that has instructions for it says so in isa/, see there; here is the
 * rest.
 *
 *   load_bytes     STEP weights of 8 bits of each row, BYTE_BIAS more than they are, as dot_bytes() takes them
 *   dot_bytes      sums + weights x
 *   dot_nibbles    the same of weights of 0 to 15, a byte each, over 32 of k at most; total_nibbles() makes sums of it,
 *                  if they have 16 bits (SHORT_SUMS); where an ISA has no TOTAL_NIBBLES, they are sums already
 *   nearest        the nearest integers of v, to even where two are near: lrint() */
#ifdef DOT_BYTES
static inline ints load_bytes(const void *p) { return (ints)LOAD_BYTES(p); }
INLINE ints dot_bytes(ints sums, ints w, ints x) { return (ints)DOT_BYTES((raw)sums, (raw)w, (raw)x); }
INLINE ints dot_nibbles(ints sums, ints w, ints x) { return (ints)DOT_NIBBLES((raw)sums, (raw)w, (raw)x); }
#ifdef TOTAL_NIBBLES
#define SHORT_SUMS 1
INLINE ints total_nibbles(ints sums) { return (ints)TOTAL_NIBBLES((raw)sums); }
#else
#define SHORT_SUMS 0
INLINE ints total_nibbles(ints sums) { return sums; }
#endif
static inline ints nearest(vec v) { return (ints)NEAREST(v); }
#else
#define BYTE_STEP 4
#define BYTE_BIAS 0
#define SHORT_SUMS 0
static inline ints load_bytes(const void *p) { return load_ints(p); }
INLINE ints dot_bytes(ints sums, ints w, ints x) {
    UNROLLED (4, int e = 0; e < 4; e++) sums += ((w << (24 - 8 * e)) >> 24) * ((x << (24 - 8 * e)) >> 24);
    return sums;
}
INLINE ints dot_nibbles(ints sums, ints w, ints x) { return dot_bytes(sums, w, x); }
INLINE ints total_nibbles(ints sums) { return sums; }
static inline ints nearest(vec v) {
    const vec even = (vec){0} + (T)0x1.8p23; /* where an ulp is 1 */
    __asm__("" : "+m"(v)); /* not the product that it comes from: an FMA would round once where this rounds twice */
    return (ints)(v + even) - (ints)even;
}
#endif

/* f32: single precision, of weights, activations and sums. A type says
 *   T, stored            what activations and sums are, and how a weight is stored
 *   load_stored, value   LANES weights, or one, as T
 *   PLAIN, ARITHMETIC, STREAM, LINEAR, INTEGER, SPARSE
 *                        which loops it has: gemv's; products and pointwise ones in T; STREAM's; linear's of packed
 *                        weights, and those of activations rounded to 8 bits; those of weights without their zeros
 *   SCALED               with SPARSE: has each row a scale?
 * and with LINEAR how weights are packed, see per_isa/linear/order.h:
 *   WEIGHT_BITS          of one
 *   GROUP, SCALE_BYTES   neighbours along k with a scale, 0: all of a row; a scale's bytes, with its zero point's, or 0
 *   STEP                 neighbours along k that lie side by side
 *   BLOCK_K              k comes in whole blocks; of integers, those in which activations are rounded
 *   CHUNK, CHUNK_K       bytes that are widened together, and how many k they are: chunk j has those of K_OF(j, e)
 *   widened              LANES weights of one k as T */
typedef float T;
typedef float stored;
#define PLAIN 1
#define ARITHMETIC 1
#define STREAM 0
#define LINEAR 0
#define INTEGER 0
#define SPARSE 1
#define SCALED 0

#include "per_isa/vector.h"

static inline vec load_stored(const stored *p) { return load(p); }
static inline T value(const stored *p) { return *p; }

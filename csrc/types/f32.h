/* f32: single precision, of weights, activations and sums. A type says
 *   T, stored            what activations and sums are, and how a weight is stored
 *   load_stored, value   LANES weights, or one, as T
 *   ARITHMETIC, STREAM   which loops it has beside gemv's: products and pointwise ones in T; STREAM's */
typedef float T;
typedef float stored;
#define ARITHMETIC 1
#define STREAM 0

#include "per_isa/vector.h"

static inline vec load_stored(const stored *p) { return load(p); }
static inline T value(const stored *p) { return *p; }

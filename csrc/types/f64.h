/* f64: double precision, see f32.h; and STREAM's type. */
typedef double T;
typedef double stored;
#define ARITHMETIC 1
#define STREAM 1

#include "per_isa/vector.h"

static inline vec load_stored(const stored *p) { return load(p); }
static inline T value(const stored *p) { return *p; }

/* f64: double precision, see f32.h; and STREAM's type. */
typedef double T;
typedef double stored;
#define PLAIN 1
#define ARITHMETIC 1
#define STREAM 1
#define LINEAR 0
#define INTEGER 0

#include "per_isa/vector.h"

static inline vec load_stored(const stored *p) { return load(p); }
static inline T value(const stored *p) { return *p; }

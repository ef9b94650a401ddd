/* i8: integers of 8 bits, rows of which end with their f32 scale. */
typedef int8_t stored;
#define GROUP 0
#define SCALE_BYTES 4
#define SPARSE 1
#define SCALED 1
#include "types/bytes.h"

static inline int number(const stored *row, int64_t k, int64_t p) { return (void)k, row[p]; }
static inline void put_scale(const stored *row, int64_t k, int64_t group, uint8_t *scales, int r) {
    memcpy(scales + group * LANES * SCALE_BYTES + r * 4, row + k, 4);
}

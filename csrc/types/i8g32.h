/* i8g32: integers of 8 bits, 32 neighbours with an f16 scale. */
typedef struct {
    uint16_t scale;
    int8_t q[32];
} stored;
#define GROUP 32
#define SCALE_BYTES 2
#include "types/bytes.h"

static inline int number(const stored *row, int64_t k, int64_t p) { return (void)k, row[p / GROUP].q[p % GROUP]; }
static inline void put_scale(const stored *row, int64_t k, int64_t group, uint8_t *scales, int r) {
    (void)k, memcpy(scales + group * LANES * SCALE_BYTES + r * 2, &row[group].scale, 2);
}

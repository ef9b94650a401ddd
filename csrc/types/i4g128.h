/* i4g128: multiples from -8 to 7, 128 neighbours with an f16 scale. */
#define GROUP 128
#define ZEROS 0
#include "types/nibbles.h"

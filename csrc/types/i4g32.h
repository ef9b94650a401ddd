/* i4g32: multiples from -8 to 7, 32 neighbours with an f16 scale. */
#define GROUP 32
#define ZEROS 0
#include "types/nibbles.h"

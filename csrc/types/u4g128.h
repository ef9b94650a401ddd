/* u4g128: multiples from 0 to 15, less a zero point, 128 neighbours with both. */
#define GROUP 128
#define ZEROS 1
#include "types/nibbles.h"

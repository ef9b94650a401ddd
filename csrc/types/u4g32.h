/* u4g32: multiples from 0 to 15, less a zero point, 32 neighbours with both. */
#define GROUP 32
#define ZEROS 1
#include "types/nibbles.h"

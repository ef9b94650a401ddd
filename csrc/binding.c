#include <stdint.h>
#include "kernels.h"

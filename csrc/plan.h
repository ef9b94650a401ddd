/* What kernels, planner and host share: cutting work into pieces. Included first, for it includes kernels.h. */
#ifndef RIDGELINE_PLAN_H
#define RIDGELINE_PLAN_H

#include <stdint.h>
#include "kernels.h"

#define CACHE_LINE 64 /* bytes */
#define WIDEST 6      /* vectors of a low tile, each a stream of B: as many as a core's hardware prefetchers follow */

/* Before each parallel region: 0, or EDEADLK where it would wait for ever, or why so many threads can't be made. host.c
 */
int enter_team(int64_t threads);
double now_seconds(void); /* of the monotonic clock, as Python's perf_counter() has them */

static inline int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

/* Where thread t's share of n elements begins, in whole units; its end is share(t + 1). A unit of a cache line or more:
 * no false sharing. */
static inline int64_t share(int64_t n, int64_t unit, int64_t t, int64_t threads) {
    return min(divide_up(n, unit) * t / threads * unit, n);
}

/* The first row of a tile when `rows` rows are spread over tiles of nearly equal height. */
static inline int64_t tile_start(int64_t rows, int64_t tiles, int64_t tile) { return rows * tile / tiles; }

#endif

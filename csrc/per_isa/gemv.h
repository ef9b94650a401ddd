/* GEMV: every weight is read once and used for one multiply-add, so the only thing to get right is the reading. A thread's
 * part of W is contiguous, and it reads it as a few streams from as many equally long pieces: rows that follow each
 * other directly would make streams that end, and have to be found again by the prefetchers, after every row. */

enum {
    F(STREAMS) = 4, /* y = x W: y costs a load and a store for so many rows */
    /* y = W x, and vectors of each stream in turn. Fewer streams are read faster, but a long x that W drives out of L1
     * comes back more often. On Zen 4 three are best with AVX-512, four with AVX2. */
    F(DOTS) = VECTOR_BYTES == 64 ? 3 : 4,
    F(PIECE) = VECTOR_BYTES == 64 ? 4 : 2
};

/* `rows` dot products side by side: y[r * apart] = W[r * apart,k] x[k]. The chains of a row keep its adds from waiting for
 * one another. */
static inline __attribute__((always_inline)) void F(dots)(const int rows, int64_t apart, int64_t k, const T *w,
                                                          int64_t ldw, const T *x, T *y) {
    vec acc[F(STREAMS)][F(PIECE)];
    const int64_t next = apart * ldw;
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < F(PIECE); v++) acc[r][v] = (vec){0};
    int64_t p = 0;
    for (; p + F(PIECE) * LANES <= k; p += F(PIECE) * LANES)
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < F(PIECE); v++)
                acc[r][v] += F(load)(w + r * next + p + v * LANES) * F(load)(x + p + v * LANES);
    for (; p + LANES <= k; p += LANES)
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) acc[r][0] += F(load)(w + r * next + p) * F(load)(x + p);
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int v = 1; v < F(PIECE); v++) acc[r][0] += acc[r][v];
        T sum = F(sum)(acc[r][0]);
        for (int64_t q = p; q < k; q++) sum += w[r * next + q] * x[q];
        y[r * apart] = sum;
    }
}

static void F(gemv_rows)(int threads, int64_t n, int64_t k, const T *w, int64_t ldw, const T *x, T *y) {
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num(), team = omp_get_num_threads();
        int64_t end = share(n, CACHE_LINE / sizeof(T), t + 1, team), i = share(n, CACHE_LINE / sizeof(T), t, team);
        const int64_t each = (end - i) / F(DOTS), last = i + each;
        for (; i < last; i++) F(dots)(F(DOTS), each, k, w + i * ldw, ldw, x, y + i);
        for (i += (F(DOTS) - 1) * each; i < end; i++) F(dots)(1, 0, k, w + i * ldw, ldw, x, y + i);
    }
}

/* y[n] (+)= x[r * apart] W[r * apart,n], summed over `rows` rows, 1 or STREAMS: y costs a load and a store for each. */
static inline __attribute__((always_inline)) void F(add_rows)(const int rows, int64_t apart, int64_t n, const T *x,
                                                              const T *w, int64_t ldw, T *y, int accumulate) {
    const int64_t next = apart * ldw;
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        vec sum = accumulate ? F(load)(y + j) : (vec){0};
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) sum += x[r * apart] * F(load)(w + r * next + j);
        F(store)(y + j, sum);
    }
    for (; j < n; j++) {
        T sum = accumulate ? y[j] : 0;
        for (int r = 0; r < rows; r++) sum += x[r * apart] * w[r * next + j];
        y[j] = sum;
    }
}

/* y[n] = x[k] W[k,n]: threads take consecutive rows of W, each a contiguous piece of it, sum them into a y of their
 * own (a cache line apart in the workspace), and then add those up, each thread a share of the columns. */
static void F(gemv_columns)(int threads, int64_t n, int64_t k, const T *x, const T *w, int64_t ldw, T *y,
                            void *workspace) {
    int64_t stride = round_up(n, CACHE_LINE / sizeof(T));
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num(), team = omp_get_num_threads();
        const int64_t first = k * t / team, end = k * (t + 1) / team, each = (end - first) / F(STREAMS);
        T *mine = team == 1 ? y : (T *)workspace + t * stride;
        for (int64_t p = first; p < first + each; p++)
            F(add_rows)(F(STREAMS), each, n, x + p, w + p * ldw, ldw, mine, p > first);
        for (int64_t p = first + each * F(STREAMS); p < end; p++)
            F(add_rows)(1, 0, n, x + p, w + p * ldw, ldw, mine, p > first);
        if (team > 1) {
#pragma omp barrier
            int64_t last = share(n, CACHE_LINE / sizeof(T), t + 1, team);
            for (int64_t j = share(n, CACHE_LINE / sizeof(T), t, team); j < last; j++) {
                T sum = 0;
                for (int s = 0; s < team; s++)
                    if (k * s / team < k * (s + 1) / team) /* with k < team some had no row */
                        sum += ((T *)workspace)[s * stride + j];
                y[j] = sum;
            }
        }
    }
}

/* GEMV: every weight is read once and used for one multiply-add, so the only thing to get right is the reading. */

enum { F(DOTS) = 4 }; /* gemv: rows of W at a time; the accumulators and x then take 10 registers */
enum { F(ROWS) = 8 }; /* gemv_t: rows of W per pass over y, so that y costs an eighth of a load and store per weight */

/* y[rows] = W[rows,k] x[k]: `rows` dot products side by side, 1 or DOTS of them, so that as many streams of W are on
 * their way; two chains for each keep the adds of a short row from waiting for one another. */
static inline __attribute__((always_inline)) void F(dots)(const int rows, int64_t k, const T *w, int64_t ldw,
                                                          const T *x, T *y) {
    vec acc[F(DOTS)][2];
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = (vec){0};
    int64_t p = 0;
    for (; p + 2 * LANES <= k; p += 2 * LANES) {
        vec x0 = F(load)(x + p), x1 = F(load)(x + p + LANES);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            acc[r][0] += F(load)(w + r * ldw + p) * x0;
            acc[r][1] += F(load)(w + r * ldw + p + LANES) * x1;
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        T sum = F(sum)(acc[r][0] + acc[r][1]);
        for (int64_t q = p; q < k; q++) sum += w[r * ldw + q] * x[q];
        y[r] = sum;
    }
}

/* Threads take consecutive rows: each reads one contiguous piece of W. */
static void F(gemv_rows)(int threads, int64_t n, int64_t k, const T *w, int64_t ldw, const T *x, T *y) {
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num(), team = omp_get_num_threads();
        int64_t end = share(n, CACHE_LINE / sizeof(T), t + 1, team), i = share(n, CACHE_LINE / sizeof(T), t, team);
        for (; i + F(DOTS) <= end; i += F(DOTS)) F(dots)(F(DOTS), k, w + i * ldw, ldw, x, y + i);
        for (; i < end; i++) F(dots)(1, k, w + i * ldw, ldw, x, y + i);
    }
}

/* y[n] (+)= x[rows] W[rows,n], for 1 .. ROWS rows. */
static inline __attribute__((always_inline)) void F(add_rows)(const int rows, int64_t n, const T *x, const T *w,
                                                              int64_t ldw, T *y, int accumulate) {
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        vec sum = accumulate ? F(load)(y + j) : (vec){0};
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) sum += x[r] * F(load)(w + r * ldw + j);
        F(store)(y + j, sum);
    }
    for (; j < n; j++) {
        T sum = accumulate ? y[j] : 0;
        for (int r = 0; r < rows; r++) sum += x[r] * w[r * ldw + j];
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
        int64_t first = k * t / team, end = k * (t + 1) / team, p = first;
        T *mine = team == 1 ? y : (T *)workspace + t * stride;
        for (; p + F(ROWS) <= end; p += F(ROWS)) F(add_rows)(F(ROWS), n, x + p, w + p * ldw, ldw, mine, p > first);
        for (; p < end; p++) F(add_rows)(1, n, x + p, w + p * ldw, ldw, mine, p > first);
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

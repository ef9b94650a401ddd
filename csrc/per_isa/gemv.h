/* GEMV: every weight is read once, for one multiply-add, so speed is that of reading. A thread's part of W is
 * contiguous, and it reads it as a few streams from as many equally long pieces: rows that follow each other directly
 * would be streams that end after every row, and that the hardware prefetchers have to detect again. */
#define STREAMS 4 /* y = x W: y costs a load and a store for so many rows */

/* `rows` dot products side by side: y[r * apart] = W[r * apart,k] x[k]. DOT_VECTORS independent chains of adds per row
 * hide the latency of an FMA. */
INLINE void dots(const int rows, int64_t apart, int64_t k, const stored *w, int64_t ldw, const T *x, T *y) {
    vec acc[STREAMS][DOT_VECTORS];
    const int64_t next = apart * ldw;
    UNROLLED (4, int r = 0; r < rows; r++)
        UNROLLED (4, int v = 0; v < DOT_VECTORS; v++) acc[r][v] = (vec){0};
    int64_t p = 0;
    for (; p + DOT_VECTORS * LANES <= k; p += DOT_VECTORS * LANES)
        UNROLLED (4, int r = 0; r < rows; r++)
            UNROLLED (4, int v = 0; v < DOT_VECTORS; v++)
                acc[r][v] += load_stored(w + r * next + p + v * LANES) * load(x + p + v * LANES);
    for (; p + LANES <= k; p += LANES)
        UNROLLED (4, int r = 0; r < rows; r++) acc[r][0] += load_stored(w + r * next + p) * load(x + p);
    UNROLLED (4, int r = 0; r < rows; r++) {
        UNROLLED (4, int v = 1; v < DOT_VECTORS; v++) acc[r][0] += acc[r][v];
        T total = sum(acc[r][0]);
        for (int64_t q = p; q < k; q++) total += value(w + r * next + q) * x[q];
        y[r * apart] = total;
    }
}

static void run_gemv(const struct gemv *call) {
    const int64_t n = call->n, k = call->k, ldw = call->ldw;
    const stored *w = call->w;
    const T *x = call->x;
    T *y = call->y;
#pragma omp parallel num_threads(call->threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        const int64_t end = share(n, LINE, t + 1, team);
        int64_t i = share(n, LINE, t, team);
        const int64_t each = (end - i) / DOT_STREAMS, last = i + each;
        for (; i < last; i++) dots(DOT_STREAMS, each, k, w + i * ldw, ldw, x, y + i);
        for (i += (DOT_STREAMS - 1) * each; i < end; i++) dots(1, 0, k, w + i * ldw, ldw, x, y + i);
    }
}

/* y[n] (+)= x[r * apart] W[r * apart,n], summed over `rows` rows, 1 or STREAMS: y costs a load and a store for each. */
INLINE void add_rows(const int rows, int64_t apart, int64_t n, const T *x, const stored *w, int64_t ldw, T *y,
                     int accumulate) {
    const int64_t next = apart * ldw;
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        vec total = accumulate ? load(y + j) : (vec){0};
        UNROLLED (8, int r = 0; r < rows; r++) total += x[r * apart] * load_stored(w + r * next + j);
        store(y + j, total);
    }
    for (; j < n; j++) {
        T total = accumulate ? y[j] : 0;
        for (int r = 0; r < rows; r++) total += x[r * apart] * value(w + r * next + j);
        y[j] = total;
    }
}

/* y[n] = x[k] W[k,n]: threads take consecutive rows of W, each a contiguous piece of it, sum them into a y of their own
 * (a cache line apart in the workspace), and then add those up, each thread a share of the columns. */
static void run_gemv_t(const struct gemv *call) {
    const int64_t n = call->n, k = call->k, ldw = call->ldw, apart = plan_gemv_t(&target, n);
    const stored *w = call->w;
    const T *x = call->x;
    T *y = call->y, *workspace = call->workspace;
#pragma omp parallel num_threads(call->threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        const int64_t first = k * t / team, end = k * (t + 1) / team, each = (end - first) / STREAMS;
        T *mine = team == 1 ? y : workspace + t * apart;
        for (int64_t p = first; p < first + each; p++)
            add_rows(STREAMS, each, n, x + p, w + p * ldw, ldw, mine, p > first);
        for (int64_t p = first + each * STREAMS; p < end; p++)
            add_rows(1, 0, n, x + p, w + p * ldw, ldw, mine, p > first);
        if (team > 1) {
#pragma omp barrier
            const int64_t begin = share(n, LINE, t, team), last = share(n, LINE, t + 1, team);
            memset(y + begin, 0, (last - begin) * sizeof(T));
            for (int s = 0; s < team; s++) {
                if (k * s / team == k * (s + 1) / team) continue; /* with k < team some had no row */
                for (int64_t j = begin; j < last; j++) y[j] += workspace[s * apart + j];
            }
        }
    }
}

static int64_t gemv_t_workspace(const struct gemv *call) {
    return call->threads * plan_gemv_t(&target, call->n) * (int64_t)sizeof(T);
}

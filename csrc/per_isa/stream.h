/* The bandwidth kernels: each is its formula. Doubles, as in STREAM. The loops are written with vectors because a
 * compiler may turn c = a into a call of memcpy, which is another kernel. */
#define PAGE (4096 / (int64_t)sizeof(T))

/* `passes` passes of each thread over its contiguous share of the elements; returns the last one's sum, of all threads.
 */
static double stream(const struct stream *call, double (*pass)(const struct stream *, int64_t begin, int64_t end)) {
    double *sums = call->workspace, total = 0;
    int threads = 0;
#pragma omp parallel num_threads(call->threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        const int64_t begin = share(call->n, LINE, t, team), end = share(call->n, LINE, t + 1, team);
        double mine = 0;
        for (int64_t i = 0; i < call->passes; i++) {
            mine = pass(call, begin, end);
            __asm__ volatile("" ::: "memory"); /* each pass really reads and writes */
        }
#if NONTEMPORAL
        STORE_FENCE(); /* the last lines have left the write-combining buffers */
#endif
        if (sums) sums[t * LINE] = mine; /* a line each: no false sharing */
        if (t == 0) threads = team;      /* OpenMP may start fewer threads than it is asked for */
    }
    for (int t = 0; sums && t < threads; t++) total += sums[t * LINE];
    return total;
}

/* A whole number of cache lines by vectors, one line per iteration, the rest one by one. */
#define STREAM_KERNEL(name, store, to, vectors, scalars)                                                               \
    static double pass_##name(const struct stream *call, int64_t begin, int64_t end) {                                 \
        T *const a = call->a, *const b = call->b, *const c = call->c;                                                  \
        const T s = call->scalar;                                                                                      \
        (void)a, (void)b, (void)c, (void)s;                                                                            \
        int64_t i = begin;                                                                                             \
        for (; i + LINE <= end; i += LINE)                                                                             \
            UNROLLED (8, int64_t v = i; v < i + LINE; v += LANES) store(to + v, vectors);                              \
        for (; i < end; i++) to[i] = scalars;                                                                          \
        return 0;                                                                                                      \
    }                                                                                                                  \
    static void run_##name(const struct stream *call) { stream(call, pass_##name); }

STREAM_KERNEL(copy, store, c, load(a + v), a[i])
STREAM_KERNEL(scale, store, b, load(c + v) * s, c[i] * s)
STREAM_KERNEL(add, store, c, load(a + v) + load(b + v), a[i] + b[i])
STREAM_KERNEL(triad, store, a, load(b + v) + load(c + v) * s, b[i] + c[i] * s)
STREAM_KERNEL(update, store, a, load(a + v) * s, a[i] * s)
#if NONTEMPORAL
STREAM_KERNEL(copy_nt, STORE_NONTEMPORAL, c, load(a + v), a[i])
STREAM_KERNEL(scale_nt, STORE_NONTEMPORAL, b, load(c + v) * s, c[i] * s)
STREAM_KERNEL(add_nt, STORE_NONTEMPORAL, c, load(a + v) + load(b + v), a[i] + b[i])
STREAM_KERNEL(triad_nt, STORE_NONTEMPORAL, a, load(b + v) + load(c + v) * s, b[i] + c[i] * s)
#endif

/* Sums x[begin, end) as S interleaved streams, a whole line or more of each in turn, in 8 chains together. */
INLINE double sum_of_streams(const int S, const T *x, int64_t begin, int64_t end) {
    const int vectors = max(S * LINE / LANES, 8); /* per step */
    const int64_t step = vectors / S * LANES;
    int64_t each = (end - begin) / S;
    if (S > 1 && each >= 64 * PAGE) /* an odd number of pages apart, or the streams share cache sets and banks */
        each = ((each / PAGE - 2) | 1) * PAGE + PAGE / 4;
    each = each / step * step;
    vec acc[8] = {{0}};
    for (int64_t i = begin; i < begin + each; i += step)
        UNROLLED (32, int v = 0; v < vectors; v++) acc[v % 8] += load(x + i + v % S * each + v / S * LANES);
    UNROLLED (4, int half = 4; half; half /= 2)
        UNROLLED (4, int v = 0; v < half; v++) acc[v] += acc[v + half];
    double total = sum(acc[0]);
    for (int64_t i = begin + S * each; i < end; i++) total += x[i];
    return total;
}

#define READ_KERNEL(name, streams)                                                                                     \
    static double pass_##name(const struct stream *call, int64_t begin, int64_t end) {                                 \
        return sum_of_streams(streams, call->a, begin, end);                                                           \
    }                                                                                                                  \
    static void run_##name(const struct stream *call) { *(T *)call->s = stream(call, pass_##name); }

READ_KERNEL(read, 1)
READ_KERNEL(read_2, 2)
READ_KERNEL(read_4, 4)
READ_KERNEL(read_8, 8)

static int64_t read_workspace(const struct stream *call) { return call->threads * CACHE_LINE; }

/* The bandwidth kernels: each is its formula and a row in stream_pass(). Doubles, as in STREAM. The loops are written
 * with vectors because a compiler may turn c = a into a call of memcpy, which is another kernel. */
#define WIDTH ((int64_t)(VECTOR_BYTES / sizeof(double)))
#define PAGE (4096 / (int64_t)sizeof(double))
#define UNIT (CACHE_LINE / (int64_t)sizeof(double))

#if defined __AVX512F__
#define NONTEMPORAL 1
static inline void store_nt(double *p, vec_f64 v) { _mm512_stream_pd(p, (__m512d)v); }
#elif defined __AVX__
#define NONTEMPORAL 1
static inline void store_nt(double *p, vec_f64 v) { _mm256_stream_pd(p, (__m256d)v); }
#elif defined __SSE2__
#define NONTEMPORAL 1
static inline void store_nt(double *p, vec_f64 v) { _mm_stream_pd(p, (__m128d)v); }
#else
#define NONTEMPORAL 0 /* Arm's STNP is a hint that current cores don't follow; said by name, not imitated */
#define store_nt store_f64
#endif

/* A whole number of cache lines by vectors, one line per iteration, the rest of n one by one. */
#define STREAM_LOOP(store, to, vector_expression, scalar_expression)                  \
    do {                                                                              \
        int64_t i = begin;                                                            \
        for (; i + UNIT <= end; i += UNIT)                                            \
            _Pragma("GCC unroll 8") for (int64_t v = i; v < i + UNIT; v += WIDTH)     \
                store(to + v, vector_expression);                                     \
        for (; i < end; i++) to[i] = scalar_expression;                               \
    } while (0)

#define STREAM_STORES(nt, to, vector_expression, scalar_expression)                   \
    do {                                                                              \
        if (nt) STREAM_LOOP(store_nt, to, vector_expression, scalar_expression);      \
        else STREAM_LOOP(store_f64, to, vector_expression, scalar_expression);        \
    } while (0)

/* Sums x[begin, end) as S interleaved streams, a whole line or more of each in turn, in 8 chains together. */
static inline __attribute__((always_inline)) double read_sum(const int S, int64_t begin, int64_t end,
                                                             const double *x) {
    const int vectors = S * UNIT / WIDTH > 8 ? S * UNIT / WIDTH : 8; /* per step */
    const int64_t step = vectors / S * WIDTH;
    int64_t each = (end - begin) / S;
    if (S > 1 && each >= 64 * PAGE) /* large arrays: an odd number of pages apart, or the streams meet in sets and banks */
        each = ((each / PAGE - 2) | 1) * PAGE + PAGE / 4;
    each = each / step * step;
    vec_f64 acc[8] = {{0}};
    for (int64_t i = begin; i < begin + each; i += step)
#pragma GCC unroll 32
        for (int v = 0; v < vectors; v++) acc[v % 8] += load_f64(x + i + v % S * each + v / S * WIDTH);
#pragma GCC unroll 4
    for (int half = 4; half; half /= 2)
#pragma GCC unroll 4
        for (int v = 0; v < half; v++) acc[v] += acc[v + half];
    double sum = sum_f64(acc[0]);
    for (int64_t i = begin + S * each; i < end; i++) sum += x[i];
    return sum;
}

static double stream_pass(enum stream_op op, enum stream_flavour flavour, int64_t begin, int64_t end, double s,
                          double *a, double *b, double *c) {
    const int nt = flavour == STREAM_NONTEMPORAL;
    switch (op) {
    case STREAM_COPY:   STREAM_STORES(nt, c, load_f64(a + v), a[i]); break;
    case STREAM_SCALE:  STREAM_STORES(nt, b, s * load_f64(c + v), s * c[i]); break;
    case STREAM_ADD:    STREAM_STORES(nt, c, load_f64(a + v) + load_f64(b + v), a[i] + b[i]); break;
    case STREAM_TRIAD:  STREAM_STORES(nt, a, load_f64(b + v) + s * load_f64(c + v), b[i] + s * c[i]); break;
    case STREAM_UPDATE: STREAM_STORES(0, a, s * load_f64(a + v), s * a[i]); break;
    case STREAM_READ:
        switch (flavour) {
        case STREAM_READ_2: return read_sum(2, begin, end, a);
        case STREAM_READ_4: return read_sum(4, begin, end, a);
        case STREAM_READ_8: return read_sum(8, begin, end, a);
        default:            return read_sum(1, begin, end, a);
        }
    }
    return 0;
}

static void stream_passes(int threads, enum stream_op op, enum stream_flavour flavour, int64_t passes, int64_t n,
                          double scalar, double *a, double *b, double *c, double *sums) {
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num(), team = omp_get_num_threads();
        int64_t begin = share(n, UNIT, t, team), end = share(n, UNIT, t + 1, team);
        double sum = 0;
        for (int64_t pass = 0; pass < passes; pass++) {
            sum = stream_pass(op, flavour, begin, end, scalar, a, b, c);
            __asm__ volatile("" ::: "memory"); /* each pass really reads and writes */
        }
#if defined __x86_64__
        if (flavour == STREAM_NONTEMPORAL) _mm_sfence(); /* the last lines have left the write-combining buffers */
#endif
        if (sums) sums[t * UNIT] = sum; /* a line each: no false sharing */
        for (int none = team; sums && t == 0 && none < threads; none++) sums[none * UNIT] = 0; /* a smaller team */
    }
}

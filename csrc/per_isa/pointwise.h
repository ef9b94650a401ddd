/* What stands between a Transformer's products: softmax, LayerNorm, GELU, biases and residuals. Few FLOPs per element, so
 * the work is to pass over a row as seldom as possible, and while it is in L1. Threads take whole rows; of small operands
 * one thread takes all, for waking the others would cost more. The last elements of a row are computed as a vector
 * whose other lanes hold something harmless. */
#define whole __typeof__((vec){0} == (vec){0}) /* integers as wide as T: comparisons, masks, bits */
#define CHOOSE(mask, yes, no) ((vec)(((mask) & (whole)(yes)) | (~(mask) & (whole)(no))))
#define SINGLE (sizeof(T) == 4)
#define ALONE 4096 /* elements that aren't worth a second thread */
/* The statement for every row i. One thread enters no parallel region, which would take as long as a short row. */
#define EACH_ROW(elements, rows, i, ...)                                                                               \
    const int team = (elements) <= ALONE ? 1 : threads;                                                                \
    if (team == 1)                                                                                                     \
        for (int64_t i = 0; i < (rows); i++) __VA_ARGS__                                                               \
    else                                                                                                               \
        _Pragma("omp parallel for num_threads(team) schedule(static)") for (int64_t i = 0; i < (rows); i++) __VA_ARGS__

static inline whole F(below)(int64_t count) { /* true in the first `count` lanes */
    whole lane;
#pragma GCC unroll 16
    for (int l = 0; l < (int)LANES; l++) lane[l] = l;
    return lane < (int)count;
}
static inline vec F(only)(vec v, int64_t count) { /* the first `count` lanes, the others 0 */
    return (vec)((whole)v & F(below)(count));
}

/* The first `count` < LANES elements at p, the other lanes `rest`; and back, the other lanes dropped. What is behind them
 * may be no memory, so masked instructions by name: GCC 12 makes a masked store of eight doubles, left to it, of
 * vextractf64x4, which does not suppress the faults of its masked lanes. */
#if defined ISA_avx512
#define MASK ((__mmask16)((1u << count) - 1))
static inline vec F(load_some)(const T *p, int64_t count, T rest) {
    const vec others = (vec){0} + rest;
    return SINGLE ? (vec)_mm512_mask_loadu_ps((__m512)others, MASK, p)
                  : (vec)_mm512_mask_loadu_pd((__m512d)others, (__mmask8)MASK, p);
}
static inline void F(store_some)(T *p, vec v, int64_t count) {
    if (SINGLE)
        _mm512_mask_storeu_ps(p, MASK, (__m512)v);
    else
        _mm512_mask_storeu_pd(p, (__mmask8)MASK, (__m512d)v);
}
#undef MASK
#elif defined ISA_avx2
static inline vec F(load_some)(const T *p, int64_t count, T rest) {
    const whole mask = F(below)(count);
    const vec some = SINGLE ? (vec)_mm256_maskload_ps((const float *)p, (__m256i)mask)
                            : (vec)_mm256_maskload_pd((const double *)p, (__m256i)mask);
    return CHOOSE(mask, some, (vec){0} + rest);
}
static inline void F(store_some)(T *p, vec v, int64_t count) {
    if (SINGLE)
        _mm256_maskstore_ps((float *)p, (__m256i)F(below)(count), (__m256)v);
    else
        _mm256_maskstore_pd((double *)p, (__m256i)F(below)(count), (__m256d)v);
}
#else /* no masked instructions: element by element */
static inline vec F(load_some)(const T *p, int64_t count, T rest) {
    alignas(VECTOR_BYTES) T lane[LANES];
    for (int l = 0; l < (int)LANES; l++) lane[l] = l < (int)count ? p[l] : rest;
    return F(load)(lane);
}
static inline void F(store_some)(T *p, vec v, int64_t count) {
    alignas(VECTOR_BYTES) T lane[LANES];
    F(store)(lane, v);
    for (int l = 0; l < (int)LANES; l++)
        if (l < (int)count) p[l] = lane[l];
}
#endif
static inline __attribute__((always_inline)) vec F(take)(const T *p, int64_t left, T rest) {
    return left >= LANES ? F(load)(p) : F(load_some)(p, left, rest);
}
static inline __attribute__((always_inline)) void F(put)(T *p, vec v, int64_t left) {
    if (left >= LANES)
        F(store)(p, v);
    else
        F(store_some)(p, v, left);
}

/* The larger of two, lane by lane; b where a is NaN. And the largest lane. */
static inline vec F(larger)(vec a, vec b) { return CHOOSE(a > b, a, b); }
static inline T F(largest)(vec v) {
    if (LANES > 8) v = F(larger)(v, TURNED(v, 8));
    if (LANES > 4) v = F(larger)(v, TURNED(v, 4));
    if (LANES > 2) v = F(larger)(v, TURNED(v, 2));
    return F(larger)(v, TURNED(v, 1))[0];
}

static inline __attribute__((always_inline)) vec F(polynomial)(const double *coefficients, const int terms, vec x) {
    vec sum = (vec){0} + (T)coefficients[terms - 1];
#pragma GCC unroll 32
    for (int p = terms - 2; p >= 0; p--) sum = sum * x + (T)coefficients[p];
    return sum;
}

/* exp(x) for x <= 0, or above it by no more than rounding; what would be below the smallest normal number is 0. x = n
 * ln 2 + r; adding 1.5 times the last power of two whose ulp is 1 rounds x / ln 2 to n and leaves n in the low bits, from
 * where it is shifted into the exponent of 1. ln 2 comes in two parts, the first with so few bits that n times it is
 * exact. */
static inline __attribute__((always_inline)) vec F(exp)(vec x) {
    const T round = SINGLE ? 0x1.8p23 : 0x1.8p52, lowest = SINGLE ? -87.33654 : -708.3964;
    const T high = SINGLE ? 0x1.62ep-1 : 0x1.62e42fep-1;
    const T low = SINGLE ? 0x1.0bfbe8e7bcd5ep-15 : 0x1.f473de6af278fp-30;
    const vec shifted = x * (T)1.4426950408889634 + round, n = shifted - round;
    const vec r = (x - n * high) - n * low;
    const vec one = (vec){0} + 1;
    const vec power = (vec)((whole)one + ((whole)shifted << (SINGLE ? 23 : 52))); /* round's own bits leave at the top */
    const vec y = F(polynomial)(EXP, EXP_TERMS(SINGLE), r) * power; /* a NaN stays one, whatever its bits made of n */
    return (vec)((whole)y & ~(x < lowest));
}

/* --- softmax, in place: s[batch,m,n] = exp(scale s - max) / sum, row by row. causal: row i attends to the first
 * i + 1 + n - m columns, and the others become 0; so does a row without any. */
static void F(softmax_row)(int64_t seen, int64_t n, T scale, T *s) {
    /* The exponent is (x - top) |scale|, with x turned round where scale is negative: exactly 0 at the top and nowhere
     * above it. scale x - top could be far above, by the rounding of a product of any size. */
    const T turn = scale < 0 ? -1 : 1, size = turn * scale;
    vec most = (vec){0} - (T)__builtin_inff(), sums = {0};
    int64_t i = 0;
    for (; i + 4 * LANES <= seen; i += 4 * LANES) { /* in pairs, lest every vector wait for the one before */
        vec x[4];
#pragma GCC unroll 4
        for (int q = 0; q < 4; q++) x[q] = turn * F(load)(s + i + q * LANES);
        most = F(larger)(F(larger)(F(larger)(x[0], x[1]), F(larger)(x[2], x[3])), most);
    }
    for (; i < seen; i += LANES) most = F(larger)(turn * F(take)(s + i, seen - i, s[0]), most);
    const T top = F(largest)(most);
    for (int64_t j = 0; j < seen; j += LANES) {
        const vec e = F(exp)((turn * F(take)(s + j, seen - j, s[0]) - top) * size);
        F(put)(s + j, e, seen - j);
        sums += seen - j >= LANES ? e : F(only)(e, seen - j);
    }
    const T inverse = 1 / F(sum)(sums);
    for (int64_t j = 0; j < seen; j += LANES) F(put)(s + j, inverse * F(take)(s + j, seen - j, 0), seen - j);
    if (seen < n) memset(s + seen, 0, (n - seen) * sizeof(T));
}

static void F(softmax_rows)(int threads, int causal, int64_t batch, int64_t m, int64_t n, T *s, int64_t ld,
                            int64_t stride, const T *scale) {
    EACH_ROW(batch * m * n, batch * m, i, {
        const int64_t row = i % m, limit = row + 1 + n - m, some = limit < 0 ? 0 : limit < n ? limit : n;
        F(softmax_row)(causal ? some : n, n, *scale, s + i / m * stride + row * ld);
    })
}

/* --- y = LayerNorm(x + r + bias) gain + shift; without r there is no bias either. Two passes for mean and variance, as
 * their definition has it: E[x^2] - E[x]^2 would cancel. */
static void F(norm_row)(int64_t n, const T *x, const T *r, const T *bias, const T *gain, const T *shift, T eps, T *y) {
    vec sums = {0}, squares = {0};
    for (int64_t j = 0; j < n; j += LANES) {
        vec v = F(take)(x + j, n - j, 0);
        if (r) v = v + F(take)(r + j, n - j, 0) + F(take)(bias + j, n - j, 0);
        F(put)(y + j, v, n - j);
        sums += v;
    }
    const T mean = F(sum)(sums) / n;
    for (int64_t j = 0; j < n; j += LANES) {
        const vec d = F(take)(y + j, n - j, mean) - mean;
        squares += d * d;
    }
    const T variance = F(sum)(squares) / n + eps;
    const T inverse = 1 / (SINGLE ? (T)__builtin_sqrtf(variance) : (T)__builtin_sqrt(variance));
    for (int64_t j = 0; j < n; j += LANES) {
        const vec d = (F(take)(y + j, n - j, 0) - mean) * inverse;
        F(put)(y + j, d * F(take)(gain + j, n - j, 0) + F(take)(shift + j, n - j, 0), n - j);
    }
}

static void F(norm_rows)(int threads, int64_t m, int64_t n, const T *x, int64_t ldx, const T *r, int64_t ldr,
                         const T *bias, const T *gain, const T *shift, const T *eps, T *y, int64_t ldy) {
    EACH_ROW(m * n, m, i, F(norm_row)(n, x + i * ldx, r ? r + i * ldr : NULL, bias, gain, shift, *eps, y + i * ldy);)
}

/* --- x = GELU(x + bias), in place. GELU(v) = v P(v), P the normal distribution or, tanh_form, what resembles it: 1/2 (1
 * + tanh u) = 1 / (1 + exp(-2 u)). Both are 1 - Q(|v|) right and Q(|v|) left of 0, so GELU(v) = max(v, 0) - |v| Q(|v|), in
 * which nothing cancels; from 40 on Q is 0. */
static inline __attribute__((always_inline)) vec F(activated)(const int tanh_form, vec v) {
    const T far = 40;
    const vec size = (vec)((whole)v & ~(whole)-(vec){0}), a = CHOOSE(size < far, size, (vec){0} + far);
    const vec most = CHOOSE(v < 0, (vec){0}, v); /* a NaN stays one */
    if (tanh_form) {
        const T two_root = 1.5957691216057308; /* 2 sqrt(2 / pi) */
        const vec e = F(exp)(-two_root * (a + (T)0.044715 * (a * a * a)));
        return most - a * (e / (1 + e));
    }
    const vec t = (a - 4) / (a + 4), e = F(exp)((T)-0.5 * (a * a));
    return most - a * e *
                      (SINGLE ? F(polynomial)(TAIL_SHORT, TERMS(TAIL_SHORT), t)
                              : F(polynomial)(TAIL_LONG, TERMS(TAIL_LONG), t));
}

static inline __attribute__((always_inline)) void F(gelu_row)(const int tanh_form, int64_t n, T *x, const T *bias) {
    for (int64_t j = 0; j < n; j += LANES)
        F(put)(x + j, F(activated)(tanh_form, F(take)(x + j, n - j, 0) + F(take)(bias + j, n - j, 0)), n - j);
}

static void F(gelu_rows)(int threads, int tanh_form, int64_t m, int64_t n, T *x, int64_t ldx, const T *bias) {
    EACH_ROW(m * n, m, i, {
        if (tanh_form)
            F(gelu_row)(1, n, x + i * ldx, bias);
        else
            F(gelu_row)(0, n, x + i * ldx, bias);
    })
}

/* --- x += r + bias, in place; r may be missing. */
static void F(add_to_row)(int64_t n, T *x, const T *r, const T *bias) {
    for (int64_t j = 0; j < n; j += LANES) {
        vec v = F(take)(x + j, n - j, 0);
        if (r) v += F(take)(r + j, n - j, 0);
        F(put)(x + j, v + F(take)(bias + j, n - j, 0), n - j);
    }
}

static void F(add_to_rows)(int threads, int64_t m, int64_t n, T *x, int64_t ldx, const T *r, int64_t ldr,
                           const T *bias) {
    EACH_ROW(m * n, m, i, F(add_to_row)(n, x + i * ldx, r ? r + i * ldr : NULL, bias);)
}

#undef whole
#undef CHOOSE
#undef SINGLE
#undef ALONE
#undef EACH_ROW

/* What is between a Transformer's products: softmax, LayerNorm, GELU, biases and residuals. Few FLOPs per element, so
 * speed is that of passing over a row as seldom as possible, and while it is in L1. Threads take whole rows; of small
 * operands one thread takes all, since waking the others takes longer. The last elements of a row are computed as a
 * vector whose other lanes hold something harmless. */
#define SINGLE (sizeof(T) == 4)
#define ALONE 4096 /* elements that aren't worth a second thread */
/* The statement for every row i. One thread enters no parallel region, which would take as long as a short row. */
#define EACH_ROW(elements, rows, i, ...)                                                                               \
    const int team = (elements) <= ALONE ? 1 : call->threads;                                                          \
    if (team == 1)                                                                                                     \
        for (int64_t i = 0; i < (rows); i++) __VA_ARGS__                                                               \
    else _Pragma("omp parallel for num_threads(team) schedule(static)") for (int64_t i = 0; i < (rows); i++) __VA_ARGS__

static inline vec only(vec v, int64_t count) { /* the first `count` lanes, the others 0 */
    return (vec)((mask)v & below(count));
}
INLINE vec take(const T *p, int64_t left, T rest) { return left >= LANES ? load(p) : load_some(p, left, rest); }
INLINE void put(T *p, vec v, int64_t left) {
    if (left >= LANES) store(p, v);
    else store_some(p, v, left);
}

/* The larger of two, lane by lane; b where a is NaN. And the largest lane. */
static inline vec larger(vec a, vec b) { return CHOOSE(a > b, a, b); }
static inline T largest(vec v) {
    if (LANES > 8) v = larger(v, TURNED(v, 8));
    if (LANES > 4) v = larger(v, TURNED(v, 4));
    if (LANES > 2) v = larger(v, TURNED(v, 2));
    return larger(v, TURNED(v, 1))[0];
}

INLINE vec polynomial(const double *coefficients, const int terms, vec x) {
    vec sum = (vec){0} + (T)coefficients[terms - 1];
    UNROLLED (32, int p = terms - 2; p >= 0; p--) sum = sum * x + (T)coefficients[p];
    return sum;
}

/* exp(x) for x <= 0, or above it by no more than rounding; what would be below the smallest normal number is 0. x = n
 * ln 2 + r; adding 1.5 times the last power of two whose ulp is 1 rounds x / ln 2 to n and leaves n in the low bits,
 * from where it is shifted into the exponent of 1. ln 2 comes in two parts, the first with so few bits that n times it
 * is exact. */
INLINE vec exp_of(vec x) {
    const T round = SINGLE ? 0x1.8p23 : 0x1.8p52, lowest = SINGLE ? -87.33654 : -708.3964;
    const T high = SINGLE ? 0x1.62ep-1 : 0x1.62e42fep-1;
    const T low = SINGLE ? 0x1.0bfbe8e7bcd5ep-15 : 0x1.f473de6af278fp-30;
    const vec shifted = x * (T)1.4426950408889634 + round, n = shifted - round;
    const vec r = (x - n * high) - n * low;
    const vec one = (vec){0} + 1;
    const vec power = (vec)((mask)one + ((mask)shifted << (SINGLE ? 23 : 52))); /* round's own bits leave at the top */
    const vec y = polynomial(EXP, EXP_TERMS(SINGLE), r) * power; /* a NaN stays one, whatever its bits made of n */
    return (vec)((mask)y & ~(x < lowest));
}

/* --- softmax, in place: s[batch,m,n] = exp(scale s - max) / sum, row by row. causal: row i attends to the first
 * i + 1 + n - m columns, and the others become 0; so does a row without any. */
static void softmax_row(int64_t seen, int64_t n, T scale, T *s) {
    /* The exponent is (x - top) |scale|, with x turned round where scale is negative: exactly 0 at the top and nowhere
     * above it. scale x - top could be far above, by the rounding of a product of any size. */
    const T turn = scale < 0 ? -1 : 1, size = turn * scale;
    vec most = (vec){0} - (T)__builtin_inff(), sums = {0};
    int64_t i = 0;
    for (; i + 4 * LANES <= seen; i += 4 * LANES) { /* in pairs, lest every vector wait for the one before */
        vec x[4];
        UNROLLED (4, int q = 0; q < 4; q++) x[q] = turn * load(s + i + q * LANES);
        most = larger(larger(larger(x[0], x[1]), larger(x[2], x[3])), most);
    }
    for (; i < seen; i += LANES) most = larger(turn * take(s + i, seen - i, s[0]), most);
    const T top = largest(most);
    for (int64_t j = 0; j < seen; j += LANES) {
        const vec e = exp_of((turn * take(s + j, seen - j, 0) - top) * size);
        put(s + j, e, seen - j);
        sums += seen - j >= LANES ? e : only(e, seen - j);
    }
    const T inverse = 1 / sum(sums);
    for (int64_t j = 0; j < seen; j += LANES) put(s + j, inverse * take(s + j, seen - j, 0), seen - j);
    if (seen < n) memset(s + seen, 0, (n - seen) * sizeof(T));
}

INLINE void softmax_rows(const struct softmax *call, const int causal) {
    const int64_t m = call->m, n = call->n;
    EACH_ROW(call->batch * m * n, call->batch * m, i, {
        const int64_t row = i % m, seen = causal ? max(0, min(row + 1 + n - m, n)) : n;
        T *s = (T *)call->s + i / m * call->stride_s + row * call->lds;
        softmax_row(seen, n, *(const T *)call->scale, s);
    })
}
static void run_softmax(const struct softmax *call) { softmax_rows(call, 0); }
static void run_softmax_causal(const struct softmax *call) { softmax_rows(call, 1); }

/* --- y = LayerNorm(x + r + bias) gain + shift; without r there is no bias either. Two passes for mean and variance, as
 * their definition has it: E[x^2] - E[x]^2 would cancel. */
static void norm_row(int64_t n, const T *x, const T *r, const T *bias, const T *gain, const T *shift, T eps, T *y) {
    vec sums = {0}, squares = {0};
    for (int64_t j = 0; j < n; j += LANES) {
        vec v = take(x + j, n - j, 0);
        if (r) v = v + take(r + j, n - j, 0) + take(bias + j, n - j, 0);
        put(y + j, v, n - j);
        sums += v;
    }
    const T mean = sum(sums) / n;
    for (int64_t j = 0; j < n; j += LANES) {
        const vec d = take(y + j, n - j, mean) - mean;
        squares += d * d;
    }
    const T variance = sum(squares) / n + eps;
    const T inverse = 1 / (SINGLE ? (T)__builtin_sqrtf(variance) : (T)__builtin_sqrt(variance));
    for (int64_t j = 0; j < n; j += LANES) {
        const vec d = (take(y + j, n - j, 0) - mean) * inverse;
        put(y + j, d * take(gain + j, n - j, 0) + take(shift + j, n - j, 0), n - j);
    }
}

static void norm_rows(const struct norm *call) {
    const T *x = call->x, *r = call->r, eps = *(const T *)call->eps;
    T *y = call->y;
    EACH_ROW(call->m * call->n, call->m, i,
             norm_row(call->n, x + i * call->ldx, r ? r + i * call->ldr : NULL, call->bias, call->gain, call->shift,
                      eps, y + i * call->ldy);)
}
static void run_layer_norm(const struct norm *call) { norm_rows(call); }
static void run_residual_norm(const struct norm *call) { norm_rows(call); }

/* --- x = GELU(x + bias), in place. GELU(v) = v P(v), P the normal distribution or, tanh_form, what resembles it,
 * 1/2 (1 + tanh u) = 1 / (1 + exp(-2 u)). Both are 1 - Q(|v|) right and Q(|v|) left of 0, so GELU(v) = max(v, 0) - |v|
 * Q(|v|), in which nothing cancels; from 40 on Q is 0. */
INLINE vec activated(const int tanh_form, vec v) {
    const T far = 40;
    const vec size = (vec)((mask)v & ~(mask) - (vec){0}), a = CHOOSE(size < far, size, (vec){0} + far);
    const vec most = CHOOSE(v < 0, (vec){0}, v); /* a NaN stays one */
    if (tanh_form) {
        const T two_root = 1.5957691216057308; /* 2 sqrt(2 / pi) */
        const vec e = exp_of(-two_root * (a + (T)0.044715 * (a * a * a)));
        return most - a * (e / (1 + e));
    }
    const vec t = (a - 4) / (a + 4), e = exp_of((T)-0.5 * (a * a));
    return most -
           a * e * (SINGLE ? polynomial(TAIL_SHORT, TERMS(TAIL_SHORT), t) : polynomial(TAIL_LONG, TERMS(TAIL_LONG), t));
}

INLINE void gelu_row(const int tanh_form, int64_t n, T *x, const T *bias) {
    for (int64_t j = 0; j < n; j += LANES)
        put(x + j, activated(tanh_form, take(x + j, n - j, 0) + take(bias + j, n - j, 0)), n - j);
}

INLINE void gelu_rows(const struct rows *call, const int tanh_form) {
    EACH_ROW(call->m * call->n, call->m, i, gelu_row(tanh_form, call->n, (T *)call->x + i * call->ldx, call->bias);)
}
static void run_gelu(const struct rows *call) { gelu_rows(call, 0); }
static void run_gelu_tanh(const struct rows *call) { gelu_rows(call, 1); }

/* --- x += r + bias, in place; r may be missing. */
static void add_to_row(int64_t n, T *x, const T *r, const T *bias) {
    for (int64_t j = 0; j < n; j += LANES) {
        vec v = take(x + j, n - j, 0);
        if (r) v += take(r + j, n - j, 0);
        put(x + j, v + take(bias + j, n - j, 0), n - j);
    }
}

static void add_to_rows(const struct rows *call) {
    const T *r = call->r;
    EACH_ROW(call->m * call->n, call->m, i,
             add_to_row(call->n, (T *)call->x + i * call->ldx, r ? r + i * call->ldr : NULL, call->bias);)
}
static void run_bias(const struct rows *call) { add_to_rows(call); }
static void run_residual(const struct rows *call) { add_to_rows(call); }

/* --- y[batch,m,n] = x: a decoder's K and V into its cache. */
static void run_copy_rows(const struct copy_rows *call) {
    const int64_t m = call->m, n = call->n;
    EACH_ROW(call->batch * m * n, call->batch * m, i, {
        const T *x = (const T *)call->x + i / m * call->stride_x + i % m * call->ldx;
        memcpy((T *)call->y + i / m * call->stride_y + i % m * call->ldy, x, n * sizeof(T));
    })
}

/* --- y[k] = row i of table[n,k]: a token's embedding. i is a number: the nearest row that there is, 0 for NaN. */
static void run_embed(const struct embed *call) {
    const T at = *(const T *)call->i;
    const int64_t row = at >= 0 ? at < (T)call->n ? min((int64_t)at, call->n - 1) : call->n - 1 : 0;
    memcpy(call->y, (const T *)call->table + row * call->ldtable, call->k * sizeof(T));
}

/* --- i = where x[n] has its largest element first, or its first NaN. Element by element only in the first block of
 * SPAN that has the largest of all. */
#define SPAN 1024
static void run_argmax(const struct argmax *call) {
    const T *x = call->x;
    const int64_t n = call->n;
    T top = -(T)__builtin_inff();
    int64_t found = 0;
    for (int64_t first = 0, end; first < n; first = end) {
        end = min(n, first + SPAN);
        vec most[4];
        UNROLLED (4, int q = 0; q < 4; q++) most[q] = (vec){0} - (T)__builtin_inff();
        mask strange = most[0] != most[0];
        int64_t j = first;
        for (; j + 4 * LANES <= end; j += 4 * LANES) /* four chains */
            UNROLLED (4, int q = 0; q < 4; q++) {
                const vec v = load(x + j + q * LANES);
                most[q] = larger(v, most[q]), strange |= v != v;
            }
        for (; j < end; j += LANES) {
            const vec v = take(x + j, end - j, x[first]);
            most[0] = larger(v, most[0]), strange |= v != v;
        }
        const int is_nan = largest(CHOOSE(strange, (vec){0} + 1, (vec){0})) > 0;
        const T here = largest(larger(larger(most[0], most[1]), larger(most[2], most[3])));
        if (is_nan || here > top) found = first, top = here;
        if (is_nan) {
            while (x[found] == x[found]) found++;
            *(T *)call->i = (T)found;
            return;
        }
    }
    while (x[found] != top) found++;
    *(T *)call->i = (T)found;
}

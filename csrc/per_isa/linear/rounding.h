/* Activations rounded to 8 bits for linear_a8, in groups of BLOCK_K, whose largest becomes 127. */
#if STEP == 4
typedef int8_t quantum; /* an activation, as the dot products take it */
#else
typedef int16_t quantum;
#endif
static inline void store_quanta(quantum *p, const ints numbers[BLOCK_K / LANES]) {
#ifdef STORE_BYTES
    if (sizeof(quantum) == 1) STORE_BYTES(p, (const raw *)numbers);
    else STORE_SHORTS(p, (const raw *)numbers);
#else
    for (int j = 0; j < BLOCK_K; j++) p[j] = (quantum)numbers[j / LANES][j % LANES];
#endif
}

struct rounded { /* of one row and group */
    T scale;
#if SCALE_BYTES == 3
    T sum; /* of q */
#else
    int32_t zeros; /* ZERO times that */
#endif
};
#define QUANTA (4 / (int)sizeof(quantum)) /* in 32 bits */

INLINE ints larger(ints a, ints b) {
#ifdef LARGER
    return (ints)LARGER((raw)a, (raw)b);
#else
    const ints first = a > b;
    return (a & first) | (b & ~first);
#endif
}

/* LANES groups of a row of x, of which `groups` count, into q, and a struct rounded of each, `apart` from each other.
 * What groups have one of is computed for all of them at once, a lane each. */
static void round_groups(int64_t groups, const T *x, quantum *q, struct rounded *of, int64_t apart) {
    vec each[LANES]; /* the largest |x|, of their bits, as those of NaN and infinities are the largest */
    UNROLLED (16, int g = 0; g < LANES; g++) {
        ints largest = {0};
        UNROLLED (8, int j = 0; j < BLOCK_K; j += LANES)
            largest = larger(largest, (ints)load(x + g * BLOCK_K + j) & 0x7fffffff);
        each[g] = (vec)largest;
    }
    transpose(each);
    ints largest = (ints)each[0];
    UNROLLED (16, int g = 1; g < LANES; g++) largest = larger(largest, (ints)each[g]);
    const vec most = (vec)largest;
    const mask finite = most < (T)INFINITY, large = most >= (T)0x1p-100;
    alignas(VECTOR_BYTES) T inverse[LANES], scale[LANES];
    store(inverse, CHOOSE(finite & large, 127 / most, (vec){0}));
    store(scale, CHOOSE(finite, CHOOSE(large, most / 127, (vec){0}), (vec){0} + (T)NAN));

    for (int g = 0; g < LANES; g++) {
        ints numbers[BLOCK_K / LANES], total = {0};
        alignas(VECTOR_BYTES) quantum nowhere[BLOCK_K];
        UNROLLED (8, int j = 0; j < BLOCK_K / LANES; j++) {
            numbers[j] = inverse[g] > 0 ? nearest(load(x + g * BLOCK_K + j * LANES) * inverse[g]) : (ints){0};
            total += numbers[j];
        }
        store_quanta(g < groups ? q + g * BLOCK_K : nowhere, numbers);
        each[g] = __builtin_convertvector(total, vec);
    }
    transpose(each);
    UNROLLED (16, int g = 1; g < LANES; g++) each[0] += each[g]; /* 32 * 127 at most: exact */
    for (int g = 0; g < groups; g++, of += apart) {
        of->scale = scale[g];
#if SCALE_BYTES == 3
        of->sum = each[0][g];
#else
        of->zeros = ZERO * (int32_t)each[0][g];
#endif
    }
}

/* h rows, side by side: a word of QUANTA neighbours of each row, the next ones, ... of all k, then all struct rounded.
 */
#define TALLEST LINEAR_ROWS
#define ROW_VECTORS ((int)(((TALLEST) + LANES - 1) / LANES)) /* that a word of each row fills */
static void prepare_a8(const struct linear_plan *z, int h, int64_t k, const T *x, int64_t ldx, void *packed) {
    alignas(VECTOR_BYTES) quantum q[TALLEST][LANES * BLOCK_K];
    T *to = packed, *const end = to + z->k / QUANTA * h; /* words, as what transpose() takes */
    struct rounded *of = (struct rounded *)end;
    for (int64_t p = 0; p < z->k; p += LANES * BLOCK_K, of += LANES * h) {
        const int64_t groups = min((z->k - p) / BLOCK_K, LANES);
        for (int i = 0; i < h; i++) {
            alignas(VECTOR_BYTES) T some[LANES * BLOCK_K];
            const T *from = x + i * ldx + p;
            if (p + LANES * BLOCK_K > k) {
                memset(some, 0, sizeof some);
                if (p < k) memcpy(some, from, (k - p) * sizeof(T));
                from = some;
            }
            round_groups(groups, from, h == 1 ? (quantum *)to : q[i], of + i, h);
        }
        if (h == 1) to += groups * BLOCK_K / QUANTA;
        for (int64_t g = 0; h > 1 && g < groups * BLOCK_K; g += LANES * QUANTA) {
            vec words[ROW_VECTORS][LANES];
            UNROLLED (2, int v = 0; v < ROW_VECTORS; v++) {
                UNROLLED (16, int i = 0; i < LANES; i++) {
                    const int row = v * (int)LANES + i;
                    words[v][i] = row < TALLEST && row < h ? (vec)load_ints(q[row % TALLEST] + g) : (vec){0};
                }
                transpose(words[v]);
            }
            UNROLLED (16, int j = 0; j < LANES; j++, to += h) /* what is beyond row h is overwritten next */
                UNROLLED (2, int v = 0; v < ROW_VECTORS; v++) {
                    const int64_t rest = end - (to + v * LANES);
                    if (rest >= LANES) store(to + v * LANES, words[v][j]);
                    else if (rest > 0) store_some(to + v * LANES, words[v][j], rest);
                }
        }
    }
}

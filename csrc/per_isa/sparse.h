/* GEMV with weights of which only those that aren't zero are stored, in the formats of kernels/sparse.py. Each is one
 * array of bytes, its parts aligned to PART. */
#define STRIP 4 /* rows of a bitmap that are multiplied together: a vector of x serves all of them */
#define PART ((int64_t)64)
#include "expand.h"

static inline const void *part(const void *packed, int64_t bytes) { /* what follows a part of so many bytes */
    return (const char *)packed + (bytes + PART - 1) / PART * PART;
}

struct over {       /* a weight that no bit stands for */
    uint32_t place; /* column * STRIP + row of the strip */
    float value;
};

struct bitmap {
    const int64_t *starts; /* of each strip in values, and in overs; of 2:4 none */
    const float *scales;   /* of each row, of types that have some */
    const uint8_t *bits;   /* a strip: its groups along k, of each group STRIP rows */
    const stored *values;
    const struct over *overs;
    int64_t groups, strips; /* along k; along n */
    int few;                /* do 16 bytes hold all values of a group? */
};

static struct bitmap bitmap_of(const struct sparse *call, int fixed) {
    const int64_t strips = (call->n + STRIP - 1) / STRIP, groups = (call->k + GROUP_BITS - 1) / GROUP_BITS;
    const int64_t *header = call->w; /* how many bits of a group are 1, at most; starts */
    struct bitmap w = {.starts = header + 1, .groups = groups, .strips = strips};
    w.few = fixed || *header * (int64_t)sizeof(stored) <= 16;
    w.scales = fixed ? call->w : part(header, (2 * strips + 3) * 8);
    w.bits = part(w.scales, SCALED * strips * STRIP * 4);
    w.values = part(w.bits, strips * groups * STRIP * GROUP_BITS / 8);
    if (!fixed) w.overs = part(w.values, w.starts[strips] * (int64_t)sizeof(stored));
    return w;
}

/* Bit by bit: for CPUs that can't expand, and for infinities and NaN in x, which a zero must not meet. */
static void strip_by_bits(int fixed, int64_t k, const uint8_t *bits, const stored *values, const T *x, T total[STRIP]) {
    for (int64_t p = 0; p < k; p += GROUP_BITS)
        for (int r = 0; r < STRIP; r++, bits += GROUP_BITS / 8) {
            const stored *next = values + GROUP_BITS / 2;
            for (unsigned left = group_bits(bits); left; left &= left - 1)
                total[r] += (T)*values++ * x[p + __builtin_ctz(left)];
            if (fixed) values = next;
        }
}

static void add_overs(const struct bitmap *w, int64_t s, const T *x, T total[STRIP]) {
    const int64_t *starts = w->starts + w->strips + 1 + s;
    for (const struct over *e = w->overs + starts[0]; e < w->overs + starts[1]; e++)
        total[e->place % STRIP] += e->value * x[e->place / STRIP];
}

#if EXPANDS
INLINE const stored *strip_group(const int fixed, const uint8_t *bits, const stored *values, vec x, vec *total) {
    UNROLLED (4, int r = 0; r < STRIP; r++) {
        const unsigned stored_bits = group_bits(bits + r * (GROUP_BITS / 8));
        total[r] += expanded(stored_bits, values) * x;
        values += fixed ? GROUP_BITS / 2 : __builtin_popcount(stored_bits);
    }
    return values;
}

/* The products of `count` groups of a strip's rows; returns what follows their values. Each kind has a loop that no
 * other code shares registers with. */
#define GROUPS int64_t count, const uint8_t *bits, const stored *values, const T *x, vec total[STRIP]
typedef const stored *groups(GROUPS);
INLINE const stored *each_group(const int fixed, const int few, GROUPS) {
    vec sums[STRIP] = {{0}};
    uint64_t of_two = 0;
    for (int64_t g = 0; g < count; g++) {
        const uint8_t *here = bits + g * (STRIP * GROUP_BITS / 8);
        const vec some = load(x + g * GROUP_BITS);
        values = few ? strip_few(fixed, here, values, some, sums, &of_two) : strip_group(0, here, values, some, sums);
    }
    UNROLLED (4, int r = 0; r < STRIP; r++) total[r] = sums[r];
    return values;
}
#define OWN_LOOP(name, fixed, few)                                                                                     \
    static __attribute__((noinline)) const stored *name(GROUPS) {                                                      \
        return each_group(fixed, few, count, bits, values, x, total);                                                  \
    }
OWN_LOOP(groups_fixed, 1, 1)
OWN_LOOP(groups_few, 0, 1)
OWN_LOOP(groups_any, 0, 0)

static void strip(groups *add, int64_t k, const uint8_t *bits, const stored *values, const T *x, T sums[STRIP]) {
    vec total[STRIP], rest[STRIP];
    const int64_t count = k / GROUP_BITS, p = count * GROUP_BITS;
    values = add(count, bits, values, x, total);
    if (p < k) {
        T last[GROUP_BITS];
        store(last, load_some(x + p, k - p, 0));
        add(1, bits + count * STRIP * GROUP_BITS / 8, values, last, rest);
        UNROLLED (4, int r = 0; r < STRIP; r++) total[r] += rest[r];
    }
    UNROLLED (4, int r = 0; r < STRIP; r++) sums[r] = sum(total[r]);
}
#endif

/* Are there no infinities and no NaN in x? Times zero, both are NaN. */
static int all_finite(const T *x, int64_t k) {
    vec zeros = {0};
    int64_t p = 0;
    for (; p + LANES <= k; p += LANES) zeros += load(x + p) * 0;
    T total = sum(zeros);
    for (; p < k; p++) total += x[p] * 0;
    return total == 0;
}

INLINE void bitmap_gemv(const struct sparse *call, const int fixed) {
    const int64_t n = call->n, k = call->k;
    const struct bitmap w = bitmap_of(call, fixed);
    const T *x = call->x;
    T *y = call->y;
#pragma omp parallel num_threads(call->threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        const int by_bits = !EXPANDS || !all_finite(x, k);
#if EXPANDS
        groups *const add = fixed ? groups_fixed : w.few ? groups_few : groups_any;
#endif
        const int64_t last = share(n, LINE, t + 1, team);
        for (int64_t i = share(n, LINE, t, team); i < last; i += STRIP) {
            const int64_t s = i / STRIP;
            const uint8_t *bits = w.bits + s * w.groups * STRIP * GROUP_BITS / 8;
            const stored *values = w.values + (fixed ? s * w.groups * STRIP * GROUP_BITS / 2 : w.starts[s]);
            T total[STRIP] = {0};
            if (by_bits) strip_by_bits(fixed, k, bits, values, x, total);
#if EXPANDS
            else strip(add, k, bits, values, x, total);
#endif
            if (!fixed) add_overs(&w, s, x, total);
            for (int r = 0; r < STRIP && i + r < n; r++) y[i + r] = SCALED ? total[r] * w.scales[i + r] : total[r];
        }
    }
}

static void run_gemv_bitmap(const struct sparse *call) { bitmap_gemv(call, 0); }

#if !SCALED
static void run_gemv_2_4(const struct sparse *call) { bitmap_gemv(call, 1); }

INLINE void csr_gemv(const struct sparse *call, const int index_bytes) {
    const int64_t n = call->n;
    const int32_t *starts = call->w;
    const char *columns = part(starts, (n + 1) * 4);
    const T *values = part(columns, starts[n] * (int64_t)index_bytes), *x = call->x;
    T *y = call->y;
#pragma omp parallel num_threads(call->threads)
    {
        const int t = omp_get_thread_num(), team = omp_get_num_threads();
        const int64_t last = share(n, LINE, t + 1, team);
        for (int64_t i = share(n, LINE, t, team); i < last; i++) {
            const int64_t first = starts[i];
            y[i] = csr_row(index_bytes, starts[i + 1] - first, columns + first * index_bytes, values + first, x);
        }
    }
}

static void run_gemv_csr(const struct sparse *call) { csr_gemv(call, 4); }
static void run_gemv_csr16(const struct sparse *call) { csr_gemv(call, 2); }
#endif

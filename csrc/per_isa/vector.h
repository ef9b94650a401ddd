/* Vectors of T in GNU C: they add, multiply and broadcast like scalars, and a * b + c contracts to one FMA. */
#define vec F(vec)
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(T)))
#define NR (NV * LANES) /* columns of the register tile */

typedef T F(vec) __attribute__((vector_size(VECTOR_BYTES)));
typedef T F(unaligned) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));

static inline vec F(load)(const T *p) { return *(const F(unaligned) *)p; }
static inline void F(store)(T *p, vec v) { *(F(unaligned) *)p = v; }

/* Pairwise, as vectors: log2(LANES) adds in a row instead of LANES. */
static inline T F(sum)(vec v) {
    union {
        vec whole;
        T lane[LANES];
    } u = {v};
    for (int64_t half = LANES / 2; half; half /= 2)
        for (int64_t i = 0; i < half; i++) u.lane[i] += u.lane[i + half];
    return u.lane[0];
}

/* Vectors of T in GNU C: they add, multiply and broadcast like scalars, and a * b + c contracts to one FMA. */
#define LANES ((int64_t)(VECTOR_BYTES / sizeof(T)))
#define LINE ((int64_t)(CACHE_LINE / sizeof(T))) /* elements of a cache line */
#define NR (NV * LANES)                          /* columns of the tallest register tile */
#define INLINE static inline __attribute__((always_inline))

/* A loop of at most n rounds, as many as constants say once its function is inlined: all of them one after another, so
 * that arrays of vectors become registers. In Clang's own word, for it heeds GCC's after it has given arrays memory. */
#ifdef __clang__
#define UNROLLED(n, ...) _Pragma("clang loop unroll(full)") for (__VA_ARGS__)
#else
#define UNROLLED(n, ...) _Pragma(STRING(GCC unroll n)) for (__VA_ARGS__)
#endif

typedef T vec __attribute__((vector_size(VECTOR_BYTES)));
typedef T unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
typedef __typeof__((vec){0} == (vec){0}) mask; /* integers as wide as T: comparisons, bits */

static inline vec load(const T *p) { return *(const unaligned *)p; }
static inline void store(T *p, vec v) { *(unaligned *)p = v; }

/* 32-bit integers, as many as an f32 vector has lanes. */
typedef int32_t ints __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t unaligned_ints __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
static inline ints load_ints(const void *p) { return *(const unaligned_ints *)p; }

/* Keeps v in a register and its value unknown to the compiler, which would make a tree of a chain of integer adds, with
 * more values at a time than there are registers. */
#if defined __x86_64__
#define KEEP(v) __asm__("" : "+v"(v))
#elif defined __aarch64__
#define KEEP(v) __asm__("" : "+w"(v))
#else
#define KEEP(v) __asm__("" : "+m"(v))
#endif

/* As many f16 at p, exactly, in f32's bits. */
static inline vec load_halves(const void *p) {
#ifdef WIDEN_HALVES
    return (vec)WIDEN_HALVES(p);
#else
    typedef uint16_t halves __attribute__((vector_size(VECTOR_BYTES / 2), aligned(1), may_alias));
    typedef float floats __attribute__((vector_size(VECTOR_BYTES)));
    const ints bits = __builtin_convertvector(*(const halves *)p, ints), size = bits & 0x7fff;
    const ints number = (ints)((floats)(size << 13) * 0x1p112f); /* the exponent's bias is 15, not 127 */
    const ints strange = size >= 0x7c00;                         /* infinities and NaN */
    return (vec)((bits & 0x8000) << 16 | number | (strange & 0x7f800000));
#endif
}

#define CHOOSE(which, yes, no) ((vec)(((which) & (mask)(yes)) | (~(which) & (mask)(no))))

static inline mask below(int64_t count) { /* true in the first `count` lanes */
    mask lane;
    UNROLLED (16, int l = 0; l < (int)LANES; l++) lane[l] = l;
    return lane < (int)count;
}

/* The first `count` < LANES elements at p, the other lanes `rest`; and back, the other lanes dropped. */
#if MASKED
typedef __typeof__(load_lanes(0, NULL, 0)) raw;
static inline vec load_some(const T *p, int64_t count, T rest) {
    return (vec)((mask)load_lanes(sizeof(T), p, count) | (~below(count) & (mask)((vec){0} + rest)));
}
static inline void store_some(T *p, vec v, int64_t count) { store_lanes(sizeof(T), p, (raw)v, count); }
#else
static inline vec load_some(const T *p, int64_t count, T rest) {
    alignas(VECTOR_BYTES) T lane[LANES];
    for (int l = 0; l < (int)LANES; l++) lane[l] = l < (int)count ? p[l] : rest;
    return load(lane);
}
static inline void store_some(T *p, vec v, int64_t count) {
    alignas(VECTOR_BYTES) T lane[LANES];
    store(lane, v);
    for (int l = 0; l < (int)LANES; l++)
        if (l < (int)count) p[l] = lane[l];
}
#endif

/* Elements of a, then of b, in an order: x[e] = which(e) < LANES ? a[which(e)] : b[which(e) - LANES]. Clang has no
 * __builtin_shuffle, and makes one of the definition. */
#ifdef __clang__
#define PICK(a, b, which)                                                                                              \
    ({                                                                                                                 \
        vec picked;                                                                                                    \
        UNROLLED (16, int64_t e = 0; e < LANES; e++)                                                                   \
            picked[e] = (which) < LANES ? (a)[(which) % LANES] : (b)[(which) % LANES];                                 \
        picked;                                                                                                        \
    })
#else
#define PICK(a, b, which)                                                                                              \
    ({                                                                                                                 \
        mask order;                                                                                                    \
        UNROLLED (16, int64_t e = 0; e < LANES; e++) order[e] = (which);                                               \
        __builtin_shuffle(a, b, order);                                                                                \
    })
#endif
/* The lanes `apart`, a literal, change places with each other. */
#define TURNED(v, apart) PICK(v, v, e ^ (apart))

/* Pairwise: log2(LANES) adds in a row instead of LANES, and all in registers. */
static inline T sum(vec v) {
    if (LANES > 8) v += TURNED(v, 8);
    if (LANES > 4) v += TURNED(v, 4);
    if (LANES > 2) v += TURNED(v, 2);
    v += TURNED(v, 1);
    return v[0];
}

#define BLOCK ((int64_t)(16 / sizeof(T))) /* elements of 16 bytes: shuffles within them take one cycle on x86-64 */

/* One round of transposing: in squares twice as wide, the off-diagonal ones of `half` change places. A literal, for
 * compilers don't see that an order is constant where it depends on a loop's variable. */
#define SWAP(half)                                                                                                     \
    if (half < LANES && (BLOCK != 4 || half >= 4))                                                                     \
        UNROLLED (16, int64_t pair = 0; pair < LANES / 2; pair++) {                                                    \
            const int64_t i = pair / half * 2 * half + pair % half;                                                    \
            const vec a = x[i], b = x[i + half];                                                                       \
            x[i] = PICK(a, b, e & half ? LANES + e - half : e);                                                        \
            x[i + half] = PICK(a, b, e & half ? LANES + e : e + half);                                                 \
        }

/* LANES vectors as a square, transposed in place. In rounds that swap the off-diagonal quarters of ever larger squares;
 * but squares of four are transposed by interleaving, which takes one instruction a vector where swapping takes two. */
INLINE void transpose(vec x[LANES]) {
    if (BLOCK == 4) {
        UNROLLED (4, int64_t i = 0; i < LANES; i += 4) {
            const vec a = PICK(x[i], x[i + 1], e / 4 * 4 + e % 4 / 2 + e % 2 * LANES);
            const vec b = PICK(x[i + 2], x[i + 3], e / 4 * 4 + e % 4 / 2 + e % 2 * LANES);
            const vec c = PICK(x[i], x[i + 1], e / 4 * 4 + 2 + e % 4 / 2 + e % 2 * LANES);
            const vec d = PICK(x[i + 2], x[i + 3], e / 4 * 4 + 2 + e % 4 / 2 + e % 2 * LANES);
            x[i] = PICK(a, b, e % 4 < 2 ? e : LANES + e - 2), x[i + 1] = PICK(a, b, e % 4 < 2 ? e + 2 : LANES + e);
            x[i + 2] = PICK(c, d, e % 4 < 2 ? e : LANES + e - 2), x[i + 3] = PICK(c, d, e % 4 < 2 ? e + 2 : LANES + e);
        }
    }
    SWAP(1) SWAP(2) SWAP(4) SWAP(8)
}

/* Vectors of a register tile of h rows: a row of accumulators and one of operands beside them. */
#define TILE_VECTORS(h)                                                                                                \
    ((REGISTERS - FREE_REGISTERS) / ((h) + 1) < WIDEST ? (REGISTERS - FREE_REGISTERS) / ((h) + 1) : WIDEST)
/* X(y, h) for every height of a tile. */
#define EACH_HEIGHT PASTE(HEIGHTS_, MR)
#define HEIGHTS_4(X, form) X(form, 1) X(form, 2) X(form, 3) X(form, 4)
#define HEIGHTS_5(X, form) HEIGHTS_4(X, form) X(form, 5)
#define HEIGHTS_6(X, form) HEIGHTS_5(X, form) X(form, 6)
#define HEIGHTS_7(X, form) HEIGHTS_6(X, form) X(form, 7)
#define HEIGHTS_8(X, form) HEIGHTS_7(X, form) X(form, 8)
#define HEIGHTS_14(X, form) HEIGHTS_8(X, form) X(form, 9) X(form, 10) X(form, 11) X(form, 12) X(form, 13) X(form, 14)

/* What differs between ISAs: one block each, and the table of entry points that kernel.c fills. */
#ifndef RIDGELINE_ISA_H
#define RIDGELINE_ISA_H

#include <stdint.h>
#include "kernels.h"

/* The tallest register tile is MR rows of C by NV vectors. Budget: MR * NV accumulators + NV vectors of B + SPARE
 * registers for what is broadcast of A (and for products, without FMA) fill the register file; kernel.c asserts it. Larger
 * is better: each loaded vector of B serves MR multiply-adds and each broadcast NV. At least latency x ports
 * independent accumulators are needed to keep the FMA units busy: 4 x 2 on Zen and Intel cores, 4 x 4 on wide Arm
 * cores. A tile of fewer rows is wider by the same budget, up to WIDEST vectors: see AT_ONCE in microkernel.h. */
#if defined ISA_avx512
#define VECTOR_BYTES 64
#define REGISTERS 32
#define SPARE 1
#define MR 14 /* 14 * 2 + 2 + 1 = 31 */
#define NV 2
#define HAS_FMA 1
#elif defined ISA_avx2
#define VECTOR_BYTES 32
#define REGISTERS 16
#define SPARE 1
#define MR 6 /* 6 * 2 + 2 + 1 = 15 */
#define NV 2
#define HAS_FMA 1
#elif defined ISA_neon
#define VECTOR_BYTES 16
#define REGISTERS 32
#define SPARE 5 /* the compiler wants its broadcasts ahead of time: 8 x 3 spills */
#define MR 7    /* 7 * 3 + 3 + 5 = 29 */
#define NV 3
#define HAS_FMA 1
#else /* generic: what every CPU of the architecture has, SSE2 on x86-64 */
#define VECTOR_BYTES 16
#define REGISTERS 16
#define SPARE 2
#define MR 4 /* 4 * 2 + 2 + 2 = 12 */
#define NV 2
#define HAS_FMA 0
#endif
#define WIDEST 6 /* as many streams as a core's prefetchers follow with ease */

struct isa {
    const char *name;
    int vector_bytes, nontemporal, mr, nv;

#define ENTRY_POINTS(T, dtype)                                                                                     \
    void (*gemm_##dtype)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b,        \
                         int64_t ldb, T *c, int64_t ldc, void *workspace);                                         \
    void (*pack_##dtype)(int threads, int64_t n, int64_t k, const T *b, int64_t ldb, T *packed);                   \
    void (*gemm_prepacked_##dtype)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,          \
                                   const T *packed, T *c, int64_t ldc, void *workspace);                           \
    void (*gemm_batch_##dtype)(int threads, int64_t batch, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,   \
                               int64_t stride_a, const T *b, int64_t ldb, int64_t stride_b, int transposed, T *c,      \
                               int64_t ldc, int64_t stride_c, void *workspace);                                        \
    int64_t (*gemm_batch_workspace_bytes_##dtype)(int threads, int64_t m, int64_t n, int64_t k);                                  \
    void (*gemm_naive_##dtype)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b,  \
                               int64_t ldb, T *c, int64_t ldc);                                                    \
    void (*gemm_tiled_##dtype)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b,  \
                               int64_t ldb, T *c, int64_t ldc);                                                    \
    void (*gemm_packed_##dtype)(int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b, \
                                int64_t ldb, T *c, int64_t ldc);                                                   \
    void (*gemv_##dtype)(int threads, int64_t n, int64_t k, const T *w, int64_t ldw, const T *x, T *y);            \
    void (*gemv_t_##dtype)(int threads, int64_t n, int64_t k, const T *x, const T *w, int64_t ldw, T *y,           \
                           void *workspace);                                                                       \
    void (*softmax_##dtype)(int threads, int causal, int64_t batch, int64_t m, int64_t n, T *s, int64_t ld,            \
                            int64_t stride, const T *scale);                                                           \
    void (*norm_##dtype)(int threads, int64_t m, int64_t n, const T *x, int64_t ldx, const T *r, int64_t ldr,          \
                         const T *bias, const T *gain, const T *shift, const T *eps, T *y, int64_t ldy);               \
    void (*gelu_##dtype)(int threads, int tanh_form, int64_t m, int64_t n, T *x, int64_t ldx, const T *bias);          \
    void (*add_to_##dtype)(int threads, int64_t m, int64_t n, T *x, int64_t ldx, const T *r, int64_t ldr,              \
                           const T *bias);                                                                             \
    int64_t (*gemm_workspace_bytes_##dtype)(int threads, int packed, int64_t m, int64_t n, int64_t k);                         \
    double (*peak_##dtype)(int threads, int64_t iterations);
    ENTRY_POINTS(float, f32)
    ENTRY_POINTS(double, f64)
#undef ENTRY_POINTS

    void (*stream)(int threads, enum stream_op op, enum stream_flavour flavour, int64_t passes, int64_t n,
                   double scalar, double *a, double *b, double *c, double *sums);
};

#define CACHE_LINE 64

/* Where thread t's share of n elements begins, in whole cache-line-sized units so that no two threads write one
 * line; its end is share(t + 1). */
static inline int64_t share(int64_t n, int64_t unit, int t, int threads) {
    int64_t units = (n + unit - 1) / unit, begin = units * t / threads * unit;
    return begin < n ? begin : n;
}

static inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

#endif

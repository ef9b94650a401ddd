/* The C API: which ISAs were compiled in, which run here, and the call through to the chosen one. */
#include "isa.h"
#include "per_isa/polynomials.h"

/* CMake names the ISAs it compiled: -DISAS="X(generic) X(avx2)". */
#define X(name) extern const struct isa isa_##name;
ISAS
#undef X

static const struct isa *const isas[] = {
#define X(name) &isa_##name,
    ISAS
#undef X
};

static int runs_generic(void) { return 1; }
#if defined __x86_64__
static int runs_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int runs_avx512(void) {
    return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
}
#elif defined __aarch64__
static int runs_neon(void) { return 1; } /* part of every AArch64 CPU */
#endif

static int (*const tests[])(void) = {
#define X(name) runs_##name,
    ISAS
#undef X
};

int isa_count(void) { return sizeof isas / sizeof *isas; }
const char *isa_name(int isa) { return isas[isa]->name; }
int isa_runs(int isa) { return tests[isa](); }
int isa_vector_bytes(int isa) { return isas[isa]->vector_bytes; }
int isa_nontemporal(int isa) { return isas[isa]->nontemporal; }
int isa_tile_rows(int isa) { return isas[isa]->mr; }
int isa_tile_columns(int isa, int itemsize) { return isas[isa]->nv * isas[isa]->vector_bytes / itemsize; }
const double *exp_coefficients(int itemsize, int *count) {
    *count = EXP_TERMS(itemsize == sizeof(float));
    return EXP;
}
const double *tail_coefficients(int itemsize, int *count) {
    *count = itemsize == sizeof(float) ? TERMS(TAIL_SHORT) : TERMS(TAIL_LONG);
    return itemsize == sizeof(float) ? TAIL_SHORT : TAIL_LONG;
}
const char *build_compiler(void) { return COMPILER; }
const char *build_flags(void) { return FLAGS; }

int64_t packed_elements(int isa, int itemsize, int64_t n, int64_t k) {
    return round_up(n, isas[isa]->vector_bytes / itemsize) * k;
}
int64_t gemm_workspace_bytes(int isa, int itemsize, int threads, int packed, int64_t m, int64_t n, int64_t k) {
    return itemsize == 4 ? isas[isa]->gemm_workspace_bytes_f32(threads, packed, m, n, k)
                         : isas[isa]->gemm_workspace_bytes_f64(threads, packed, m, n, k);
}
int64_t gemm_batch_workspace_bytes(int isa, int itemsize, int threads, int64_t m, int64_t n, int64_t k) {
    return itemsize == 4 ? isas[isa]->gemm_batch_workspace_bytes_f32(threads, m, n, k)
                         : isas[isa]->gemm_batch_workspace_bytes_f64(threads, m, n, k);
}
int64_t gemv_t_workspace_bytes(int isa, int itemsize, int threads, int64_t n, int64_t k) {
    (void)isa, (void)k;
    return threads * round_up(n * itemsize, CACHE_LINE);
}
int64_t peak_flops(int isa, int itemsize) { /* 2 FLOPs per lane of each accumulator of the register tile */
    return 2 * isas[isa]->mr * isa_tile_columns(isa, itemsize);
}

#define FOR_BOTH(T, dtype)                                                                                          \
    void gemm_##dtype(int isa, int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda, const T *b,   \
                      int64_t ldb, T *c, int64_t ldc, void *workspace) {                                            \
        isas[isa]->gemm_##dtype(threads, m, n, k, a, lda, b, ldb, c, ldc, workspace);                               \
    }                                                                                                               \
    void pack_##dtype(int isa, int threads, int64_t n, int64_t k, const T *b, int64_t ldb, T *packed) {             \
        isas[isa]->pack_##dtype(threads, n, k, b, ldb, packed);                                                     \
    }                                                                                                               \
    void gemm_prepacked_##dtype(int isa, int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,     \
                                const T *packed, T *c, int64_t ldc, void *workspace) {                              \
        isas[isa]->gemm_prepacked_##dtype(threads, m, n, k, a, lda, packed, c, ldc, workspace);                     \
    }                                                                                                               \
    void gemm_batch_##dtype(int isa, int threads, int64_t batch, int64_t m, int64_t n, int64_t k, const T *a,         \
                            int64_t lda, int64_t stride_a, const T *b, int64_t ldb, int64_t stride_b, int transposed,  \
                            T *c, int64_t ldc, int64_t stride_c, void *workspace) {                                    \
        isas[isa]->gemm_batch_##dtype(threads, batch, m, n, k, a, lda, stride_a, b, ldb, stride_b, transposed, c, ldc, \
                                      stride_c, workspace);                                                            \
    }                                                                                                                  \
    void gemm_naive_##dtype(int isa, int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,         \
                            const T *b, int64_t ldb, T *c, int64_t ldc) {                                           \
        isas[isa]->gemm_naive_##dtype(threads, m, n, k, a, lda, b, ldb, c, ldc);                                    \
    }                                                                                                               \
    void gemm_tiled_##dtype(int isa, int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,         \
                            const T *b, int64_t ldb, T *c, int64_t ldc) {                                           \
        isas[isa]->gemm_tiled_##dtype(threads, m, n, k, a, lda, b, ldb, c, ldc);                                    \
    }                                                                                                               \
    void gemm_packed_##dtype(int isa, int threads, int64_t m, int64_t n, int64_t k, const T *a, int64_t lda,        \
                             const T *b, int64_t ldb, T *c, int64_t ldc) {                                          \
        isas[isa]->gemm_packed_##dtype(threads, m, n, k, a, lda, b, ldb, c, ldc);                                   \
    }                                                                                                               \
    void gemv_##dtype(int isa, int threads, int64_t n, int64_t k, const T *w, int64_t ldw, const T *x, T *y) {      \
        isas[isa]->gemv_##dtype(threads, n, k, w, ldw, x, y);                                                       \
    }                                                                                                               \
    void gemv_t_##dtype(int isa, int threads, int64_t n, int64_t k, const T *x, const T *w, int64_t ldw, T *y,      \
                        void *workspace) {                                                                          \
        isas[isa]->gemv_t_##dtype(threads, n, k, x, w, ldw, y, workspace);                                          \
    }                                                                                                               \
    void softmax_##dtype(int isa, int threads, int causal, int64_t batch, int64_t m, int64_t n, T *s, int64_t ld,   \
                         int64_t stride, const T *scale) {                                                          \
        isas[isa]->softmax_##dtype(threads, causal, batch, m, n, s, ld, stride, scale);                             \
    }                                                                                                               \
    void norm_##dtype(int isa, int threads, int64_t m, int64_t n, const T *x, int64_t ldx, const T *r, int64_t ldr, \
                      const T *bias, const T *gain, const T *shift, const T *eps, T *y, int64_t ldy) {              \
        isas[isa]->norm_##dtype(threads, m, n, x, ldx, r, ldr, bias, gain, shift, eps, y, ldy);                     \
    }                                                                                                               \
    void gelu_##dtype(int isa, int threads, int tanh_form, int64_t m, int64_t n, T *x, int64_t ldx,                 \
                      const T *bias) {                                                                              \
        isas[isa]->gelu_##dtype(threads, tanh_form, m, n, x, ldx, bias);                                            \
    }                                                                                                               \
    void add_to_##dtype(int isa, int threads, int64_t m, int64_t n, T *x, int64_t ldx, const T *r, int64_t ldr,     \
                        const T *bias) {                                                                            \
        isas[isa]->add_to_##dtype(threads, m, n, x, ldx, r, ldr, bias);                                             \
    }                                                                                                               \
    double peak_##dtype(int isa, int threads, int64_t iterations) {                                                 \
        return isas[isa]->peak_##dtype(threads, iterations);                                                        \
    }
FOR_BOTH(float, f32)
FOR_BOTH(double, f64)

void stream(int isa, int threads, enum stream_op op, enum stream_flavour flavour, int64_t passes, int64_t n,
            double scalar, double *a, double *b, double *c, double *sums) {
    isas[isa]->stream(threads, op, flavour, passes, n, scalar, a, b, c, sums);
}

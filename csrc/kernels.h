/* Ridgeline's C API. cffi reads this file as it is, so it holds prototypes and enums only.
 *
 * Every kernel takes `isa`, an index below isa_count() that isa_runs() accepts, and `threads` >= 1.
 * Matrices are row-major; ld* is the distance between rows in elements. Sizes are in elements.
 * Outputs don't overlap inputs. A kernel allocates nothing: where it needs scratch, the caller passes a
 * 64-byte aligned workspace of at least *_workspace_bytes().
 */

/* --- what was built, what runs here ------------------------------------------------------- dispatch.c */
int isa_count(void);
const char *isa_name(int isa);         /* "generic", "avx2", ... */
int isa_runs(int isa);                 /* does this CPU have it? */
int isa_vector_bytes(int isa);
int isa_nontemporal(int isa);          /* has it non-temporal stores? */
int isa_tile_rows(int isa);            /* mr of the register tile */
int isa_tile_columns(int isa, int itemsize);  /* nr */
const char *build_compiler(void);
const char *build_flags(void);

/* --- C[m,n] = A[m,k] B[k,n] -------------------------------------------------- per_isa/gemm.h, gemm_scalar.h */
int64_t gemm_workspace_bytes(int isa, int itemsize, int threads, int packed, int64_t m, int64_t n, int64_t k);
void gemm_f32(int isa, int threads, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
              const float *b, int64_t ldb, float *c, int64_t ldc, void *workspace);
void gemm_f64(int isa, int threads, int64_t m, int64_t n, int64_t k, const double *a, int64_t lda,
              const double *b, int64_t ldb, double *c, int64_t ldc, void *workspace);

/* B packed once, ahead: ceil(n / lanes) strips of k x lanes, lanes a vector's elements; the last one zero-padded. */
int64_t packed_elements(int isa, int itemsize, int64_t n, int64_t k);
void pack_f32(int isa, int threads, int64_t n, int64_t k, const float *b, int64_t ldb, float *packed);
void pack_f64(int isa, int threads, int64_t n, int64_t k, const double *b, int64_t ldb, double *packed);
void gemm_prepacked_f32(int isa, int threads, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                        const float *packed, float *c, int64_t ldc, void *workspace);
void gemm_prepacked_f64(int isa, int threads, int64_t m, int64_t n, int64_t k, const double *a, int64_t lda,
                        const double *packed, double *c, int64_t ldc, void *workspace);

/* `batch` independent products; matrix i of an operand begins stride_* elements after matrix i - 1, and matrices may
 * interleave. transposed: B is given as B[n,k], as attention's keys are. A single row, m = 1, needs no workspace. */
int64_t gemm_batch_workspace_bytes(int isa, int itemsize, int threads, int64_t m, int64_t n, int64_t k);
void gemm_batch_f32(int isa, int threads, int64_t batch, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                    int64_t stride_a, const float *b, int64_t ldb, int64_t stride_b, int transposed, float *c,
                    int64_t ldc, int64_t stride_c, void *workspace);
void gemm_batch_f64(int isa, int threads, int64_t batch, int64_t m, int64_t n, int64_t k, const double *a, int64_t lda,
                    int64_t stride_a, const double *b, int64_t ldb, int64_t stride_b, int transposed, double *c,
                    int64_t ldc, int64_t stride_c, void *workspace);

/* The lower rungs, for teaching, all without vectors: three plain loops; the same loops in cache blocks; those blocks
 * packed, with a register tile. */
void gemm_naive_f32(int isa, int threads, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                    const float *b, int64_t ldb, float *c, int64_t ldc);
void gemm_naive_f64(int isa, int threads, int64_t m, int64_t n, int64_t k, const double *a, int64_t lda,
                    const double *b, int64_t ldb, double *c, int64_t ldc);
void gemm_tiled_f32(int isa, int threads, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                    const float *b, int64_t ldb, float *c, int64_t ldc);
void gemm_tiled_f64(int isa, int threads, int64_t m, int64_t n, int64_t k, const double *a, int64_t lda,
                    const double *b, int64_t ldb, double *c, int64_t ldc);
void gemm_packed_f32(int isa, int threads, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                     const float *b, int64_t ldb, float *c, int64_t ldc);
void gemm_packed_f64(int isa, int threads, int64_t m, int64_t n, int64_t k, const double *a, int64_t lda,
                     const double *b, int64_t ldb, double *c, int64_t ldc);

/* --- y[n] = W[n,k] x[k]  and  y[n] = x[k] W[k,n] ----------------------------------------- per_isa/gemv.h */
void gemv_f32(int isa, int threads, int64_t n, int64_t k, const float *w, int64_t ldw, const float *x, float *y);
void gemv_f64(int isa, int threads, int64_t n, int64_t k, const double *w, int64_t ldw, const double *x, double *y);
int64_t gemv_t_workspace_bytes(int isa, int itemsize, int threads, int64_t n, int64_t k);
void gemv_t_f32(int isa, int threads, int64_t n, int64_t k, const float *x, const float *w, int64_t ldw, float *y,
                void *workspace);
void gemv_t_f64(int isa, int threads, int64_t n, int64_t k, const double *x, const double *w, int64_t ldw, double *y,
                void *workspace);

/* --- between the products ---------------------------------------------------------- per_isa/pointwise.h */
/* s = softmax(scale s) along n, in place; causal: row i of a matrix sees its first i + 1 + n - m columns, the rest and a
 * row that sees none become 0. scale is one element. */
void softmax_f32(int isa, int threads, int causal, int64_t batch, int64_t m, int64_t n, float *s, int64_t ld,
                 int64_t stride, const float *scale);
void softmax_f64(int isa, int threads, int causal, int64_t batch, int64_t m, int64_t n, double *s, int64_t ld,
                 int64_t stride, const double *scale);
/* y = LayerNorm(x + r + bias) gain + shift along n, eps (one element) added to the variance; r and bias may be NULL. */
void norm_f32(int isa, int threads, int64_t m, int64_t n, const float *x, int64_t ldx, const float *r, int64_t ldr,
              const float *bias, const float *gain, const float *shift, const float *eps, float *y, int64_t ldy);
void norm_f64(int isa, int threads, int64_t m, int64_t n, const double *x, int64_t ldx, const double *r, int64_t ldr,
              const double *bias, const double *gain, const double *shift, const double *eps, double *y, int64_t ldy);
/* x = GELU(x + bias), in place: with the normal distribution, or, tanh_form, GPT-2's approximation of it. */
void gelu_f32(int isa, int threads, int tanh_form, int64_t m, int64_t n, float *x, int64_t ldx, const float *bias);
void gelu_f64(int isa, int threads, int tanh_form, int64_t m, int64_t n, double *x, int64_t ldx, const double *bias);
/* x += r + bias, in place; r may be NULL. */
void add_to_f32(int isa, int threads, int64_t m, int64_t n, float *x, int64_t ldx, const float *r, int64_t ldr,
                const float *bias);
void add_to_f64(int isa, int threads, int64_t m, int64_t n, double *x, int64_t ldx, const double *r, int64_t ldr,
                const double *bias);

/* The coefficients that these use for elements of `itemsize` bytes, lowest power first: of exp() and of the normal
 * distribution's tail, see per_isa/polynomials.h. *count: how many. */
const double *exp_coefficients(int itemsize, int *count);
const double *tail_coefficients(int itemsize, int *count);

/* --- bandwidth: n doubles per array, each thread on one contiguous share ------------------ per_isa/stream.h */
enum stream_op {
    STREAM_COPY,   /* c = a     */
    STREAM_SCALE,  /* b = s c   */
    STREAM_ADD,    /* c = a + b */
    STREAM_TRIAD,  /* a = b + s c */
    STREAM_UPDATE, /* a = s a   */
    STREAM_READ    /* sums[thread] = sum of a */
};
enum stream_flavour {
    STREAM_REGULAR,     /* stores, and reads as one stream per thread */
    STREAM_NONTEMPORAL, /* stores that bypass the caches, into 64-byte aligned arrays; where isa_nontemporal() */
    STREAM_READ_2,      /* reads as 2 streams per thread */
    STREAM_READ_4,
    STREAM_READ_8
};
/* Runs the operation `passes` times over the arrays; arrays it doesn't use may be NULL. */
void stream(int isa, int threads, enum stream_op op, enum stream_flavour flavour, int64_t passes, int64_t n,
            double scalar, double *a, double *b, double *c, double *sums);
/* First touch with stream()'s schedule: x[i] = base + (i mod 1024) / 1024. */
void stream_fill(int threads, int64_t n, double *x, double base);

/* --- arithmetic ------------------------------------------------------------------------ per_isa/peak.h */
/* `iterations` rounds of one fused (or, without FMA, multiply and add) operation on every accumulator of the
 * register tile, on each thread; returns a value that depends on all of them. */
double peak_f32(int isa, int threads, int64_t iterations);
double peak_f64(int isa, int threads, int64_t iterations);
int64_t peak_flops(int isa, int itemsize); /* FLOPs of one iteration on one thread */

/* --- the machine -------------------------------------------------------------------------- host.c */
int64_t dependent_adds(int64_t count);  /* a chain of adds, one cycle each: count / seconds = clock in Hz */
/* Lets OpenMP thread t run on cpus[t * each .. t * each + each - 1]; 0, or the errno of the first failure. */
int pin_threads(int threads, int each, const int *cpus);
/* A cache line bounced between two CPUs: seconds per round trip, best of `repeats`; negative: errno. */
double ping_seconds(int cpu_a, int cpu_b, int rounds, int repeats);
int64_t cache_bytes(int level);         /* 1 (data), 2, 3: one instance's size as used for blocking */

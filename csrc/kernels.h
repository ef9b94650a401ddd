/* Ridgeline's C API. cffi reads this file as it is, so it holds structs and prototypes only.
 *
 * A kernel is one operation for one ISA and element type. A call of it is an argument struct that begins with the
 * kernel: fill it, allocate the workspace that it needs, and kernel_run() it as often as you like. Matrices are
 * row-major, sizes are in elements, ld<operand> is the distance between rows and stride_<operand> between the matrices
 * of a batch. Outputs don't overlap inputs. A kernel allocates nothing: `workspace` is 64-byte aligned and its own
 * until the call is over. threads >= 1, running is 0: kernel_run()'s own. What an operation means:
 * kernels/operations.py.
 */

/* --- what was built, what runs here ------------------------------------------------------- dispatch.c */
int isa_count(void);
const char *isa_name(int isa);    /* "generic", "avx2", ...: narrowest first */
const char *isa_extends(int isa); /* the ISA whose kernels it runs where it has none of its own, or "" */
int isa_runs(int isa);            /* does this CPU have it? */
const char *build_compiler(void);
const char *build_flags(void);
const char *build_sources(void); /* SHA-256 of csrc/ as it was */

/* One ISA and element type, as the planner sees them: see csrc/isa and csrc/types. */
struct target {
    const char *isa, *type;
    int64_t vector_bytes, registers;
    int64_t element_bytes, stored_bytes; /* of activations and sums; of a weight */
    int64_t mr, nv, free_registers;      /* the tallest register tile: rows, vectors; registers beside it and B's row */
    int64_t widest;                      /* vectors of a low tile, at most */
    int64_t skinny_rows;                 /* of A, up to which gemm runs the loops of gemm_skinny.h */
    int64_t held_rows;                   /* of A, up to which those keep its elements in registers */
    int64_t streamed_rows;               /* of A, up to which a row tile prefetches nothing of packed B */
    int64_t rows_per_step;               /* of B, in those loops */
    int64_t nontemporal;                 /* has it stores that bypass the caches? */
    int64_t chains, products;            /* of the peak probe: independent ones; multiply-adds of a lane in a step */
    int64_t weight_bits, group, scale_bytes, block_k; /* of linear's weights: see csrc/types/f32.h */
    const void *tiles; /* of an ISA, by type: those of microkernel.h that linear shares */
};

struct kernel {
    const char *operation; /* as kernels/operations.py names it; and pack, pack_linear, peak */
    const char *arguments; /* the tag of its argument struct */
    const struct target *target;
    void (*run)(const void *arguments);
    int64_t (*workspace_bytes)(const void *arguments);
};
int kernel_count(void);
const struct kernel *kernel_at(int index);

/* Both take an argument struct, whose first members are the kernel, threads and running. kernel_run() returns 0, or,
 * with nothing computed, EBUSY: another thread runs the call with the same struct, EDEADLK: see forked_team(), or what
 * can_start() returns. Of workspace_bytes: all but pointers is filled in. */
int kernel_run(void *arguments);
/* kernel_run() of `count` argument structs in turn, up to the first that returns an error, which it returns.
 * seconds[i]: what call i took, from the end of the one before. */
int kernel_run_all(void *const *arguments, int64_t count, double *seconds);
int64_t kernel_workspace_bytes(const void *arguments);

/* --- argument structs, by the operands' names in kernels/operations.py ---------------------------------- */
struct gemm { /* gemm, gemm_prepacked (b is packed, no ldb), gemm_packed, gemm_tiled, gemm_naive */
    const struct kernel *kernel;
    int64_t threads, running, m, n, k;
    const void *a, *b;
    void *c;
    int64_t lda, ldb, ldc;
    void *workspace;
};
struct pack { /* b[k,n] as gemm_prepacked reads it: packed_elements() */
    const struct kernel *kernel;
    int64_t threads, running, n, k;
    const void *b;
    void *packed;
    int64_t ldb;
};
struct gemm_batch { /* gemm_batch, gemm_batch_t; matrices may interleave */
    const struct kernel *kernel;
    int64_t threads, running, batch, m, n, k;
    const void *a, *b;
    void *c;
    int64_t lda, ldb, ldc, stride_a, stride_b, stride_c;
    void *workspace;
};
struct gemv { /* gemv: y = w x, gemv_t: y = x w */
    const struct kernel *kernel;
    int64_t threads, running, n, k;
    const void *w, *x;
    void *y;
    int64_t ldw;
    void *workspace;
};
struct linear { /* linear, linear_a8, linear_a16: w is packed */
    const struct kernel *kernel;
    int64_t threads, running, m, n, k;
    const void *x, *w;
    void *y;
    int64_t ldx, ldy;
    void *workspace;
};
struct pack_linear { /* w[n,k] as linear reads it: strips of plan_linear(); ldw in stored items */
    const struct kernel *kernel;
    int64_t threads, running, n, k;
    const void *w;
    void *packed;
    int64_t ldw;
};
struct sparse { /* gemv_bitmap, gemv_2_4, gemv_csr, gemv_csr16: y = w x, w packed by kernels/sparse.py */
    const struct kernel *kernel;
    int64_t threads, running, n, k;
    const void *w, *x;
    void *y;
};
struct softmax { /* softmax, softmax_causal: in place */
    const struct kernel *kernel;
    int64_t threads, running, batch, m, n;
    void *s;
    int64_t lds, stride_s;
    const void *scale;
};
struct norm { /* layer_norm (no r, no bias), residual_norm */
    const struct kernel *kernel;
    int64_t threads, running, m, n;
    const void *x, *r, *bias, *gain, *shift, *eps;
    void *y;
    int64_t ldx, ldr, ldy;
};
struct rows { /* gelu, gelu_tanh, bias (no r), residual: in place */
    const struct kernel *kernel;
    int64_t threads, running, m, n;
    void *x;
    const void *r, *bias;
    int64_t ldx, ldr;
};
struct copy_rows { /* y = x; matrices may interleave */
    const struct kernel *kernel;
    int64_t threads, running, batch, m, n;
    const void *x;
    void *y;
    int64_t ldx, ldy, stride_x, stride_y;
};
struct embed { /* y = a row of table */
    const struct kernel *kernel;
    int64_t threads, running, n, k;
    const void *table, *i;
    void *y;
    int64_t ldtable;
};
struct argmax {
    const struct kernel *kernel;
    int64_t threads, running, n;
    const void *x;
    void *i;
};
struct stream { /* STREAM's operations and reads, `passes` times over n elements; s: the sum that a read makes */
    const struct kernel *kernel;
    int64_t threads, running, passes, n;
    double scalar;
    void *a, *b, *c, *s;
    void *workspace;
};
struct peak { /* `iterations` of 2 * chains * lanes * products operations on each thread: total depends on all */
    const struct kernel *kernel;
    int64_t threads, running, iterations;
    double *total;
};

/* --- planning: block sizes, thread grids, workspaces ---------------------------------------------- plan.c */
struct caches { /* bytes; of L3 one instance, as blocks are sized for it */
    int64_t l1, l2, l3;
};
struct gemm_plan {
    int64_t kc, mc, nc;        /* block sizes: k, m, n */
    int64_t width, unit;       /* columns of a tile; in which columns are dealt out to threads */
    int64_t panels;            /* tile's widths of B that a thread keeps */
    int64_t a_block, b_thread; /* workspace, in elements: one block of A (there are two), one thread's panels */
    int64_t across, down;      /* grid of threads over the columns and the row tiles of a block */
    int64_t blocks;            /* of A that are packed, one after another */
};
struct skinny_plan {
    int64_t across, down;   /* grid of threads over the columns and the rows of B */
    int64_t columns, apart; /* of B whose sums fit L2; elements from one row of sums to the next */
    int64_t a_packed;       /* workspace, in elements: A, then */
    int64_t sums_thread;    /* one thread's sums */
};
struct batch_plan {
    int64_t kc, nc, b_thread; /* a block of B: kc x nc, packed: b_thread elements, of each thread */
};
struct linear_plan {
    int64_t k, strips;     /* k in whole blocks and groups; strips of n, a vector's lanes of rows each */
    int64_t scales, strip; /* bytes of a strip's scales, and of all of it, in whole cache lines */
};
struct linear_plan plan_linear(const struct target *target, int64_t n, int64_t k);
int64_t plan_tile_vectors(const struct target *target, int64_t rows); /* of a tile of so many rows */
int64_t plan_tile_start(int64_t rows, int64_t tiles, int64_t tile);   /* of `rows` rows spread over tiles: its first */
struct gemm_plan plan_gemm(const struct target *target, const struct caches *caches, int64_t threads, int packed,
                           int64_t m, int64_t n, int64_t k);
struct skinny_plan plan_gemm_skinny(const struct target *target, const struct caches *caches, int64_t threads,
                                    int64_t m, int64_t n, int64_t k);
struct batch_plan plan_gemm_batch(const struct target *target, const struct caches *caches, int64_t m, int64_t n,
                                  int64_t k);
int64_t plan_gemv_t(const struct target *target, int64_t n); /* elements of workspace per thread */
int64_t plan_gemm_workspace(const struct target *target, const struct caches *caches, int64_t threads, int packed,
                            int64_t m, int64_t n, int64_t k); /* bytes, for a team of any size up to threads */
/* ceil(n / lanes) strips of k x lanes, lanes a vector's elements; the last one zero-padded */
int64_t packed_elements(const struct target *target, int64_t n, int64_t k);

/* Coefficients of the pointwise kernels for elements of so many bytes, lowest power first: of exp() and of the normal
 * distribution's tail, see per_isa/polynomials.h. *count: how many. */
const double *exp_coefficients(int element_bytes, int *count);
const double *tail_coefficients(int element_bytes, int *count);

/* --- the machine ----------------------------------------------------------------------------- host.c */
const struct caches *host_caches(void);               /* of the first CPU that this process may use */
int64_t cache_bytes(int level);                       /* 1 (data), 2, 3: one instance's size as used for blocking */
struct caches read_caches(const char *root, int cpu); /* a CPU's, as root/sys tells; small ones where it doesn't */
int64_t dependent_adds(int64_t count); /* a chain of adds, one cycle each: count / seconds = clock in Hz */
/* 0, or the errno with which one of so many threads, this one included, can't be made: OpenMP would end the process. */
int can_start(int threads);
int team_started(int threads); /* the size of OpenMP's team if it is asked for so many; 0 where that may change */
/* Is this a child forked from a thread that had a team? OpenMP would wait for its other threads, which aren't here. */
int forked_team(void);
int bound_places(void); /* to which OpenMP's runtime binds threads, as it was told to; 0: it doesn't */
/* Lets OpenMP thread t run on cpus[t * each .. t * each + each - 1]; 0, or the errno of the first failure. */
int pin_threads(int threads, int each, const int *cpus);
/* CPU seconds so far of the threads that pin_threads() pinned last, at most `most` of them, into used[]; how many. */
int team_seconds(int most, double *used);
/* A cache line bounced between two CPUs: seconds per round trip, best of `repeats`; negative: errno. */
double ping_seconds(int cpu_a, int cpu_b, int rounds, int repeats);
/* First touch by the threads that the STREAM kernels give each element to: x[i] = base + (i mod 1024) / 1024. 0 or an
 * errno, as of kernel_run(). */
int stream_fill(int threads, int64_t n, double *x, double base);

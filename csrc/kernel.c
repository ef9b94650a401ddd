/* Compiled once per ISA and element type, with -DISA=<name> -DTYPE=<name> and that ISA's flags. Everything included
 * here is static: the one symbol exported is the table kernels_<ISA>_<TYPE>, so no instruction of a wide ISA can end up
 * in a narrower path. EXTENSION: of an ISA that extends another, which has what isn't here. */
#include <omp.h>
#include <stdalign.h>
#include <stddef.h>
#include <string.h>

#include "plan.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define TABLE_(isa, type) kernels_##isa##_##type
#define TABLE(isa, type) TABLE_(isa, type)
#define STRING_(a) #a
#define STRING(a) STRING_(a)

/* clang-format off */
#include STRING(isa/ISA.h)
#include STRING(types/TYPE.h)
/* clang-format on */

_Static_assert(NV + MR * NV + FREE_REGISTERS <= REGISTERS && FREE_REGISTERS >= 1 + !HAS_FMA,
               "the tile exceeds the register file");

#define ROWS_PER_STEP 4 /* of B in gemm_skinny.h: as many streams as gemv's, a quarter of k apart */

#if BF16 && defined DOT_HALVES
#define PRODUCTS_OF_HALVES 1
#endif
#if ARITHMETIC || INTEGER || PRODUCTS_OF_HALVES
#include "per_isa/peak.h"
#endif

#if ARITHMETIC || (INTEGER && !EXTENSION)
#include "per_isa/microkernel.h"
#endif

static const struct target target = {
    .isa = STRING(ISA),
    .type = STRING(TYPE),
    .vector_bytes = VECTOR_BYTES,
    .registers = REGISTERS,
    .element_bytes = sizeof(T),
    .stored_bytes = sizeof(stored),
    .mr = MR,
    .nv = NV,
    .free_registers = FREE_REGISTERS,
    .widest = WIDEST,
    .skinny_rows = SKINNY_ROWS,
    .held_rows = HELD_ROWS,
    .streamed_rows = STREAMED_ROWS,
    .rows_per_step = ROWS_PER_STEP,
    .nontemporal = NONTEMPORAL,
#if ARITHMETIC || INTEGER || PRODUCTS_OF_HALVES
    .chains = PEAK_CHAINS,
    .products = PRODUCTS,
#endif
#if ARITHMETIC
    .tiles = ap_bp_tile,
#endif
#if LINEAR
    .weight_bits = WEIGHT_BITS,
    .group = GROUP,
    .scale_bytes = SCALE_BYTES,
    .block_k = BLOCK_K,
#endif
};

static int64_t no_workspace(const void *arguments) { return (void)arguments, 0; }

#if PLAIN
#include "per_isa/gemv.h"
#endif
#if LINEAR
#include "per_isa/packing.h"
#include "per_isa/linear/order.h"
#if INTEGER && !EXTENSION
#include "per_isa/gemm.h"
#endif
#include "per_isa/linear/linear.h"
#endif
#if BF16
#include "per_isa/linear/linear_a16.h"
#endif
#if INTEGER
#include "per_isa/linear/linear_a8.h"
#endif
#if ARITHMETIC
#include "per_isa/packing.h"
#include "per_isa/gemm_skinny.h"
#include "per_isa/gemm.h"
#include "per_isa/gemm_batch.h"
#include "per_isa/gemm_scalar.h"
#include "per_isa/polynomials.h"
#include "per_isa/pointwise.h"
#endif
#if SPARSE
#include "per_isa/sparse.h"
#endif
#if STREAM
#include "per_isa/stream.h"
#endif

/* What takes any argument struct, for each row: cast, and no more. */
#define KERNEL(name, arguments, workspace)                                                                             \
    static void call_##name(const void *x) { run_##name((const struct arguments *)x); }                                \
    static int64_t bytes_##name(const void *x) { return workspace((const struct arguments *)x); }
#include "kernels.def"
#undef KERNEL

const struct kernel TABLE(ISA, TYPE)[] = {
#define KERNEL(name, arguments, workspace) {#name, #arguments, &target, call_##name, bytes_##name},
#include "kernels.def"
#undef KERNEL
    {NULL, NULL, NULL, NULL, NULL},
};

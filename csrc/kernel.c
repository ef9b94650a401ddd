/* Compiled once per ISA, with -DISA=<name> -DISA_<name> and that ISA's flags. Everything included here is static:
 * the one symbol that leaves is isa_<name>, so no instruction of a wide ISA can end up in a narrower path. */
#include <omp.h>
#include <stdalign.h>
#include <stddef.h>
#include <string.h>
#if defined __x86_64__
#include <immintrin.h>
#endif

#include "isa.h"

_Static_assert(MR * NV + NV + SPARE <= REGISTERS && SPARE >= 1 + !HAS_FMA, "the tile doesn't fit the register file");

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define STRING_(a) #a
#define STRING(a) STRING_(a)

#include "per_isa/polynomials.h"

#define T float
#define F(name) name##_f32
#include "per_isa/vector.h"
#include "per_isa/microkernel.h"
#include "per_isa/gemm_skinny.h"
#include "per_isa/gemm.h"
#include "per_isa/gemv.h"
#include "per_isa/gemm_batch.h"
#include "per_isa/pointwise.h"
#include "per_isa/gemm_scalar.h"
#include "per_isa/peak.h"
#undef T
#undef F

#define T double
#define F(name) name##_f64
#include "per_isa/vector.h"
#include "per_isa/microkernel.h"
#include "per_isa/gemm_skinny.h"
#include "per_isa/gemm.h"
#include "per_isa/gemv.h"
#include "per_isa/gemm_batch.h"
#include "per_isa/pointwise.h"
#include "per_isa/gemm_scalar.h"
#include "per_isa/peak.h"
#include "per_isa/stream.h"

#define ENTRIES(dtype)                                                                                                \
    .gemm_##dtype = plain_##dtype, .pack_##dtype = pack_b_##dtype, .gemm_prepacked_##dtype = prepacked_##dtype,       \
    .gemm_batch_##dtype = batched_##dtype, .gemm_batch_workspace_bytes_##dtype = batch_workspace_bytes_##dtype,      \
    .gemm_naive_##dtype = naive_##dtype, .gemm_tiled_##dtype = tiled_##dtype, .gemm_packed_##dtype = packed_##dtype,  \
    .gemv_##dtype = gemv_rows_##dtype, .gemv_t_##dtype = gemv_columns_##dtype,                                        \
    .softmax_##dtype = softmax_rows_##dtype, .norm_##dtype = norm_rows_##dtype, .gelu_##dtype = gelu_rows_##dtype,    \
    .add_to_##dtype = add_to_rows_##dtype,                                                                            \
    .gemm_workspace_bytes_##dtype = workspace_bytes_##dtype,                                                          \
    .peak_##dtype = fma_chains_##dtype

const struct isa PASTE(isa_, ISA) = {
    .name = STRING(ISA),
    .vector_bytes = VECTOR_BYTES,
    .nontemporal = NONTEMPORAL,
    .mr = MR,
    .nv = NV,
    ENTRIES(f32),
    ENTRIES(f64),
    .stream = stream_passes,
};

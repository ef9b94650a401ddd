/* Which kernels were compiled in, which ISAs run here, and the call of one. */
#include <errno.h>
#include <stddef.h>

#if defined __aarch64__ && defined __linux__
#include <sys/auxv.h>
#endif

#include "plan.h"
#include "built.h"
#include "per_isa/polynomials.h"

/* built.def, made by CMake: ISA_ROW(name, which it extends, whether this CPU has it), narrowest first; TABLE(isa,
 * type).
 */
#define ISA_ROW(name, extends, runs)
#define TABLE(isa, type) extern const struct kernel kernels_##isa##_##type[];
#include "built.def"
#undef TABLE

static const struct kernel *const tables[] = {
#define TABLE(isa, type) kernels_##isa##_##type,
#include "built.def"
#undef TABLE
};
#undef ISA_ROW

#define TABLE(isa, type)
#define ISA_ROW(name, extends, runs) {#name, #extends},
static const struct {
    const char *name, *extends;
} isas[] = {
#include "built.def"
};
#undef ISA_ROW

int isa_count(void) { return sizeof isas / sizeof *isas; }
const char *isa_name(int isa) { return isas[isa].name; }
const char *isa_extends(int isa) { return isas[isa].extends; }
int isa_runs(int isa) {
#define ISA_ROW(name, extends, runs) (runs) != 0,
    const int here[] = {
#include "built.def"
    };
    return here[isa];
}

const struct kernel *kernel_at(int index) {
    for (int i = 0; i < (int)(sizeof tables / sizeof *tables); i++)
        for (const struct kernel *kernel = tables[i]; kernel->operation; kernel++)
            if (index-- == 0) return kernel;
    return 0;
}
int kernel_count(void) {
    int count = 0;
    while (kernel_at(count)) count++;
    return count;
}

/* How every argument struct begins. */
struct head {
    const struct kernel *kernel;
    int64_t threads, running;
};
#define PLAIN 1
#define ARITHMETIC 1
#define LINEAR 1
#define BF16 1
#define INTEGER 1
#define STREAM 1
#define NONTEMPORAL 1
#define SPARSE 1
#define KERNEL(name, arguments, workspace)                                                                             \
    _Static_assert(offsetof(struct arguments, threads) == offsetof(struct head, threads) &&                            \
                       offsetof(struct arguments, running) == offsetof(struct head, running),                          \
                   "another beginning of an argument struct");
#include "kernels.def"
#undef KERNEL

int kernel_run(void *arguments) {
    struct head *head = arguments;
    if (__atomic_exchange_n(&head->running, 1, __ATOMIC_ACQUIRE)) return EBUSY;
    const int error = enter_team(head->threads);
    if (!error) head->kernel->run(arguments);
    __atomic_store_n(&head->running, 0, __ATOMIC_RELEASE);
    return error;
}
int kernel_run_all(void *const *arguments, int64_t count, double *seconds) {
    double before = now_seconds();
    for (int64_t i = 0; i < count; i++) {
        const int error = kernel_run(arguments[i]);
        if (error) return error;
        const double now = now_seconds();
        seconds[i] = now - before;
        before = now;
    }
    return 0;
}
int64_t kernel_workspace_bytes(const void *arguments) {
    return ((const struct head *)arguments)->kernel->workspace_bytes(arguments);
}

const double *exp_coefficients(int element_bytes, int *count) {
    *count = EXP_TERMS(element_bytes == sizeof(float));
    return EXP;
}
const double *tail_coefficients(int element_bytes, int *count) {
    *count = element_bytes == sizeof(float) ? TERMS(TAIL_SHORT) : TERMS(TAIL_LONG);
    return element_bytes == sizeof(float) ? TAIL_SHORT : TAIL_LONG;
}

const char *build_compiler(void) { return COMPILER; }
const char *build_flags(void) { return FLAGS; }
const char *build_sources(void) { return SOURCES; }

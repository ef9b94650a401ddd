/* Which kernels were compiled in, which ISAs run here, and the call of one. */
#include "plan.h"
#include "built.h"
#include "per_isa/polynomials.h"

/* built.def, made by CMake: ISA_ROW(name, whether this CPU has it), narrowest first; TABLE(isa, type). */
#define ISA_ROW(name, runs)
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
#define ISA_ROW(name, runs) #name,
static const char *const names[] = {
#include "built.def"
};
#undef ISA_ROW

int isa_count(void) { return sizeof names / sizeof *names; }
const char *isa_name(int isa) { return names[isa]; }
int isa_runs(int isa) {
#define ISA_ROW(name, runs) (runs) != 0,
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

static const struct kernel *kernel_of(const void *arguments) { return *(const struct kernel *const *)arguments; }
void kernel_run(const void *arguments) { kernel_of(arguments)->run(arguments); }
int64_t kernel_workspace_bytes(const void *arguments) { return kernel_of(arguments)->workspace_bytes(arguments); }

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

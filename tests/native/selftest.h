/* What the self-test's parts share. It links the kernels alone, no Python: so it runs under sanitizers and emulators.
 */
#ifndef SELFTEST_H
#define SELFTEST_H

#include <stdint.h>

#include "kernels.h"

/* --- memory between two pages that may not be touched ------------------------------------------- guarded.c */
#define UNTOUCHED 0xff /* every byte that is no element; elements of such bytes are NaN */
#define ALIGNED 64     /* bytes: workspaces, packed weights, and what non-temporal stores write */

struct guarded {
    unsigned char *pages, *copy; /* between the guard pages; and what was in them before the call */
    int64_t size, bytes;         /* of the pages; of what was asked for */
    unsigned char *at;
    int taken;
    struct guarded *next;
};

/* `bytes` bytes flush with the guard page behind them, as far as `align` allows, or with that before them. */
struct guarded *guarded_take(int64_t bytes, int at_end, int64_t align);
void guarded_release_all(void);
/* AddressSanitizer's poison: reads of what lies between rows and beside an operand, too, end the process. */
void poison(const void *at, int64_t bytes);
void unpoison(const void *at, int64_t bytes);
/* Address space whose pages appear where they are touched; NULL where there isn't so much of it. */
void *sparse_take(int64_t bytes);
void sparse_release_all(void);

/* --- a call: its operands in memory, and what it has to compute -------------------------------- operands.c */
struct place {
    int at_end;     /* operands end where a guard page begins; otherwise they begin where one ends */
    int64_t apart;  /* elements from the end of a row to the next one */
    int interleave; /* row i of every matrix of a batch lies beside the others, as attention's heads do */
    int far;        /* 1: rows, 2: matrices so far apart that offsets exceed 2^32 elements */
};

struct operand {
    struct guarded *memory; /* NULL: sparse */
    unsigned char *at;
    int64_t batch, rows, columns, ld, stride, element_bytes;
    int64_t items;            /* in memory of a row: its columns, unless weights are only stored */
    const unsigned char *raw; /* those, rows x items, where values are what they mean */
    double *values;           /* before the call: batch x rows x columns */
    int written;
};

/* Weights that are only stored: rows x columns. ---------------------------------------------------- stored.c */
struct weights {
    unsigned char *raw, *packed; /* as they are stored; and as linear reads them, strips of one after another */
    double *values;              /* what they mean */
    int64_t items, strips, strip;
};

struct call {
    const struct kernel *kernel;
    int64_t batch, m, n, k, threads;
    struct place place;
    struct operand operands[8], *output; /* in the order of the struct's pointers, absent ones left out */
    int count;
    struct guarded *workspace;
    struct weights weights;
    union {
        struct gemm gemm;
        struct pack pack;
        struct gemm_batch gemm_batch;
        struct copy_rows copy_rows;
        struct embed embed;
        struct argmax argmax;
        struct gemv gemv;
        struct linear linear;
        struct pack_linear pack_linear;
        struct sparse sparse;
        struct softmax softmax;
        struct norm norm;
        struct rows rows;
        struct stream stream;
        struct peak peak;
    } arguments;
};

int is_called(const struct call *call, const char *operation); /* the kernel's operation, or its beginning before "*" */
int prepare(struct call *call);                                /* 0: there is not so much address space */
const char *examine(struct call *call);                        /* what is wrong, or NULL */
void finish(struct call *call);
double random_value(void); /* in (-1, 1), with 24 bits: a float has them all */
void make_weights(const struct target *target, int64_t rows, int64_t columns, struct weights *weights);
/* As linear reads them: packed by the target's own kernel, from rows without gaps by one thread. */
void pack_weights(const struct target *target, int64_t rows, int64_t columns, struct weights *weights);

/* w[n,k] without its zeros, as the operation reads it: one strip of so many bytes. ------------------------ sparse.c */
void make_sparse(const struct kernel *kernel, int64_t n, int64_t k, struct weights *weights);

/* --- operations in double, by their definitions ---------------------------------------------- definitions.c */
static inline double value(const struct operand *x, int64_t g, int64_t i, int64_t j) {
    return x->values[(g * x->rows + i) * x->columns + j];
}
/* Row i of matrix g of the output, and how far off each element may be. */
void define(const struct call *call, int64_t g, int64_t i, double *y, double *bound);

#endif

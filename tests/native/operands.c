/* Operands as a call of csrc/kernels.h wants them, laid out where a byte too many is noticed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "selftest.h"

#define BEYOND ((int64_t)1 << 32) /* elements: neither int nor unsigned counts so far */

int is_called(const struct call *call, const char *operation) {
    const size_t length = strlen(operation);
    if (operation[length - 1] == '*') return !strncmp(call->kernel->operation, operation, length - 1);
    return !strcmp(call->kernel->operation, operation);
}

static unsigned char *element(const struct operand *x, int64_t g, int64_t i, int64_t j) {
    return x->at + (g * x->stride + i * x->ld + j) * x->element_bytes;
}
static double get(const struct operand *x, int64_t g, int64_t i, int64_t j) {
    float single;
    double twice;
    if (x->element_bytes == 1) return *element(x, g, i, j);
    memcpy(&single, element(x, g, i, j), sizeof single);
    if (x->element_bytes == sizeof single) return single;
    memcpy(&twice, element(x, g, i, j), sizeof twice);
    return twice;
}
static void put(const struct operand *x, int64_t g, int64_t i, int64_t j, double v) {
    const float single = (float)v;
    if (x->element_bytes == 1) *element(x, g, i, j) = (unsigned char)v;
    else if (x->element_bytes == sizeof single) memcpy(element(x, g, i, j), &single, sizeof single);
    else memcpy(element(x, g, i, j), &v, sizeof v);
}

static int64_t row_bytes(const struct operand *x) { return x->items * x->element_bytes; }

/* As before the call: what is read has its values, an output is UNTOUCHED. */
static void fill(const struct operand *x) {
    for (int64_t g = 0; g < x->batch; g++)
        for (int64_t i = 0; i < x->rows; i++)
            if (x->raw) memcpy(element(x, g, i, 0), x->raw + i * row_bytes(x), (size_t)row_bytes(x));
            else if (x->values)
                for (int64_t j = 0; j < x->columns; j++) put(x, g, i, j, value(x, g, i, j));
            else memset(element(x, g, i, 0), UNTOUCHED, (size_t)row_bytes(x));
}

static void only_elements(const struct operand *x, int open) { /* for AddressSanitizer */
    if (!x->memory) return;
    (open ? unpoison : poison)(x->memory->pages, x->memory->size);
    for (int64_t g = 0; g < x->batch; g++)
        for (int64_t i = 0; i < x->rows; i++) unpoison(element(x, g, i, 0), row_bytes(x));
}

enum { READ, WRITTEN, CHANGED };

/* Memory for the next operand, of items of `size` bytes; ld and stride come from the place. Packed ones are contiguous
 * and aligned. */
static struct operand *placed(struct call *call, int64_t batch, int64_t rows, int64_t columns, int64_t size,
                              int64_t align, int packed) {
    const struct place place = call->place;
    struct operand *x = &call->operands[call->count++];
    const int64_t apart = packed ? 0 : place.apart;
    const int interleave = place.interleave && batch > 1;
    *x = (struct operand){.batch = batch, .rows = rows, .columns = columns, .items = columns, .element_bytes = size};
    x->ld = (columns + apart) * (interleave ? batch : 1);
    if (place.far == 1 && rows > 1 && !packed) x->ld = BEYOND / (rows - 1) + columns;
    x->stride = interleave ? columns + apart : rows * x->ld;
    if (place.far == 2 && batch > 1) x->stride = BEYOND / (batch - 1) + columns;

    const int64_t bytes = ((batch - 1) * x->stride + (rows - 1) * x->ld + columns) * size;
    if (place.far) x->at = sparse_take(bytes);
    else {
        x->memory =
            guarded_take(bytes, place.at_end, packed || strstr(call->kernel->operation, "_nt") ? ALIGNED : align);
        x->at = x->memory->at;
    }
    return x;
}

static struct operand *operand(struct call *call, int role, int64_t batch, int64_t rows, int64_t columns, int packed) {
    const int64_t size = call->kernel->target->element_bytes;
    struct operand *x = placed(call, batch, rows, columns, size, size, packed);
    if (role != WRITTEN) x->values = malloc((size_t)(batch * rows * columns) * sizeof(double));
    for (int64_t i = 0; x->values && i < batch * rows * columns; i++) x->values[i] = random_value();
    if (role != READ) x->written = 1, call->output = x;
    return x;
}

static void *in(struct call *call, int64_t batch, int64_t rows, int64_t columns) {
    return operand(call, READ, batch, rows, columns, 0)->at;
}
static void *out(struct call *call, int64_t batch, int64_t rows, int64_t columns) {
    return operand(call, WRITTEN, batch, rows, columns, 0)->at;
}
static void *in_out(struct call *call, int64_t batch, int64_t rows, int64_t columns) {
    return operand(call, CHANGED, batch, rows, columns, 0)->at;
}
static void *positive(struct call *call) { /* a scale, or what keeps a variance from being 0 */
    struct operand *x = operand(call, READ, 1, 1, 1, 0);
    *x->values = (float)(0.125 + fabs(*x->values)); /* of every type */
    return x->at;
}

/* b[k,n] of gemm_prepacked: strips of k rows of one vector, the last one padded with zeros. */
static void *strips(struct call *call) {
    const int64_t lanes = call->kernel->target->vector_bytes / call->kernel->target->element_bytes;
    const int64_t count = packed_elements(call->kernel->target, call->n, call->k) / lanes;
    struct operand *x = operand(call, is_called(call, "pack") ? WRITTEN : READ, 1, count, lanes, 1);
    for (int64_t r = 0; x->values && r < count; r++)
        for (int64_t l = 0; l < lanes; l++)
            if (r / call->k * lanes + l >= call->n) x->values[r * lanes + l] = 0;
    return x->at;
}

/* w[rows,columns] of gemv's weights and of pack_linear. */
static void *weights(struct call *call, int64_t rows, int64_t columns) {
    const struct target *target = call->kernel->target;
    const int64_t size = target->stored_bytes;
    if (size == target->element_bytes) return in(call, 1, rows, columns);
    struct weights *of = &call->weights;
    make_weights(target, rows, columns, of);
    struct operand *x = placed(call, 1, rows, of->items, size, size % 2 ? 1 : 2, 0);
    x->columns = columns, x->raw = of->raw, x->values = of->values, of->values = NULL;
    return x->at;
}

/* What pack_linear makes of w[n,k], a byte each: linear's weights; and those without their zeros. */
static void *packed_weights(struct call *call, int role) {
    struct weights *of = &call->weights;
    if (!strcmp(call->kernel->arguments, "sparse")) make_sparse(call->kernel, call->n, call->k, of);
    else if (role == READ) make_weights(call->kernel->target, call->n, call->k, of);
    if (!of->packed) pack_weights(call->kernel->target, call->n, call->k, of);
    struct operand *x = placed(call, 1, of->strips, of->strip, 1, 1, 1);
    if (role == WRITTEN) x->written = 1, call->output = x;
    else x->raw = of->packed;
    return x->at;
}

static int64_t ld(const struct call *call, int index) { return call->operands[index].ld; }
static int64_t stride(const struct call *call, int index) { return call->operands[index].stride; }

/* The arrays of a STREAM operation: those that it reads, in the order of its formula, and the one that it writes. */
static void stream_arrays(struct call *call, struct stream *x) {
    static const char *const arrays[][2] = {{"copy*", "ac"},   {"scale*", "cb"}, {"add*", "abc"},
                                            {"triad*", "bca"}, {"update", "a"},  {"read*", "as"}};
    void **const fields[] = {&x->a, &x->b, &x->c};
    int row = 0;
    while (!is_called(call, arrays[row][0])) row++;
    const char *letter = arrays[row][1];
    if (!letter[1]) x->a = in_out(call, 1, 1, call->n);
    for (; letter[1]; letter++) *fields[*letter - 'a'] = in(call, 1, 1, call->n);
    if (*letter == 's') x->s = out(call, 1, 1, 1);
    else if (!is_called(call, "update")) *fields[*letter - 'a'] = out(call, 1, 1, call->n);
}

int prepare(struct call *call) {
    const struct kernel *kernel = call->kernel;
    const int64_t batch = call->batch, m = call->m, n = call->n, k = call->k, threads = call->threads;
    const char *tag = kernel->arguments;
    void **workspace = NULL;
    call->count = 0, call->workspace = NULL, call->weights = (struct weights){0};
    memset(&call->arguments, 0, sizeof call->arguments);
    if (!strcmp(tag, "gemm")) {
        struct gemm *x = &call->arguments.gemm;
        *x = (struct gemm){.kernel = kernel, .threads = threads, .m = m, .n = n, .k = k};
        x->a = in(call, 1, m, k), x->b = is_called(call, "gemm_prepacked") ? strips(call) : in(call, 1, k, n);
        x->c = out(call, 1, m, n), x->lda = ld(call, 0), x->ldb = ld(call, 1), x->ldc = ld(call, 2);
        workspace = &x->workspace;
    } else if (!strcmp(tag, "pack")) {
        struct pack *x = &call->arguments.pack;
        *x = (struct pack){.kernel = kernel, .threads = threads, .n = n, .k = k};
        x->b = in(call, 1, k, n), x->packed = strips(call), x->ldb = ld(call, 0);
    } else if (!strcmp(tag, "gemm_batch")) {
        struct gemm_batch *x = &call->arguments.gemm_batch;
        const int turned = is_called(call, "gemm_batch_t");
        *x = (struct gemm_batch){.kernel = kernel, .threads = threads, .batch = batch, .m = m, .n = n, .k = k};
        x->a = in(call, batch, m, k), x->b = in(call, batch, turned ? n : k, turned ? k : n);
        x->c = out(call, batch, m, n), x->lda = ld(call, 0), x->ldb = ld(call, 1), x->ldc = ld(call, 2);
        x->stride_a = stride(call, 0), x->stride_b = stride(call, 1), x->stride_c = stride(call, 2);
        workspace = &x->workspace;
    } else if (!strcmp(tag, "gemv")) {
        struct gemv *x = &call->arguments.gemv;
        const int turned = is_called(call, "gemv_t");
        *x = (struct gemv){.kernel = kernel, .threads = threads, .n = n, .k = k};
        x->w = weights(call, turned ? k : n, turned ? n : k), x->x = in(call, 1, 1, k), x->y = out(call, 1, 1, n);
        x->ldw = ld(call, 0), workspace = &x->workspace;
    } else if (!strcmp(tag, "linear")) {
        struct linear *x = &call->arguments.linear;
        *x = (struct linear){.kernel = kernel, .threads = threads, .m = m, .n = n, .k = k};
        x->x = in(call, 1, m, k), x->w = packed_weights(call, READ), x->y = out(call, 1, m, n);
        x->ldx = ld(call, 0), x->ldy = ld(call, 2), workspace = &x->workspace;
    } else if (!strcmp(tag, "pack_linear")) {
        struct pack_linear *x = &call->arguments.pack_linear;
        *x = (struct pack_linear){.kernel = kernel, .threads = threads, .n = n, .k = k};
        x->w = weights(call, n, k), x->packed = packed_weights(call, WRITTEN), x->ldw = ld(call, 0);
    } else if (!strcmp(tag, "sparse")) {
        struct sparse *x = &call->arguments.sparse;
        *x = (struct sparse){.kernel = kernel, .threads = threads, .n = n, .k = k};
        x->w = packed_weights(call, READ), x->x = in(call, 1, 1, k), x->y = out(call, 1, 1, n);
    } else if (!strcmp(tag, "softmax")) {
        struct softmax *x = &call->arguments.softmax;
        *x = (struct softmax){.kernel = kernel, .threads = threads, .batch = batch, .m = m, .n = n};
        x->s = in_out(call, batch, m, n), x->scale = positive(call), x->lds = ld(call, 0),
        x->stride_s = stride(call, 0);
    } else if (!strcmp(tag, "embed")) {
        struct embed *x = &call->arguments.embed;
        *x = (struct embed){.kernel = kernel, .threads = threads, .n = n, .k = k};
        x->table = in(call, 1, n, k), x->i = positive(call), x->y = out(call, 1, 1, k), x->ldtable = ld(call, 0);
    } else if (!strcmp(tag, "argmax")) {
        struct argmax *x = &call->arguments.argmax;
        *x = (struct argmax){.kernel = kernel, .threads = threads, .n = n};
        x->x = in(call, 1, 1, n), x->i = out(call, 1, 1, 1);
    } else if (!strcmp(tag, "copy_rows")) {
        struct copy_rows *x = &call->arguments.copy_rows;
        *x = (struct copy_rows){.kernel = kernel, .threads = threads, .batch = batch, .m = m, .n = n};
        x->x = in(call, batch, m, n), x->y = out(call, batch, m, n), x->ldx = ld(call, 0), x->ldy = ld(call, 1);
        x->stride_x = stride(call, 0), x->stride_y = stride(call, 1);
    } else if (!strcmp(tag, "norm")) {
        struct norm *x = &call->arguments.norm;
        *x = (struct norm){.kernel = kernel, .threads = threads, .m = m, .n = n};
        x->x = in(call, 1, m, n), x->ldx = ld(call, 0);
        if (is_called(call, "residual_norm"))
            x->r = in(call, 1, m, n), x->bias = in(call, 1, 1, n), x->ldr = ld(call, 1);
        x->gain = in(call, 1, 1, n), x->shift = in(call, 1, 1, n), x->eps = positive(call);
        x->y = out(call, 1, m, n), x->ldy = call->output->ld;
    } else if (!strcmp(tag, "rows")) {
        struct rows *x = &call->arguments.rows;
        *x = (struct rows){.kernel = kernel, .threads = threads, .m = m, .n = n};
        x->x = in_out(call, 1, m, n), x->ldx = ld(call, 0);
        if (is_called(call, "residual")) x->r = in(call, 1, m, n), x->ldr = ld(call, 1);
        x->bias = in(call, 1, 1, n);
    } else if (!strcmp(tag, "stream")) {
        struct stream *x = &call->arguments.stream;
        *x = (struct stream){.kernel = kernel, .threads = threads, .n = n, .scalar = 3};
        x->passes = is_called(call, "update") ? 1 : 2;
        stream_arrays(call, x), workspace = &x->workspace;
    } else if (!strcmp(tag, "peak")) {
        struct peak *x = &call->arguments.peak;
        *x = (struct peak){.kernel = kernel, .threads = threads, .iterations = 99};
        x->total = out(call, 1, 1, (int64_t)sizeof(double) / kernel->target->element_bytes);
        call->output->columns = call->output->items = 1;
        call->output->element_bytes = sizeof(double); /* of every type */
    } else {
        fprintf(stderr, "selftest: no operands are known for struct %s\n", tag);
        exit(1);
    }
    for (int i = 0; i < call->count; i++) {
        if (!call->operands[i].at) return 0;
        fill(&call->operands[i]);
    }
    const int64_t bytes = kernel_workspace_bytes(&call->arguments);
    if (bytes) call->workspace = guarded_take(bytes, call->place.at_end, ALIGNED), *workspace = call->workspace->at;
    for (int i = 0; i < call->count; i++) {
        const struct guarded *memory = call->operands[i].memory;
        if (memory) memcpy(memory->copy, memory->pages, (size_t)memory->size);
        only_elements(&call->operands[i], 0);
    }
    if (bytes) poison(call->workspace->pages, call->workspace->size), unpoison(call->workspace->at, bytes);
    return 1;
}

static const char *examine_output(const struct call *call) {
    static char text[160];
    const struct operand *x = call->output;
    double *y = malloc((size_t)x->columns * sizeof *y), *bound = malloc((size_t)x->columns * sizeof *bound);
    const char *found = NULL;
    for (int64_t g = 0; g < x->batch; g++)
        for (int64_t i = 0; i < x->rows; i++) {
            define(call, g, i, y, bound);
            for (int64_t j = 0; j < x->columns && !found; j++)
                if (!(fabs(get(x, g, i, j) - y[j]) <= bound[j])) {
                    snprintf(text, sizeof text, "element [%d,%d,%d] is %.17g, not %.17g", (int)g, (int)i, (int)j,
                             get(x, g, i, j), y[j]);
                    found = text;
                }
        }
    free(y), free(bound);
    return found;
}

static int as_before(const struct operand *x) {
    for (int64_t g = 0; g < x->batch; g++)
        for (int64_t i = 0; i < x->rows; i++) {
            if (x->raw && memcmp(element(x, g, i, 0), x->raw + i * row_bytes(x), (size_t)row_bytes(x)) != 0) return 0;
            for (int64_t j = 0; !x->raw && j < x->columns; j++)
                if (get(x, g, i, j) != value(x, g, i, j)) return 0;
        }
    return 1;
}

const char *examine(struct call *call) {
    for (int i = 0; i < call->count; i++) only_elements(&call->operands[i], 1);
    const char *found = examine_output(call);
    fill(call->output);
    for (int i = 0; i < call->count && !found; i++) {
        const struct operand *x = &call->operands[i];
        const struct guarded *memory = x->memory;
        if (memory && memcmp(memory->copy, memory->pages, (size_t)memory->size) != 0)
            found = x->written ? "wrote beside the output" : "wrote into an input";
        if (!memory && !x->written && !as_before(x)) found = "wrote into an input";
    }
    const struct guarded *scratch = call->workspace;
    if (scratch) unpoison(scratch->pages, scratch->size);
    for (const unsigned char *p = scratch ? scratch->pages : NULL; p && !found && p < scratch->pages + scratch->size;
         p++)
        if ((p < scratch->at || p >= scratch->at + scratch->bytes) && *p != UNTOUCHED)
            found = "wrote beside the workspace";
    return found;
}

void finish(struct call *call) {
    for (int i = 0; i < call->count; i++) free(call->operands[i].values);
    free(call->weights.raw), free(call->weights.packed), free(call->weights.values);
    guarded_release_all();
    sparse_release_all();
}

/* Every operation as kernels/operations.py defines it, in double and without tricks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "selftest.h"

static double unit(const struct call *call) { /* the unit roundoff */
    return call->kernel->target->element_bytes == sizeof(float) ? 0x1p-24 : 0x1p-53;
}

/* b[k,n] of a product, wherever its layout has the element. */
static double of_b(const struct call *call, const struct operand *b, int64_t g, int64_t p, int64_t j) {
    const int64_t lanes = call->kernel->target->vector_bytes / call->kernel->target->element_bytes;
    if (is_called(call, "gemm_prepacked")) return value(b, 0, j / lanes * call->k + p, j % lanes);
    return is_called(call, "gemm_batch_t") ? value(b, g, j, p) : value(b, g, p, j);
}

static void product(const struct call *call, int64_t g, int64_t i, double *y, double *bound) {
    const struct operand *a = call->operands, *b = a + 1;
    for (int64_t j = 0; j < call->n; j++) {
        double sum = 0, size = 0;
        for (int64_t p = 0; p < call->k; p++) {
            double term;
            if (is_called(call, "gemv")) term = value(a, 0, j, p) * value(b, 0, 0, p); /* w x */
            else if (is_called(call, "gemv_t")) term = value(a, 0, p, j) * value(b, 0, 0, p);
            else term = value(a, g, i, p) * of_b(call, b, g, p, j);
            sum += term, size += fabs(term);
        }
        y[j] = sum, bound[j] = 2 * ((double)call->k + 2) * unit(call) * size;
    }
}

static void pack(const struct call *call, int64_t row, double *y, double *bound) {
    const struct operand *b = call->operands;
    const int64_t lanes = call->output->columns;
    for (int64_t l = 0; l < lanes; l++) {
        const int64_t j = row / call->k * lanes + l;
        y[l] = j < call->n ? value(b, 0, row % call->k, j) : 0, bound[l] = 0;
    }
}

/* bf16 by arithmetic: 8 bits of a float are left. What is subnormal is 0. */
static double rounded_to_half(double x) {
    int exponent;
    frexp(x, &exponent);
    return fabs(x) < 0x1p-126 ? 0 : ldexp(rint(ldexp(x, 8 - exponent)), exponent - 8);
}

/* x[k], as it is, or rounded to bf16, or to 8 bits: multiples of a scale for every 32. In float, as kernels do it. */
static void activations(const struct call *call, int operand, int64_t i, double *x) {
    const struct operand *of = call->operands + operand;
    for (int64_t p = 0; p < call->k; p++) x[p] = value(of, 0, i, p);
    for (int64_t p = 0; p < call->k && is_called(call, "linear_a16"); p++) x[p] = rounded_to_half(x[p]);
    if (!is_called(call, "linear_a8")) return;
    for (int64_t p = 0; p < call->k; p += 32) {
        const int64_t end = p + 32 < call->k ? p + 32 : call->k;
        float most = 0;
        for (int64_t e = p; e < end; e++) most = fmaxf(most, fabsf((float)x[e]));
        for (int64_t e = p; e < end; e++) {
            const float multiple = (float)x[e] * (127 / most);
            x[e] = most ? rint((double)multiple) * (double)(most / 127) : 0;
        }
    }
}

/* Weights that are only stored by x, which is operand `of`. */
static void linear(const struct call *call, int of, int64_t i, double *y, double *bound) {
    double *x = malloc((size_t)call->k * sizeof *x);
    activations(call, of, i, x);
    for (int64_t j = 0; j < call->n; j++) {
        const double *w = call->weights.values + j * call->k;
        double sum = 0, size = 0;
        for (int64_t p = 0; p < call->k; p++) sum += x[p] * w[p], size += fabs(x[p] * w[p]);
        y[j] = sum, bound[j] = 2 * ((double)call->k + 2) * unit(call) * size;
    }
    free(x);
}

static void packed_strip(const struct call *call, int64_t strip, double *y, double *bound) {
    const struct weights *w = &call->weights;
    for (int64_t j = 0; j < w->strip; j++) y[j] = w->packed[strip * w->strip + j], bound[j] = 0;
}

static void softmax(const struct call *call, int64_t g, int64_t i, double *y, double *bound) {
    const struct operand *s = call->operands;
    const double scale = value(call->operands + 1, 0, 0, 0);
    int64_t seen = call->n;
    if (is_called(call, "softmax_causal")) seen = i + 1 + call->n - call->m;
    if (seen > call->n) seen = call->n;
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < seen; j++) top = fmax(top, scale * value(s, g, i, j));
    for (int64_t j = 0; j < seen; j++) sum += exp(scale * value(s, g, i, j) - top);
    for (int64_t j = 0; j < call->n; j++) {
        y[j] = j < seen ? exp(scale * value(s, g, i, j) - top) / sum : 0;
        bound[j] = j < seen ? 2 * ((double)call->n + 20) * unit(call) * y[j] : 0;
    }
}

static void norm(const struct call *call, int64_t i, double *y, double *bound) {
    const struct operand *x = call->operands, *next = x + 1, *r = NULL, *bias = NULL;
    if (is_called(call, "residual_norm")) r = next++, bias = next++;
    const struct operand *gain = next, *shift = next + 1, *eps = next + 2;
    const double n = (double)call->n;
    double sum = 0, size = 0, squares = 0;
    for (int64_t j = 0; j < call->n; j++) {
        y[j] = value(x, 0, i, j) + (r ? value(r, 0, i, j) + value(bias, 0, 0, j) : 0);
        sum += y[j], size = fmax(size, fabs(y[j]));
    }
    for (int64_t j = 0; j < call->n; j++) y[j] -= sum / n, squares += y[j] * y[j];
    const double deviation = sqrt(squares / n + value(eps, 0, 0, 0));
    for (int64_t j = 0; j < call->n; j++) {
        y[j] = y[j] / deviation * value(gain, 0, 0, j) + value(shift, 0, 0, j);
        /* eps is at least 0.125: no difference of near values is divided by less than 0.3 */
        bound[j] = 16 * (n + 8) * unit(call) * (1 + size) * (1 + size);
    }
}

static void along_a_row(const struct call *call, int64_t i, double *y, double *bound) {
    const struct operand *x = call->operands, *r = x + 1, *bias = is_called(call, "residual") ? x + 2 : x + 1;
    for (int64_t j = 0; j < call->n; j++) {
        const double v = value(x, 0, i, j) + value(bias, 0, 0, j), cubic = v + 0.044715 * v * v * v;
        bound[j] = 32 * unit(call) * (1 + fabs(v));
        if (is_called(call, "gelu")) y[j] = v * erfc(-v / sqrt(2)) / 2;
        else if (is_called(call, "gelu_tanh")) y[j] = v * (1 + tanh(0.7978845608028654 * cubic)) / 2;
        else y[j] = is_called(call, "residual") ? v + value(r, 0, i, j) : v;
    }
}

static void stream(const struct call *call, double *y, double *bound) {
    const struct operand *first = call->operands, *second = first + 1;
    const double s = call->arguments.stream.scalar;
    double sum = 0, size = 0;
    for (int64_t j = 0; j < call->n; j++) {
        const double v = value(first, 0, 0, j);
        if (is_called(call, "read*")) {
            sum += v, size += fabs(v);
            continue;
        }
        const double w = is_called(call, "add*") || is_called(call, "triad*") ? value(second, 0, 0, j) : 0;
        if (is_called(call, "copy*")) y[j] = v, bound[j] = 0;
        else if (is_called(call, "scale*") || is_called(call, "update")) y[j] = s * v, bound[j] = 0;
        else if (is_called(call, "add*")) y[j] = v + w, bound[j] = 0;
        else y[j] = v + s * w, bound[j] = 4 * unit(call) * (fabs(v) + fabs(s * w));
    }
    if (is_called(call, "read*")) *y = sum, *bound = 2 * ((double)call->n + 2) * unit(call) * size;
}

static void copy(const struct call *call, int64_t g, int64_t i, double *y, double *bound) {
    for (int64_t j = 0; j < call->n; j++) y[j] = value(call->operands, g, i, j), bound[j] = 0;
}

static void embed(const struct call *call, double *y, double *bound) {
    const double i = value(call->operands + 1, 0, 0, 0), last = (double)(call->n - 1);
    for (int64_t j = 0; j < call->k; j++) y[j] = value(call->operands, 0, (int64_t)fmin(i, last), j), bound[j] = 0;
}

static void argmax(const struct call *call, double *y, double *bound) {
    int64_t found = 0;
    for (int64_t j = 1; j < call->n; j++)
        if (value(call->operands, 0, 0, j) > value(call->operands, 0, 0, found)) found = j;
    *y = (double)found, *bound = 0;
}

void define(const struct call *call, int64_t g, int64_t i, double *y, double *bound) {
    const char *tag = call->kernel->arguments;
    if (!strcmp(tag, "pack")) pack(call, i, y, bound);
    else if (!strcmp(tag, "linear")) linear(call, 0, i, y, bound);
    else if (!strcmp(tag, "sparse")) linear(call, 1, 0, y, bound);
    else if (!strcmp(tag, "pack_linear")) packed_strip(call, i, y, bound);
    else if (!strcmp(tag, "softmax")) softmax(call, g, i, y, bound);
    else if (!strcmp(tag, "embed")) embed(call, y, bound);
    else if (!strcmp(tag, "argmax")) argmax(call, y, bound);
    else if (!strcmp(tag, "copy_rows")) copy(call, g, i, y, bound);
    else if (!strcmp(tag, "norm")) norm(call, i, y, bound);
    else if (!strcmp(tag, "rows")) along_a_row(call, i, y, bound);
    else if (!strcmp(tag, "stream")) stream(call, y, bound);
    else if (!strcmp(tag, "peak")) { /* every lane of every chain ends at 1, or counts its products */
        const struct target *target = call->kernel->target;
        const int64_t each = target->weight_bits ? target->products * call->arguments.peak.iterations : 1;
        *y = (double)(call->threads * target->chains * (target->vector_bytes / target->element_bytes) * each);
        *bound = 0;
    } else product(call, g, i, y, bound);
}

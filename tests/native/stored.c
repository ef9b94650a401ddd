/* Weights that are only stored, bit by bit as kernels/types.py describes them, and the numbers that they mean. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "selftest.h"

double random_value(void) {
    static uint64_t state = 11;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)((int64_t)(state >> 40) - (1 << 23)) / (1 << 23);
}

static unsigned char random_byte(void) { return (unsigned char)(128 + 128 * random_value()); }

static double half(const unsigned char *at) {
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return bits >> 15 ? -size : size;
}
static void random_half(unsigned char *at) { /* below 2, subnormal ones as well */
    const uint16_t bits = (uint16_t)((random_byte() << 8 | random_byte()) & 0xbfff);
    memcpy(at, &bits, sizeof bits);
}
static float single(const unsigned char *at, int shift) {
    uint32_t bits = 0;
    float x;
    memcpy(&bits, at, sizeof bits - (size_t)shift / 8);
    bits <<= shift;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* "i4g32": with a sign or without, bits, neighbours that share an item: a scale, a zero point, their halves. */
struct form {
    char sign;
    int bits, group;
};
static struct form form_of(const struct target *target) {
    struct form form = {0, 0, 0};
    if (sscanf(target->type, "%c%dg%d", &form.sign, &form.bits, &form.group) < 2 || strchr("iu", form.sign) == NULL)
        form.bits = 16;
    return form;
}

static void random_row(const struct target *target, struct form form, int64_t columns, int64_t items,
                       unsigned char *row) {
    for (int64_t j = 0; j < items * target->stored_bytes; j++) row[j] = random_byte();
    if (form.bits == 8 && !form.group) {
        const float scale = (float)random_value();
        memcpy(row + columns, &scale, sizeof scale);
    } else if (form.bits < 16) {
        for (int64_t j = 0; j < items; j++) random_half(row + j * target->stored_bytes);
    } else {
        for (int64_t j = 0; j < items; j++) {
            const float x = (float)random_value();
            if (!strcmp(target->type, "f16")) random_half(row + 2 * j);
            else {
                uint32_t bits;
                memcpy(&bits, &x, sizeof bits);
                bits >>= 16;
                memcpy(row + 2 * j, &(uint16_t){(uint16_t)bits}, 2);
            }
        }
    }
}

static double meant(const struct target *target, struct form form, const unsigned char *row, int64_t columns,
                    int64_t p) {
    if (!strcmp(target->type, "f16")) return half(row + 2 * p);
    if (form.bits == 16) return single(row + 2 * p, 16);
    if (!form.group) return (double)(int8_t)row[p] * single(row + columns, 0);
    const unsigned char *item = row + p / form.group * target->stored_bytes;
    const int64_t in = p % form.group, apart = form.group / 2;
    if (form.bits == 8) return (int8_t)item[2 + in] * half(item);
    const int zero = form.sign == 'u' ? item[2] : 8;
    const unsigned char two = item[(form.sign == 'u' ? 3 : 2) + in % apart];
    return ((in < apart ? two & 15 : two >> 4) - zero) * half(item);
}

void make_weights(const struct target *target, int64_t rows, int64_t columns, struct weights *weights) {
    const struct form form = form_of(target);
    weights->items = form.group ? columns / form.group : columns + (form.bits == 8 ? 4 : 0);
    const int64_t bytes = weights->items * target->stored_bytes;
    weights->raw = malloc((size_t)(rows * bytes));
    weights->values = malloc((size_t)(rows * columns) * sizeof(double));
    for (int64_t i = 0; i < rows; i++) {
        unsigned char *row = weights->raw + i * bytes;
        random_row(target, form, columns, weights->items, row);
        for (int64_t p = 0; p < columns; p++) weights->values[i * columns + p] = meant(target, form, row, columns, p);
    }
}

void pack_weights(const struct target *target, int64_t rows, int64_t columns, struct weights *weights) {
    const struct linear_plan plan = plan_linear(target, rows, columns);
    weights->strips = plan.strips, weights->strip = plan.strip;
    weights->packed = malloc((size_t)(plan.strips * plan.strip));
    int i = 0;
    while (strcmp(kernel_at(i)->operation, "pack_linear") != 0 || kernel_at(i)->target != target) i++;
    struct pack_linear call = {.kernel = kernel_at(i), .threads = 1, .n = rows, .k = columns};
    call.w = weights->raw, call.packed = weights->packed, call.ldw = weights->items;
    kernel_run(&call);
}

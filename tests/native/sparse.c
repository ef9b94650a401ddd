/* Weights most of which are zero, packed as kernels/sparse.py describes it, and the numbers that they mean. */
#include <stdlib.h>
#include <string.h>

#include "selftest.h"

enum { STRIP = 4, PART = 64 };

struct over {
    uint32_t place;
    float value;
};

static int64_t part_bytes(int64_t bytes) { return (bytes + PART - 1) / PART * PART; }

static void append(struct weights *of, const void *part, int64_t bytes) {
    of->packed = realloc(of->packed, (size_t)(of->strip + part_bytes(bytes)));
    memset(of->packed + of->strip, 0, (size_t)part_bytes(bytes));
    if (bytes) memcpy(of->packed + of->strip, part, (size_t)bytes);
    of->strip += part_bytes(bytes);
}

static int drawn(int below) { return (int)((random_value() + 1) / 2 * below); }

/* w[n,k], of every four neighbours at most so many that aren't zero; of i8 integers. */
static float *drawn_weights(int64_t n, int64_t k, int of_four, int integers) {
    static const int percent[] = {0, 5, 20, 50, 100};
    const int density = percent[drawn(5)];
    float *w = calloc((size_t)(n * k), sizeof *w);
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = 0, left = of_four; p < k; p++) {
            left = p % 4 ? left : of_four;
            if (drawn(100) >= density || !left) continue;
            const float x = integers ? (float)(drawn(255) - 127) : (float)random_value();
            if (x != 0) w[i * k + p] = x, left--;
        }
    return w;
}

static void put_value(unsigned char *at, int64_t size, float x) {
    if (size == 1) *(int8_t *)at = (int8_t)x;
    else memcpy(at, &x, sizeof x);
}

static void pack_bitmap(const struct target *t, int64_t n, int64_t k, const float *w, const float *scales, int fixed,
                        struct weights *of) {
    const int64_t size = t->stored_bytes, lanes = t->vector_bytes / t->element_bytes, group = lanes > 8 ? lanes : 8;
    const int64_t strips = (n + STRIP - 1) / STRIP, groups = (k + group - 1) / group, cells = strips * groups * STRIP;
    const int64_t most = !fixed && size == 4 && drawn(2) ? 4 : group; /* bits of a group */
    int64_t *header = calloc((size_t)(2 * strips + 3), sizeof *header);
    unsigned char *bits = calloc((size_t)(cells * group / 8), 1),
                  *values = calloc((size_t)(cells * group), (size_t)size);
    struct over *overs = calloc((size_t)(cells * group), sizeof *overs);
    int64_t stored = 0, over = 0;
    header[0] = most;
    for (int64_t s = 0; s < strips; s++) {
        for (int64_t cell = s * groups * STRIP; cell < (s + 1) * groups * STRIP; cell++) {
            const int64_t r = cell % STRIP, i = s * STRIP + r, first = cell / STRIP % groups * group;
            int64_t here = 0;
            for (int64_t p = first; i < n && p < first + group && p < k; p++) {
                if (w[i * k + p] == 0) continue;
                if (here++ < most) {
                    bits[(cell * group + p - first) / 8] |= (unsigned char)(1 << (p - first) % 8);
                    put_value(values + stored++ * size, size, w[i * k + p]);
                } else overs[over++] = (struct over){(uint32_t)(p * STRIP + r), w[i * k + p]};
            }
            if (fixed) stored = (cell + 1) * group / 2;
        }
        header[s + 2] = stored, header[strips + s + 3] = over;
    }
    if (!fixed) append(of, header, (2 * strips + 3) * 8);
    if (scales) append(of, scales, strips * STRIP * 4);
    append(of, bits, cells * group / 8);
    append(of, values, stored * size);
    if (!fixed) append(of, overs, over * (int64_t)sizeof *overs);
    free(header), free(bits), free(values), free(overs);
}

static void pack_csr(int64_t n, int64_t k, const float *w, int64_t index_bytes, struct weights *of) {
    int32_t *starts = calloc((size_t)(n + 1), sizeof *starts), count = 0;
    unsigned char *columns = malloc((size_t)(n * k * index_bytes));
    float *values = malloc((size_t)(n * k) * sizeof *values);
    for (int64_t i = 0; i < n; starts[++i] = count)
        for (int64_t p = 0; p < k; p++) {
            if (w[i * k + p] == 0) continue;
            if (index_bytes == 2) memcpy(columns + 2 * count, &(uint16_t){(uint16_t)p}, 2);
            else memcpy(columns + 4 * count, &(int32_t){(int32_t)p}, 4);
            values[count++] = w[i * k + p];
        }
    append(of, starts, (n + 1) * 4);
    append(of, columns, count * index_bytes);
    append(of, values, count * 4);
    free(starts), free(columns), free(values);
}

void make_sparse(const struct kernel *kernel, int64_t n, int64_t k, struct weights *of) {
    const int integers = kernel->target->stored_bytes == 1, fixed = !strcmp(kernel->operation, "gemv_2_4");
    float *w = drawn_weights(n, k, fixed ? 2 : 4, integers), *scales = calloc((size_t)(n + STRIP), sizeof *scales);
    of->strips = 1, of->strip = 0;
    for (int64_t i = 0; i < n; i++) scales[i] = integers ? (float)random_value() : 1;
    if (strstr(kernel->operation, "csr")) pack_csr(n, k, w, strstr(kernel->operation, "16") ? 2 : 4, of);
    else pack_bitmap(kernel->target, n, k, w, integers ? scales : NULL, fixed, of);
    append(of, (unsigned char[PART]){0}, PART); /* may be read */
    of->values = malloc((size_t)(n * k) * sizeof *of->values);
    for (int64_t j = 0; j < n * k; j++) of->values[j] = (double)w[j] * (double)scales[j / k];
    free(w), free(scales);
}

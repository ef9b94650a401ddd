/* STREAM's four kernels, and a sum, written from their formulas (McCalpin, 1995) as plain loops: whatever the compiler
 * makes of them is the yardstick for bench.stream. Prints one line per kernel: its name, the bytes of one call as STREAM
 * counts them, and the best seconds.
 *
 *     gcc -O3 -march=native -fopenmp stream_reference.c -o stream_reference && ./stream_reference DOUBLES REPETITIONS
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <omp.h>

/* On huge pages where the system gives them, as NumPy does it. */
static double *allocate(int64_t n) {
    const size_t page = 2 << 20, size = ((size_t)n * 8 + page - 1) / page * page;
    double *x = aligned_alloc(page, size);
    if (!x) perror("aligned_alloc"), exit(1);
#ifdef MADV_HUGEPAGE
    madvise(x, size, MADV_HUGEPAGE);
#endif
    return x;
}

/* Times one kernel: the best of all repetitions but the first. */
#define KERNEL(name, words, ...)                                                                                      \
    do {                                                                                                              \
        double best = 1e300;                                                                                          \
        for (int r = 0; r <= repetitions; r++) {                                                                      \
            double begin = omp_get_wtime();                                                                           \
            __VA_ARGS__;                                                                                              \
            double seconds = omp_get_wtime() - begin;                                                                 \
            if (r && seconds < best) best = seconds;                                                                  \
        }                                                                                                             \
        printf("%s %lld %.9g\n", name, (long long)(words * 8 * n), best);                                             \
    } while (0)

#define EACH(statement)                                                                                               \
    _Pragma("omp parallel for schedule(static)") for (int64_t i = 0; i < n; i++) statement

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: %s DOUBLES REPETITIONS\n", argv[0]), 2;
    const int64_t n = atoll(argv[1]);
    const int repetitions = atoi(argv[2]);
    const double s = 3.0;
    double *restrict a = allocate(n), *restrict b = allocate(n), *restrict c = allocate(n), sum = 0;

    EACH((a[i] = 1 + i % 7, b[i] = 2, c[i] = 0)); /* first touched by the threads that use them */

    KERNEL("copy", 2, EACH(c[i] = a[i]));
    KERNEL("scale", 2, EACH(b[i] = s * c[i]));
    KERNEL("add", 3, EACH(c[i] = a[i] + b[i]));
    KERNEL("triad", 3, EACH(a[i] = b[i] + s * c[i]));
    const int64_t q = n / 4; /* four streams, four sums: a single one waits for its own additions */
    KERNEL("read", 1, {
        double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        _Pragma("omp parallel for simd schedule(static) reduction(+ : s0, s1, s2, s3)") for (int64_t i = 0; i < q; i++)
            s0 += a[i], s1 += a[q + i], s2 += a[2 * q + i], s3 += a[3 * q + i];
        sum += s0 + s1 + s2 + s3;
        for (int64_t i = 4 * q; i < n; i++) sum += a[i];
    });

    /* No kernel reads what it writes, so repeating one changes nothing: c = a, b = 3 a, c = 4 a, and at last a = 15 a. */
    double expected = 0;
    for (int64_t i = 0; i < n; i++) expected += 15.0 * (1 + i % 7);
    return sum == expected * (repetitions + 1) ? 0 : (fprintf(stderr, "wrong sum\n"), 1);
}

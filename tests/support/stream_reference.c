/* STREAM's four kernels, and a sum, written from their formulas (McCalpin, 1995) as plain loops: whatever the compiler
 * makes of them is the yardstick for bench.stream. As a program, on arrays of its own: all five in turn, ROUNDS times
 * after a first that doesn't count, a line for each: its name, the bytes of one call as STREAM counts them, seconds.
 *
 *     gcc -O3 -march=native -fopenmp stream_reference.c -o stream_reference && ./stream_reference DOUBLES ROUNDS huge
 *
 * As a library, with -shared -fPIC, the same loops on arrays of the caller's.
 */
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LOOP(name, statement)                                                                                          \
    double name(int threads, int64_t n, double *restrict a, double *restrict b, double *restrict c) {                  \
        (void)a, (void)b, (void)c;                                                                                     \
        _Pragma("omp parallel for schedule(static) num_threads(threads)") for (int64_t i = 0; i < n; i++) statement;   \
        return 0;                                                                                                      \
    }
LOOP(reference_copy, c[i] = a[i])
LOOP(reference_scale, b[i] = 3.0 * c[i])
LOOP(reference_add, c[i] = a[i] + b[i])
LOOP(reference_triad, a[i] = b[i] + 3.0 * c[i])

double reference_read(int threads, int64_t n, double *restrict a, double *restrict b, double *restrict c) {
    const int64_t q = n / 4; /* four streams, four sums: a single one waits for its own additions */
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    (void)b, (void)c;
#pragma omp parallel for simd schedule(static) num_threads(threads) reduction(+ : s0, s1, s2, s3)
    for (int64_t i = 0; i < q; i++) s0 += a[i], s1 += a[q + i], s2 += a[2 * q + i], s3 += a[3 * q + i];
    for (int64_t i = 4 * q; i < n; i++) s0 += a[i];
    return s0 + s1 + s2 + s3;
}

static const struct {
    const char *name;
    int words;
    double (*run)(int, int64_t, double *, double *, double *);
} kernels[] = {
    {"copy", 2, reference_copy},   {"scale", 2, reference_scale}, {"add", 3, reference_add},
    {"triad", 3, reference_triad}, {"read", 1, reference_read},
};

static double *allocate(int64_t n, int huge) {
    const size_t page = 2 << 20, size = ((size_t)n * 8 + page - 1) / page * page;
    double *x = aligned_alloc(page, size);
    if (!x) perror("aligned_alloc"), exit(1);
    madvise(x, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return x;
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: %s DOUBLES ROUNDS huge|small\n", argv[0]), 2;
    const int64_t n = atoll(argv[1]);
    const int rounds = atoi(argv[2]), huge = !strcmp(argv[3], "huge"), threads = omp_get_max_threads();
    double *a = allocate(n, huge), *b = allocate(n, huge), *c = allocate(n, huge), sum = 0, expected = 0;

#pragma omp parallel for schedule(static) /* first touched by the threads that use them */
    for (int64_t i = 0; i < n; i++) a[i] = 1 + i % 7, b[i] = 2, c[i] = 0;
    for (int64_t i = 0; i < n; i++) expected += 1 + i % 7;

    for (int round = 0; round <= rounds; round++) {
        for (int k = 0; k < 5; k++) {
            const double begin = omp_get_wtime();
            const double result = kernels[k].run(threads, n, a, b, c);
            const double seconds = omp_get_wtime() - begin;
            if (k == 4) sum = result;
            if (round) printf("%s %lld %.9g\n", kernels[k].name, (long long)(kernels[k].words * 8 * n), seconds);
        }
        expected *= 15; /* c = a, b = 3 a, c = 4 a, a = 15 a */
    }
    return fabs(sum / expected - 1) < 1e-8 ? 0 : (fprintf(stderr, "wrong sum\n"), 1);
}

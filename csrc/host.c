/* What is not arithmetic: the clock, where threads run, how far apart two CPUs are, how large the caches are. */
#define _GNU_SOURCE
#include <errno.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "plan.h"

int64_t dependent_adds(int64_t count) {
    int64_t x = 0, step = 1;
    __asm__ volatile("" : "+r"(step)); /* from a register: some cores fold adds of constants at rename */
    for (int64_t i = 0; i < count / 16; i++)
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++) {
            x += step;
            __asm__ volatile("" : "+r"(x)); /* keeps the adds apart and in order */
        }
    return x;
}

static int pin_self(int count, const int *cpus) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < count; i++) CPU_SET(cpus[i], &set);
    return sched_setaffinity(0, sizeof set, &set) ? errno : 0;
}

/* CPU clocks of the threads pinned last: readable from any thread, and after a thread's end an error, not a fault. */
static clockid_t team_clock[1024];
static int team_size;

int pin_threads(int threads, int each, const int *cpus) {
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num();
        int error = pin_self(each, cpus + t * each);
#pragma omp single nowait
        team_size = omp_get_num_threads();
        if (!error && t < 1024) error = pthread_getcpuclockid(pthread_self(), &team_clock[t]);
        if (error) {
#pragma omp atomic write
            failed = error;
        }
    }
    return failed;
}

int team_seconds(int most, double *used) {
    int known = 0;
    for (int t = 0; t < team_size && t < most && t < 1024; t++) {
        struct timespec now;
        if (clock_gettime(team_clock[t], &now)) break;
        used[known++] = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }
    return known;
}

void stream_fill(int threads, int64_t n, double *x, double base) {
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num(), team = omp_get_num_threads();
        int64_t end = share(n, CACHE_LINE / sizeof(double), t + 1, team);
        for (int64_t i = share(n, CACHE_LINE / sizeof(double), t, team); i < end; i++)
            x[i] = base + (double)(i % 1024) / 1024;
    }
}

struct bounce {
    _Alignas(128) atomic_int turn; /* 128: two lines, since neighbours are fetched in pairs */
    _Alignas(128) int cpu, rounds, error;
    atomic_int ready;
};

static void *answer(void *argument) {
    struct bounce *ball = argument;
    ball->error = pin_self(1, &ball->cpu);
    atomic_store(&ball->ready, 1);
    for (int i = 0; !ball->error && i < ball->rounds; i++) {
        while (atomic_load_explicit(&ball->turn, memory_order_acquire) != 2 * i + 1) {}
        atomic_store_explicit(&ball->turn, 2 * i + 2, memory_order_release);
    }
    return NULL;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double ping_once(int cpu_a, int cpu_b, int rounds) {
    struct bounce ball = {.cpu = cpu_b, .rounds = rounds};
    pthread_t other;
    int error = pin_self(1, &cpu_a);
    if (!error) error = pthread_create(&other, NULL, answer, &ball);
    if (error) return -error;
    while (!atomic_load(&ball.ready)) {}
    double start = seconds();
    for (int i = 0; !ball.error && i < rounds; i++) {
        atomic_store_explicit(&ball.turn, 2 * i + 1, memory_order_release);
        while (atomic_load_explicit(&ball.turn, memory_order_acquire) != 2 * i + 2) {}
    }
    double elapsed = seconds() - start;
    pthread_join(other, NULL);
    return ball.error ? -ball.error : elapsed / rounds;
}

double ping_seconds(int cpu_a, int cpu_b, int rounds, int repeats) {
    cpu_set_t before;
    if (sched_getaffinity(0, sizeof before, &before)) return -errno;
    double best = 1e9;
    for (int i = 0; i < repeats && best > 0; i++) {
        double once = ping_once(cpu_a, cpu_b, rounds);
        if (once < best) best = once;
    }
    sched_setaffinity(0, sizeof before, &before);
    return best;
}

/* One instance's size from sysfs, read once. Where sysfs has none, the smallest sizes in use on server cores: blocks
 * that are too small cost a few percent, blocks that are too large far more. */
static struct caches caches = {32 << 10, 256 << 10, 2 << 20};

static int read_sysfs(int index, const char *name, const char *format, void *value) {
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    const int found = fscanf(file, format, value) == 1;
    fclose(file);
    return found;
}

__attribute__((constructor)) static void read_cache_sizes(void) {
    int64_t *const sizes[] = {&caches.l1, &caches.l2, &caches.l3};
    for (int index = 0; index < 8; index++) {
        char type[16] = "";
        int level = 0;
        long kib = 0;
        if (read_sysfs(index, "level", "%d", &level) && read_sysfs(index, "type", "%15s", type) &&
            read_sysfs(index, "size", "%ldK", &kib) && level >= 1 && level <= 3 && kib > 0 &&
            strcmp(type, "Instruction") != 0)
            *sizes[level - 1] = kib << 10;
    }
}

const struct caches *host_caches(void) { return &caches; }
int64_t cache_bytes(int level) { return level == 1 ? caches.l1 : level == 2 ? caches.l2 : caches.l3; }

/* What is not arithmetic: the clock, where threads run, how far apart two CPUs are, how large the caches are. */
#define _GNU_SOURCE
#include <errno.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
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

/* A set of CPUs of any number: a cpu_set_t ends at 1023. */
static int pin_self(int count, const int *cpus) {
    int last = 0;
    for (int i = 0; i < count; i++) last = cpus[i] > last ? cpus[i] : last;
    cpu_set_t *set = CPU_ALLOC(last + 1);
    if (!set) return ENOMEM;
    const size_t size = CPU_ALLOC_SIZE(last + 1);
    CPU_ZERO_S(size, set);
    for (int i = 0; i < count; i++) CPU_SET_S(cpus[i], size, set);
    const int error = sched_setaffinity(0, size, set) ? errno : 0;
    CPU_FREE(set);
    return error;
}

/* This thread's CPUs; *size in bytes, which Linux wants to have room for all CPUs that there could be. CPU_FREE() it.
 */
static cpu_set_t *own_cpus(size_t *size) {
    for (int most = 1024; most <= 1 << 20; most *= 2) {
        cpu_set_t *set = CPU_ALLOC(most);
        if (!set) return NULL;
        *size = CPU_ALLOC_SIZE(most);
        CPU_ZERO_S(*size, set);
        if (!sched_getaffinity(0, *size, set)) return set;
        const int error = errno;
        CPU_FREE(set);
        errno = error;
        if (error != EINVAL) return NULL;
    }
    return NULL;
}

static void *wait_for(void *gate) {
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* Bytes of stack that OpenMP's threads have, as it reads its variable: in KiB unless a letter follows; 0: not said. */
static size_t openmp_stack(void) {
    const char *said = getenv("OMP_STACKSIZE");
    if (!said) said = getenv("GOMP_STACKSIZE");
    if (!said) return 0;
    char *end;
    const size_t size = strtoul(said, &end, 10);
    while (*end == ' ') end++;
    const char letters[] = "bkmg", *unit = *end ? strchr(letters, *end | 32) : letters + 1;
    return unit ? size << 10 * (unit - letters) : 0;
}

int can_start(int threads) {
    pthread_t *others = malloc(threads * sizeof *others);
    if (!others) return ENOMEM;
    pthread_attr_t like;
    pthread_attr_init(&like);
    const size_t stack = openmp_stack();
    if (stack) pthread_attr_setstacksize(&like, stack); /* one too small is left as it is, by OpenMP too */
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&gate);
    int error = 0, started = 0;
    while (started < threads - 1 && !(error = pthread_create(&others[started], &like, wait_for, &gate))) started++;
    pthread_mutex_unlock(&gate);
    while (started) pthread_join(others[--started], NULL);
    pthread_attr_destroy(&like);
    free(others);
    return error;
}

/* A fork copies the thread that calls it, and what it knows of its team, but none of the others. */
static _Thread_local int64_t most; /* threads of this one's teams so far */
static int forked;

static void in_child(void) { forked = most > 0; }
__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }

int forked_team(void) { return forked; }

int enter_team(int64_t threads) {
    if (threads == 1) return 0; /* without a team there is nothing to wait for */
    if (forked) return EDEADLK;
    const int error = threads > most ? can_start((int)threads) : 0;
    if (!error && threads > most) most = threads;
    return error;
}

int team_started(int threads) {
    if (omp_get_dynamic() || enter_team(threads)) return 0;
    int team = 0;
#pragma omp parallel num_threads(threads)
#pragma omp single
    team = omp_get_num_threads();
    return team;
}

/* LLVM's runtime counts places that it doesn't bind threads to. */
int bound_places(void) { return omp_get_proc_bind() == omp_proc_bind_false ? 0 : omp_get_num_places(); }

/* CPU clocks of the threads pinned last: readable from any thread, and after a thread's end an error, not a fault. */
static clockid_t team_clock[1024];
static int team_size;

int pin_threads(int threads, int each, const int *cpus) {
    int failed = enter_team(threads);
    if (failed) return failed;
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

int stream_fill(int threads, int64_t n, double *x, double base) {
    const int error = enter_team(threads);
    if (error) return error;
#pragma omp parallel num_threads(threads)
    {
        int t = omp_get_thread_num(), team = omp_get_num_threads();
        int64_t end = share(n, CACHE_LINE / sizeof(double), t + 1, team);
        for (int64_t i = share(n, CACHE_LINE / sizeof(double), t, team); i < end; i++)
            x[i] = base + (double)(i % 1024) / 1024;
    }
    return 0;
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

double now_seconds(void) {
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
    double start = now_seconds();
    for (int i = 0; !ball.error && i < rounds; i++) {
        atomic_store_explicit(&ball.turn, 2 * i + 1, memory_order_release);
        while (atomic_load_explicit(&ball.turn, memory_order_acquire) != 2 * i + 2) {}
    }
    double elapsed = now_seconds() - start;
    pthread_join(other, NULL);
    return ball.error ? -ball.error : elapsed / rounds;
}

double ping_seconds(int cpu_a, int cpu_b, int rounds, int repeats) {
    size_t size;
    cpu_set_t *before = own_cpus(&size);
    if (!before) return -errno;
    double best = 1e9;
    for (int i = 0; i < repeats && best > 0; i++) {
        double once = ping_once(cpu_a, cpu_b, rounds);
        if (once < best) best = once;
    }
    sched_setaffinity(0, size, before);
    CPU_FREE(before);
    return best;
}

/* One instance's size from sysfs, read once. Where sysfs has none, the smallest sizes in use on server cores: blocks
 * that are too small cost a few percent, blocks that are too large far more. */
static struct caches caches;

static int read_sysfs(const char *root, int cpu, int index, const char *name, const char *format, void *value) {
    char path[4096];
    snprintf(path, sizeof path, "%s/sys/devices/system/cpu/cpu%d/cache/index%d/%s", root, cpu, index, name);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    const int found = fscanf(file, format, value) == 1;
    fclose(file);
    return found;
}

struct caches read_caches(const char *root, int cpu) {
    struct caches found = {32 << 10, 256 << 10, 2 << 20};
    int64_t *const sizes[] = {&found.l1, &found.l2, &found.l3};
    for (int index = 0; index < 8; index++) {
        char type[16] = "";
        int level = 0;
        long kib = 0;
        if (read_sysfs(root, cpu, index, "level", "%d", &level) && read_sysfs(root, cpu, index, "type", "%15s", type) &&
            read_sysfs(root, cpu, index, "size", "%ldK", &kib) && level >= 1 && level <= 3 && kib > 0 &&
            strcmp(type, "Instruction") != 0)
            *sizes[level - 1] = kib << 10;
    }
    if (found.l2 < found.l1) found.l2 = found.l1; /* where one of them is not from sysfs */
    if (found.l3 < found.l2) found.l3 = found.l2;
    return found;
}

__attribute__((constructor)) static void read_cache_sizes(void) {
    size_t size;
    cpu_set_t *set = own_cpus(&size);
    int first = 0;
    while (set && first < (int)(8 * size) - 1 && !CPU_ISSET_S(first, size, set)) first++;
    if (set) CPU_FREE(set);
    caches = read_caches("", set ? first : 0);
}

const struct caches *host_caches(void) { return &caches; }
int64_t cache_bytes(int level) { return level == 1 ? caches.l1 : level == 2 ? caches.l2 : caches.l3; }

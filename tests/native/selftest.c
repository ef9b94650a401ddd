/* Every kernel of every ISA and element type over awkward shapes, its operands and workspace between pages that may not
 * be touched: the result is right, and no byte outside is read or written. Without Python, so that sanitizers and
 * emulators run it, too.
 *
 *     selftest [--isa NAME] [--type NAME] [--every N] [--far]
 *
 * --every N: each N-th case. --far: operands whose offsets exceed 2^32 elements instead. A line on stderr says
 * which call it was if a fault ends the process; exit status 77: the CPU has no such ISA, or there is no address space.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "selftest.h"

enum { TEAMS = 3, SKIPPED = 77 };

static struct call now; /* for the last line */
static int64_t calls, failed, every = 1, counted;

static int describe(char *text, size_t size) {
    return snprintf(text, size,
                    "%s %s %s: batch %d, m %d, n %d, k %d, %d threads, flush with the %s, rows %d apart%s%s\n",
                    now.kernel->target->isa, now.kernel->target->type, now.kernel->operation, (int)now.batch,
                    (int)now.m, (int)now.n, (int)now.k, (int)now.threads, now.place.at_end ? "end" : "beginning",
                    (int)now.place.apart, now.place.interleave ? ", interleaved" : "", now.place.far ? ", far" : "");
}

static void say_which(void) {
    char text[256];
    if (now.kernel && write(STDERR_FILENO, text, (size_t)describe(text, sizeof text)) < 0) abort();
}

#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined SANITIZED || defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
void __sanitizer_set_death_callback(void (*callback)(void));
static void watch_faults(void) { __sanitizer_set_death_callback(say_which); }
#else
static void faulted(int number) {
    say_which();
    signal(number, SIG_DFL); /* the instruction is tried again */
}
static void watch_faults(void) {
    signal(SIGSEGV, faulted);
    signal(SIGBUS, faulted);
    signal(SIGILL, faulted);
}
#endif

static void one_call(struct place place) {
    now.place = place;
    if (!prepare(&now)) {
        fprintf(stderr, "selftest: no address space for operands this far apart\n");
        exit(SKIPPED);
    }
    const int refused = kernel_run(&now.arguments);
    const char *wrong = refused ? strerror(refused) : examine(&now);
    finish(&now);
    calls++;
    if (wrong && failed++ < 20) {
        char text[256];
        describe(text, sizeof text);
        printf("%s\n    %s", wrong, text);
    }
}

/* The planner's blocks as large as this host's caches have them, small, and so small that every shape has several. */
static void use_caches(int which, struct caches host) {
    static const struct caches small = {8 << 10, 32 << 10, 128 << 10}, tiny = {1 << 10, 4 << 10, 8 << 10};
    *(struct caches *)host_caches() = which == 0 ? tiny : which == 1 ? small : host;
}

/* Each shape flush with both ends; whatever else varies is drawn, the same in every run. */
static void one_shape(int64_t index, int64_t threads, struct caches host) {
    for (int at_end = 0; at_end < 2; at_end++) {
        const uint32_t drawn = (uint32_t)(2 * index + at_end + 1) * 2654435761u >> 8;
        if (1 + drawn % TEAMS != threads || counted++ % every) continue;
        use_caches((int)(drawn / 3 % 3), host);
        now.threads = threads == TEAMS && drawn / 9 % 4 == 0 ? 7 : threads;
        one_call((struct place){.at_end = at_end, .apart = drawn / 36 % 3 * 3, .interleave = drawn / 108 % 2 == 1});
    }
}

static int has(const char *tag, char dimension) {
    static const struct {
        const char *tag, *dimensions;
    } rows[] = {{"gemm", "mnk"},       {"pack", "nk"},      {"gemm_batch", "mnk"}, {"gemv", "nk"},  {"softmax", "mn"},
                {"norm", "mn"},        {"rows", "mn"},      {"stream", "n"},       {"peak", ""},    {"linear", "mnk"},
                {"pack_linear", "nk"}, {"copy_rows", "mn"}, {"embed", "nk"},       {"argmax", "n"}, {"sparse", "nk"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].tag, tag)) return strchr(rows[i].dimensions, dimension) != NULL;
    return 1;
}

enum { SIZES = 10 };

static void all_shapes(const struct kernel *kernel, struct caches host) {
    const struct target *t = kernel->target;
    const int64_t lanes = t->vector_bytes / t->element_bytes, nr = t->nv * lanes, mr = t->mr,
                  line = 64 / t->element_bytes;
    const int64_t sizes[3][SIZES] = {
        {1, 2, mr - 1, mr, mr + 1, 2 * mr + 1, t->skinny_rows + 1, 3 * mr + 2},
        {1, lanes - 1, lanes, lanes + 1, nr - 1, nr + 1, 3 * nr, 5 * nr + 3, 8 * line + 1},
        {1, 2, t->rows_per_step + 1, lanes, 2 * lanes + 1, 67, 131},
    };
    const int64_t group = t->group > 1 ? t->group : 0; /* of linear: every height of a tile, each number of strips */
    const int64_t stored[3][SIZES] = {
        {1, 2, 3, 4, 5, 6, 7, 8, 9, 19},
        {1, lanes - 1, lanes + 1, 7 * lanes + 3, 13 * lanes - 1},
        {group ? group : 1, group ? 2 * group : 7, group ? 3 * group : 131, group ? 0 : 32, group ? 0 : 67},
    };
    const int64_t lengths[SIZES] = {1, 3, line - 1, line, line + 1, 8 * line, 509, 4096, 16 * 4096 + 9};
    const char *tag = kernel->arguments;
    const int64_t (*of)[SIZES] = t->weight_bits && strcmp(tag, "gemv") != 0 ? stored : sizes;
    for (int64_t threads = 1; threads <= TEAMS; threads++) { /* outside: a team that changes its size starts threads */
        int64_t index = 0;
        for (int i = 0; i < (has(tag, 'm') ? SIZES : 1); i++)
            for (int j = 0; j < (has(tag, 'n') ? SIZES : 1); j++)
                for (int l = 0; l < (has(tag, 'k') ? SIZES : 1); l++) {
                    now.batch = 3, now.m = of[0][i], now.k = of[2][l];
                    now.n = strcmp(tag, "stream") != 0 ? of[1][j] : lengths[j];
                    if (now.m && now.n && now.k) one_shape(index++, threads, host);
                }
    }
}

/* Rows, then matrices so far apart that the last one begins more than 2^32 elements behind the first. */
static void far_apart(const struct kernel *kernel, struct caches host) {
    const int64_t lanes = kernel->target->vector_bytes / kernel->target->element_bytes;
    use_caches(2, host);
    now.batch = 3, now.n = 2 * kernel->target->nv * lanes + 3, now.k = 2 * kernel->target->rows_per_step + 1;
    if (kernel->target->group) now.k = kernel->target->group;
    for (int far = 1; far <= (strcmp(kernel->arguments, "gemm_batch") && strcmp(kernel->arguments, "softmax") ? 1 : 2);
         far++)
        for (int tall = 0; tall < (has(kernel->arguments, 'm') ? 2 : 1); tall++) {
            now.m = tall ? kernel->target->skinny_rows + 3 : 3, now.threads = 1 + tall;
            one_call((struct place){.far = far});
        }
}

static const char *option(int count, char **words, const char *name) {
    for (int i = 1; i + 1 < count; i++)
        if (!strcmp(words[i], name)) return words[i + 1];
    return NULL;
}

int main(int count, char **words) {
    const char *isa = option(count, words, "--isa"), *type = option(count, words, "--type");
    const char *thinned = option(count, words, "--every");
    const int far = count > 1 && !strcmp(words[count - 1], "--far");
    const struct caches host = *host_caches();
    int ran = 0;
    every = thinned ? atoll(thinned) : 1;
    watch_faults();
    for (int i = 0; i < kernel_count(); i++) {
        const struct kernel *kernel = kernel_at(i);
        const struct target *target = kernel->target;
        int row = 0;
        while (strcmp(isa_name(row), target->isa) != 0) row++;
        const int first = i == 0 || kernel_at(i - 1)->target != target;
        if ((isa && strcmp(isa, target->isa) != 0) || (type && strcmp(type, target->type) != 0)) continue;
        if (!isa_runs(row)) {
            if (first) printf("%s %s: not on this CPU\n", target->isa, target->type);
            continue;
        }
        if (first) printf("%s %s\n", target->isa, target->type), fflush(stdout);
        now.kernel = kernel, ran = 1;
        if (!far) all_shapes(kernel, host);
        else if (has(kernel->arguments, 'm') || has(kernel->arguments, 'k')) far_apart(kernel, host);
    }
    printf("%lld calls, %lld wrong\n", (long long)calls, (long long)failed);
    return failed ? 1 : ran ? 0 : SKIPPED;
}

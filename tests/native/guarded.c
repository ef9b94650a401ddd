/* Memory between guard pages, kept for the next operand of as many pages: mapping it anew would take longer than a
 * call. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "selftest.h"

#if defined __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
void poison(const void *at, int64_t bytes) { __asan_poison_memory_region(at, (size_t)bytes); }
void unpoison(const void *at, int64_t bytes) { __asan_unpoison_memory_region(at, (size_t)bytes); }
#else
void poison(const void *at, int64_t bytes) { (void)at, (void)bytes; }
void unpoison(const void *at, int64_t bytes) { (void)at, (void)bytes; }
#endif

static struct guarded *all;

static void *checked(void *memory, const char *what) {
    if (memory && memory != MAP_FAILED) return memory;
    perror(what);
    exit(1);
}

static struct guarded *map(int64_t size) {
    const int64_t page = sysconf(_SC_PAGESIZE);
    struct guarded *new = checked(calloc(1, sizeof *new), "calloc");
    unsigned char *whole = checked(
        mmap(NULL, (size_t)(size + 2 * page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), "mmap");
    if (mprotect(whole, (size_t)page, PROT_NONE) || mprotect(whole + page + size, (size_t)page, PROT_NONE))
        checked(NULL, "mprotect");
    *new = (struct guarded){.pages = whole + page, .copy = checked(malloc((size_t)size), "malloc"), .size = size};
    new->next = all;
    return all = new;
}

struct guarded *guarded_take(int64_t bytes, int at_end, int64_t align) {
    const int64_t page = sysconf(_SC_PAGESIZE), size = (bytes + page - 1) / page * page;
    struct guarded *memory = all;
    while (memory && (memory->taken || memory->size != size)) memory = memory->next;
    if (!memory) memory = map(size);
    memory->taken = 1;
    memory->bytes = bytes;
    memory->at = memory->pages + (at_end ? (size - bytes) / align * align : 0);
    unpoison(memory->pages, size);
    memset(memory->pages, UNTOUCHED, (size_t)size);
    return memory;
}

void guarded_release_all(void) {
    for (struct guarded *memory = all; memory; memory = memory->next) memory->taken = 0;
}

static struct {
    void *at;
    int64_t bytes;
} sparse[8];
static int sparse_count;

void *sparse_take(int64_t bytes) {
    void *at = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return NULL;
#if defined MADV_NOHUGEPAGE
    madvise(at, (size_t)bytes, MADV_NOHUGEPAGE); /* every row would be 2 MiB of memory */
#endif
    sparse[sparse_count].at = at, sparse[sparse_count++].bytes = bytes;
    return at;
}

void sparse_release_all(void) {
    while (sparse_count) sparse_count--, munmap(sparse[sparse_count].at, (size_t)sparse[sparse_count].bytes);
}

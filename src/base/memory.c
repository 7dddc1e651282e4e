#include "base/memory.h"
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- giving up ---- */

typedef struct guard {
    jmp_buf point;
    struct guard *outer;
} guard;
static _Thread_local guard *innermost;

status memory_guarded(status (*call)(void *context), void *context) {
    guard g = {.outer = innermost};
    if (setjmp(g.point) != 0) {
        innermost = g.outer;
        return STATUS_FAILED; /* the message is there */
    }
    innermost = &g;
    status s = call(context);
    innermost = g.outer;
    return s;
}

void memory_out(size_t bytes) {
    (void)fail("out of memory (%zu bytes were asked for)", bytes);
    if (innermost) longjmp(innermost->point, 1);
    fprintf(stderr, "moec: %s\n", error_message());
    exit(STATUS_FAILED);
}

/* ---- fault injection ---- */

enum { EVERY = -1 };
static pthread_once_t budget_once = PTHREAD_ONCE_INIT;
static int64_t budget = EVERY; /* allocations that still succeed */

static void read_budget(void) {
    const char *text = getenv("MOEC_FAIL_ALLOCATION");
    if (text && *text) budget = strtoll(text, NULL, 10) - 1;
}

void memory_fail_after(int64_t allocations) {
    pthread_once(&budget_once, read_budget);
    __atomic_store_n(&budget, allocations < 0 ? EVERY : allocations, __ATOMIC_RELAXED);
}

bool memory_allows(void) {
    pthread_once(&budget_once, read_budget);
    int64_t left = __atomic_load_n(&budget, __ATOMIC_RELAXED);
    while (left > 0)
        if (__atomic_compare_exchange_n(&budget, &left, left - 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return true;
    return left == EVERY;
}

/* ---- allocation ---- */

void *xmalloc(size_t bytes) {
    void *pointer = memory_allows() ? malloc(bytes ? bytes : 1) : NULL;
    if (!pointer) memory_out(bytes);
    return pointer;
}

void *xcalloc(size_t count, size_t bytes) {
    void *pointer = memory_allows() ? calloc(count ? count : 1, bytes ? bytes : 1) : NULL;
    size_t total;
    if (!pointer) memory_out(__builtin_mul_overflow(count, bytes, &total) ? SIZE_MAX : total);
    return pointer;
}

void *xrealloc(void *pointer, size_t bytes) {
    void *moved = memory_allows() ? realloc(pointer, bytes ? bytes : 1) : NULL;
    if (!moved) memory_out(bytes);
    return moved;
}

void *memory_large(size_t bytes) {
    enum { CACHE_LINE = 64, HUGE_PAGE = 2 << 20 };
    const bool huge = bytes >= HUGE_PAGE;
    void *pointer;
    if (!memory_allows() || posix_memalign(&pointer, huge ? HUGE_PAGE : CACHE_LINE, bytes ? bytes : 1) != 0)
        return NULL;
    if (huge) madvise(pointer, bytes, MADV_HUGEPAGE); /* a hint: refusal does no harm */
    return pointer;
}

void *xmalloc_large(size_t bytes) {
    void *pointer = memory_large(bytes);
    if (!pointer) memory_out(bytes);
    return pointer;
}

char *xstrdup(const char *string) {
    size_t bytes = strlen(string) + 1;
    return memcpy(xmalloc(bytes), string, bytes);
}

char *xasprintf(const char *format, ...) {
    char *string = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = memory_allows() ? vasprintf(&string, format, arguments) : -1;
    va_end(arguments);
    if (length < 0) memory_out(strlen(format));
    return string;
}

void memory_trim(void) {
    malloc_trim(0);
}

/* /proc/self/statm: pages in all, pages in memory, … */
uint64_t memory_resident(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long long pages = 0;
    if (!f) return 0;
    const bool found = fscanf(f, "%*u %llu", &pages) == 1;
    fclose(f);
    return found ? pages * (uint64_t)sysconf(_SC_PAGE_SIZE) : 0;
}

uint64_t memory_of_machine(void) {
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGE_SIZE);
}

#include "base/memory.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The one place below cli/ that ends the program: nothing sensible can follow. */
static _Noreturn void out_of_memory(size_t bytes) {
    fprintf(stderr, "moec: out of memory (%zu bytes were asked for)\n", bytes);
    exit(1);
}

void *xmalloc(size_t bytes) {
    void *pointer = malloc(bytes ? bytes : 1);
    if (!pointer) out_of_memory(bytes);
    return pointer;
}

void *xcalloc(size_t count, size_t bytes) {
    void *pointer = calloc(count ? count : 1, bytes ? bytes : 1);
    size_t total;
    if (!pointer) out_of_memory(__builtin_mul_overflow(count, bytes, &total) ? SIZE_MAX : total);
    return pointer;
}

void *xrealloc(void *pointer, size_t bytes) {
    void *moved = realloc(pointer, bytes ? bytes : 1);
    if (!moved) out_of_memory(bytes);
    return moved;
}

char *xstrdup(const char *string) {
    size_t bytes = strlen(string) + 1;
    return memcpy(xmalloc(bytes), string, bytes);
}

char *xasprintf(const char *format, ...) {
    char *string = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&string, format, arguments);
    va_end(arguments);
    if (length < 0) out_of_memory(strlen(format));
    return string;
}

uint64_t memory_of_machine(void) {
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGE_SIZE);
}

#include "kernel/cpu/isa/scratch.h"

#include "base/memory.h"
#include <omp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct buffer {
    void *memory;
    size_t bytes;
} buffer;

static _Thread_local buffer buffers[SCRATCH_USES];
/* What each thread of the teams that this thread opens has got. */
static _Thread_local struct {
    int threads;
    size_t bytes;
} reserved;

/* A thread that ends gives its memory back: programs that make a thread for each request would otherwise lose some each time. */
static pthread_key_t at_exit;
static bool has_key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void give_back(void *first) {
    for (buffer *b = first; b < (buffer *)first + SCRATCH_USES; b++) {
        free(b->memory);
        *b = (buffer){0};
    }
}

static void make_key(void) {
    has_key = pthread_key_create(&at_exit, give_back) == 0;
}

static bool grow(buffer *b, size_t bytes) {
    if (b->bytes >= bytes) return true;
    pthread_once(&key_once, make_key);
    if (has_key) pthread_setspecific(at_exit, buffers);
    free(b->memory);
    b->memory = memory_allows() ? malloc(bytes + 63) : NULL;
    b->bytes = b->memory ? bytes : 0;
    return b->memory;
}

void KERNEL(scratch_reserve)(size_t bytes) {
    int threads = omp_get_max_threads();
    if (reserved.bytes >= bytes && reserved.threads >= threads) return;
    bool done = true;
    reserved.bytes = 0; /* where memory is out some threads are left with nothing */
#pragma omp parallel reduction(&& : done)
    done = grow(&buffers[SCRATCH_OWN], bytes);
    if (!done) memory_out(bytes);
    reserved.threads = threads;
    reserved.bytes = bytes;
}

void *KERNEL(scratch)(scratch_use use, size_t bytes) {
    buffer *b = &buffers[use];
    if (!grow(b, bytes)) memory_out(bytes);
    return (void *)(((uintptr_t)b->memory + 63) & ~(uintptr_t)63);
}

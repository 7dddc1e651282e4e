/* Memory of the CPU device: aligned, on huge pages where it is large, copied by all threads where that pays. */
#include "kernel/cpu/variant.h"

#include "base/memory.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    ALIGNMENT = 64,           /* a cache line, and an AVX-512 register */
    HUGE_PAGE = 2 << 20,      /* bytes */
    PARALLEL_BYTES = 1 << 20, /* from here on one core does not reach the memory's bandwidth */
    BLOCK_BYTES = 1 << 18     /* a thread's piece of a large copy */
};

/* Whole pages of it alone: the others belong to others, too. */
static void madvise_small(void *pointer, size_t bytes) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)pointer;
    const uintptr_t first = (at + page - 1) / page * page, end = (at + bytes) / page * page;
    if (first < end) madvise((void *)first, end - first, MADV_NOHUGEPAGE);
}

static status memory_alloc(void **pointer, size_t bytes) {
    *pointer = memory_large(bytes);
    return *pointer ? STATUS_OK : fail("out of memory: %zu bytes were asked for", bytes);
}

/* Above some size malloc maps memory of its own, whose pages come when they are first touched. */
static status memory_alloc_sparse(void **pointer, size_t bytes) {
    if (memory_allows() && posix_memalign(pointer, ALIGNMENT, bytes ? bytes : 1) == 0) {
        if (bytes >= HUGE_PAGE) madvise_small(*pointer, bytes);
        return STATUS_OK;
    }
    *pointer = NULL;
    return fail("out of memory: %zu bytes were asked for", bytes);
}

static void memory_release(void *pointer) {
    free(pointer);
}

static void memory_copy(void *to, const void *from, size_t bytes) {
    if (bytes == 0) return;
#pragma omp parallel for schedule(static) if (bytes >= PARALLEL_BYTES)
    for (size_t i = 0; i < bytes; i += BLOCK_BYTES)
        memcpy((char *)to + i, (const char *)from + i, bytes - i < BLOCK_BYTES ? bytes - i : BLOCK_BYTES);
}

static void memory_zero(void *pointer, size_t bytes) {
    if (bytes == 0) return;
#pragma omp parallel for schedule(static) if (bytes >= PARALLEL_BYTES)
    for (size_t i = 0; i < bytes; i += BLOCK_BYTES)
        memset((char *)pointer + i, 0, bytes - i < BLOCK_BYTES ? bytes - i : BLOCK_BYTES);
}

static void to_act(void *out, const float *in, int64_t count) {
    act *o = out;
#pragma omp parallel for simd schedule(static) if (count >= PARALLEL_BYTES / 4)
    for (int64_t i = 0; i < count; i++) o[i] = act_store(in[i]);
}

static void to_float(float *out, const void *in, int64_t count) {
    const act *a = in;
#pragma omp parallel for simd schedule(static) if (count >= PARALLEL_BYTES / 4)
    for (int64_t i = 0; i < count; i++) out[i] = act_load(a[i]);
}

void KERNEL(fill_memory)(kernels *table) {
    table->alloc = memory_alloc;
    table->alloc_sparse = memory_alloc_sparse;
    table->release = memory_release;
    table->upload = memory_copy;
    table->download = memory_copy;
    table->copy = memory_copy;
    table->zero = memory_zero;
    table->to_act = to_act;
    table->to_float = to_float;
}

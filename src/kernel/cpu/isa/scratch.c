#include "kernel/cpu/isa/scratch.h"

#include "base/memory.h"
#include <stdlib.h>

typedef struct buffer {
    void *memory;
    size_t bytes;
} buffer;

static _Thread_local buffer buffers[SCRATCH_USES];

void *KERNEL(scratch)(scratch_use use, size_t bytes) {
    buffer *b = &buffers[use];
    if (b->bytes < bytes) {
        free(b->memory);
        b->memory = xmalloc(bytes + 63);
        b->bytes = bytes;
    }
    return (void *)(((uintptr_t)b->memory + 63) & ~(uintptr_t)63);
}

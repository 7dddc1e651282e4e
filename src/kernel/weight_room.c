#include "kernel/weight_room.h"

#include "base/memory.h"
#include <pthread.h>
#include <stdlib.h>

enum { ALIGNMENT = 64 };

typedef struct block {
    char *memory;
    size_t used, bytes;
    size_t filled; /* that were used from the start: all of what was adopted */
    void (*release)(void *owner);
    void *owner;
    struct block *next;
} block;

struct weight_room {
    const kernels *k;
    size_t block_bytes;
    bool sparse;
    pthread_mutex_t lock; /* products make their own form of a weight when they first need it, in several threads */
    block *blocks;
};

status weight_room_create(weight_room **out, const kernels *k, size_t block_bytes, bool sparse) {
    weight_room *r = xcalloc(1, sizeof *r);
    r->k = k;
    r->block_bytes = block_bytes;
    r->sparse = sparse;
    pthread_mutex_init(&r->lock, NULL);
    *out = r;
    return STATUS_OK;
}

void weight_room_destroy(weight_room *r) {
    if (!r) return;
    for (block *b = r->blocks, *next; b; b = next) {
        next = b->next;
        b->release(b->owner);
        free(b);
    }
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void weight_room_empty(weight_room *r) {
    for (block *b = r->blocks; b; b = b->next) b->used = b->filled;
}

static status add_block(weight_room *r, block contents) {
    block *b = memory_allows() ? malloc(sizeof *b) : NULL; /* xmalloc may not be: a parallel region asks, too */
    if (!b) return fail("out of memory: %zu bytes were asked for", sizeof *b);
    *b = contents;
    b->next = r->blocks;
    r->blocks = b;
    return STATUS_OK;
}

static status allocate_block(weight_room *r, size_t bytes) {
    void *memory;
    TRY(r->sparse ? r->k->alloc_sparse(&memory, bytes) : r->k->alloc(&memory, bytes));
    const status s = add_block(r, (block){.memory = memory, .bytes = bytes, .release = r->k->release, .owner = memory});
    if (s != STATUS_OK) r->k->release(memory);
    return s;
}

status weight_room_adopt(weight_room *r, void *memory, size_t bytes, void (*release)(void *owner), void *owner) {
    pthread_mutex_lock(&r->lock);
    const status s = add_block(
        r,
        (block){.memory = memory, .used = bytes, .bytes = bytes, .filled = bytes, .release = release, .owner = owner});
    pthread_mutex_unlock(&r->lock);
    return s;
}

/* The block with the least room that is enough: small matrices fill what larger ones left over, and what comes into a room that was emptied
 * finds its like's block. */
static block *find_block(const weight_room *r, size_t bytes) {
    block *best = NULL;
    for (block *b = r->blocks; b; b = b->next) {
        const size_t left = b->bytes - b->used;
        if (left >= bytes && (!best || left < best->bytes - best->used)) best = b;
    }
    return best;
}

static status take(weight_room *r, void **pointer, size_t bytes) {
    block *b = find_block(r, bytes);
    if (!b) {
        TRY(allocate_block(r, bytes > r->block_bytes ? bytes : r->block_bytes));
        b = r->blocks;
    }
    *pointer = b->memory + b->used;
    b->used += bytes;
    return STATUS_OK;
}

status weight_room_take(weight_room *r, const kernels *k, void **pointer, size_t bytes) {
    *pointer = NULL;
    if (!r) return k->alloc(pointer, bytes);
    if (!memory_allows()) return fail("out of memory: %zu bytes were asked for", bytes);
    pthread_mutex_lock(&r->lock);
    const status s = take(r, pointer, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    pthread_mutex_unlock(&r->lock);
    return s;
}

void weight_room_give(const weight_room *r, const kernels *k, void *pointer) {
    if (!r) k->release(pointer);
}

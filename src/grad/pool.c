#include "grad/pool.h"

#include "base/memory.h"
#include <stdlib.h>

enum { CLASS_COUNT = 64 * 8, SMALLEST = 256 };

typedef struct block {
    void *pointer;
    size_t bytes;
    int size_class;
    bool taken;
} block;

struct pool {
    const kernels *k;
    block *blocks;
    int count, capacity;
    int *slots; /* open addressing: pointer → index + 1; a power of two, at most half full */
    int slot_count;
    int *free_blocks[CLASS_COUNT]; /* stacks of block indices */
    int free_count[CLASS_COUNT], free_capacity[CLASS_COUNT];
    size_t taken_bytes, peak_bytes;
};

/* Class of a size and the size that the class hands out: 2^o · (8 + s) / 8. */
static int class_of(size_t bytes, size_t *rounded) {
    if (bytes < SMALLEST) bytes = SMALLEST;
    int octave = 63 - __builtin_clzll(bytes);
    size_t step = (size_t)1 << (octave - 3);
    size_t steps = (bytes - ((size_t)1 << octave) + step - 1) / step;
    *rounded = ((size_t)1 << octave) + steps * step;
    return octave * 8 + (int)steps; /* steps == 8 is the next octave's first class */
}

static int *find_slot(const pool *p, const void *pointer) {
    size_t at = ((uintptr_t)pointer >> 6) * 0x9e3779b97f4a7c15u >> 20;
    for (;; at++) {
        int *slot = &p->slots[at & (size_t)(p->slot_count - 1)];
        if (*slot == 0 || p->blocks[*slot - 1].pointer == pointer) return slot;
    }
}

static void grow_table(pool *p) {
    free(p->slots);
    p->slot_count = p->slot_count ? 2 * p->slot_count : 256;
    p->slots = xcalloc((size_t)p->slot_count, sizeof(int));
    for (int i = 0; i < p->count; i++) *find_slot(p, p->blocks[i].pointer) = i + 1;
}

pool *pool_create(const kernels *k) {
    pool *p = xcalloc(1, sizeof *p);
    p->k = k;
    grow_table(p);
    return p;
}

void pool_destroy(pool *p) {
    if (!p) return;
    for (int i = 0; i < p->count; i++) p->k->release(p->blocks[i].pointer);
    for (int i = 0; i < CLASS_COUNT; i++) free(p->free_blocks[i]);
    free(p->blocks);
    free(p->slots);
    free(p);
}

static int new_block(pool *p, size_t bytes, int size_class) {
    void *pointer;
    if (p->k->alloc(&pointer, bytes) != STATUS_OK) return -1;
    if (p->count == p->capacity) {
        p->capacity = p->capacity ? 2 * p->capacity : 128;
        p->blocks = xrealloc(p->blocks, (size_t)p->capacity * sizeof *p->blocks);
    }
    p->blocks[p->count] = (block){.pointer = pointer, .bytes = bytes, .size_class = size_class};
    p->count++;
    if (2 * p->count > p->slot_count) grow_table(p);
    *find_slot(p, pointer) = p->count;
    return p->count - 1;
}

static void take(pool *p, int index) {
    block *b = &p->blocks[index];
    b->taken = true;
    p->taken_bytes += b->bytes;
    if (p->taken_bytes > p->peak_bytes) p->peak_bytes = p->taken_bytes;
}

static void give(pool *p, int index) {
    block *b = &p->blocks[index];
    int c = b->size_class;
    b->taken = false;
    p->taken_bytes -= b->bytes;
    if (p->free_count[c] == p->free_capacity[c]) {
        p->free_capacity[c] = p->free_capacity[c] ? 2 * p->free_capacity[c] : 8;
        p->free_blocks[c] = xrealloc(p->free_blocks[c], (size_t)p->free_capacity[c] * sizeof(int));
    }
    p->free_blocks[c][p->free_count[c]++] = index;
}

/* The smallest free block of class c or, so that sizes which change from step to step (tokens of an expert) need not each
 * have blocks of their own, of the two classes above; −1: none. More classes would take blocks away from the sizes that
 * stay: with eight a dense step needs 5 % more memory. */
static int take_free(pool *p, int c) {
    for (int larger = c; larger <= c + 2 && larger < CLASS_COUNT; larger++)
        if (p->free_count[larger] > 0) return p->free_blocks[larger][--p->free_count[larger]];
    return -1;
}

void *pool_take(pool *p, size_t bytes) {
    size_t rounded;
    int c = class_of(bytes, &rounded), index = take_free(p, c);
    if (index < 0) index = new_block(p, rounded, c);
    if (index < 0) return NULL;
    take(p, index);
    return p->blocks[index].pointer;
}

void pool_give(pool *p, void *pointer) {
    if (!pointer) return;
    int index = *find_slot(p, pointer) - 1;
    if (index >= 0 && p->blocks[index].taken) give(p, index);
}

void pool_give_all(pool *p) {
    for (int i = p->count - 1; i >= 0; i--)
        if (p->blocks[i].taken) give(p, i);
}

size_t pool_peak_bytes(const pool *p) {
    return p->peak_bytes;
}

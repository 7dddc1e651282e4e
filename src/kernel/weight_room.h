/* Memory for the matrices of a model that is only run: taken piece behind piece from a few large blocks, and given back as a whole. Whoever
 * owns a block, the device's allocator or a file that is mapped, its matrices are the room's and know nothing of it.
 * A matrix with memory of its own begins a huge page (2 MiB), or lies in a heap among the holes of what was there while it was
 * loaded: SmolLM2-135M, a file of 98 MB in 4 bits, took 201 MB so. */
#ifndef MOEC_KERNEL_WEIGHT_ROOM_H
#define MOEC_KERNEL_WEIGHT_ROOM_H

#include "kernel/kernel.h"

/* Blocks of so many bytes; what is larger has a block of its own. sparse: they are taken page by page (alloc_sparse), for rooms that are small
 * beside huge pages. */
status weight_room_create(weight_room **out, const kernels *k, size_t block_bytes, bool sparse);
/* All that was taken is given back; the blocks stay for what comes next. */
void weight_room_empty(weight_room *r);
void weight_room_destroy(weight_room *r); /* NULL is fine; behind the last use of all that was taken */
/* Device memory, 64-byte aligned, not zeroed; by any thread. Of a room that is NULL it is memory of its own. */
status weight_room_take(weight_room *r, const kernels *k, void **pointer, size_t bytes);
/* Memory that is full already, such as a file's that is mapped: it belongs to the room like its own blocks, is not taken from, and goes with
 * the room, by release(owner), behind the last use of what lies in it. After a failure it is still the caller's. */
status weight_room_adopt(weight_room *r, void *memory, size_t bytes, void (*release)(void *owner), void *owner);
/* For what was taken: memory of its own goes back, a room's stays until the room goes. */
void weight_room_give(const weight_room *r, const kernels *k, void *pointer);

#endif

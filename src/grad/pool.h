/* A pool of device memory: blocks are handed out and taken back without the device's allocator once a first pass has
 * shown which sizes are needed. Sizes are rounded up to classes an eighth of an octave apart, and where no block of the class is
 * free one of the next two is taken, so that groups of varying size reuse each other's blocks. */
#ifndef MOEC_GRAD_POOL_H
#define MOEC_GRAD_POOL_H

#include "kernel/kernel.h"

typedef struct pool pool;

pool *pool_create(const kernels *k);
void pool_destroy(pool *p);
void *pool_take(pool *p, size_t bytes); /* NULL when the device is out of memory; error_message() says so */
void pool_give(pool *p, void *pointer);
void pool_give_all(pool *p);           /* every block is free again */
size_t pool_peak_bytes(const pool *p); /* the most that was handed out at one time, in whole blocks */

#endif

/* How other programs store the numbers of a tensor: floats, and GGUF's blocks of small integers with scales
 * (ggml-common.h and ggml-quants.c of llama.cpp). A block covers consecutive elements of a row.
 *
 *   type   block   bytes   value of element i
 *   Q8_0      32      34   d q                d half, q int8
 *   Q4_0      32      18   d (q − 8)          q: low nibbles are elements 0 … 15, high ones 16 … 31
 *   Q4_1      32      20   d q + m
 *   Q5_0      32      22   d (q − 16)         the fifth bits in a uint32
 *   Q5_1      32      24   d q + m
 *   Q4_K     256     144   d s_j q − m u_j    s, u: 6 bits for each 32 elements
 *   Q6_K     256     210   d s_j (q − 32)     s: int8 for each 16 elements */
#ifndef MOEC_FORMATS_STORAGE_H
#define MOEC_FORMATS_STORAGE_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum storage {
    STORAGE_F32,
    STORAGE_F16,
    STORAGE_BF16,
    STORAGE_Q8_0,
    STORAGE_Q4_0,
    STORAGE_Q4_1,
    STORAGE_Q5_0,
    STORAGE_Q5_1,
    STORAGE_Q4_K,
    STORAGE_Q6_K,
    STORAGES
} storage;

const char *storage_name(storage s);               /* "F32", "Q4_0" */
bool storage_find(const char *name, storage *s);   /* in any case of letters */
int64_t storage_block(storage s);                  /* elements; 1 for floats */
size_t storage_bytes(storage s, int64_t elements); /* elements: a multiple of the block */
/* `elements` (a multiple of the block) from anywhere, unaligned. */
void storage_read(storage s, const void *from, int64_t elements, float *to);
/* Elements of a block that share a scale (and an offset); 0: floats. */
int64_t storage_group(storage s);
bool storage_has_offset(storage s);
/* The same elements as q · scale + offset, with integers −128 … 127; scale and offset by group. offset may be NULL where the
 * storage has none. Only where storage_group is not 0. */
void storage_read_codes(storage s, const void *from, int64_t elements, int8_t *q, float *scale, float *offset);
/* Whether storage_write can make it: floats and Q8_0. */
bool storage_can_write(storage s);
void storage_write(storage s, const float *from, int64_t elements, void *to);

#endif

/* Bytes of the artifact: growing and reading them, LZMA, half-width floats and byte planes. Everything is little-endian. */
#ifndef MOEC_STORE_BYTES_H
#define MOEC_STORE_BYTES_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct byte_buffer {
    uint8_t *bytes; /* free() it; NULL while empty */
    size_t count, capacity;
} byte_buffer;
void buffer_add(byte_buffer *b, const void *bytes, size_t count);
void buffer_add_number(byte_buffer *b, uint64_t value, int width); /* width bytes */

/* Reads from the front; after the first read beyond the end all reads give 0 and `overrun` is set. */
typedef struct byte_reader {
    const uint8_t *next;
    size_t left;
    bool overrun;
} byte_reader;
uint64_t reader_number(byte_reader *r, int width);
const uint8_t *reader_take(byte_reader *r, size_t count); /* NULL beyond the end */

/* Raw LZMA1 as liblzma writes it: preset 9e with a dictionary of up to 8 MiB, lc 3, lp 0, pb 0, and an end marker. */
status lzma_pack(const void *bytes, size_t count, byte_buffer *out); /* appends */
/* Exactly `expected` bytes must come out. *out is malloc'ed, with a NUL behind the last byte. */
status lzma_unpack(const uint8_t *bytes, size_t count, size_t expected, uint8_t **out);

/* The bytes of `count` values of `width` bytes, all first bytes, then all second bytes …: what a float's high bytes have in
 * common lies together, which LZMA likes. planes_split appends. */
void planes_split(byte_buffer *out, const void *values, size_t count, int width);
void planes_join(void *values, const uint8_t *planes, size_t count, int width);

#endif

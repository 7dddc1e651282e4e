/* The bytes of a file as they were before gzip or zstd, piece by piece; unpack.c is the one file that knows zlib and libzstd. */
#ifndef MOEC_FETCH_UNPACK_H
#define MOEC_FETCH_UNPACK_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>

enum {
    UNPACK_MAX_RATIO =
        250, /* text has 3 to 10; beyond this, and beyond UNPACK_FREE_BYTES, a file is refused as a bomb */
    UNPACK_FREE_BYTES = 64 << 20
};

typedef struct unpacker unpacker;

/* Which of the two a file is, or neither, its first bytes say. */
status unpack_open(unpacker **u, const char *path);
void unpack_close(unpacker *u); /* NULL is fine */
/* Up to `room` bytes; *count 0: the end, of whole streams only. After an interrupt: STATUS_INTERRUPTED. */
status unpack_read(unpacker *u, void *bytes, size_t room, size_t *count);
/* The next line with a NUL in the place of its end, whose bytes stay until the next call; NULL: the end. Longer ones are refused. */
enum { UNPACK_MAX_LINE = 64 << 20 };
status unpack_line(unpacker *u, char **line, size_t *bytes);

#endif

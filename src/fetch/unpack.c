#include "fetch/unpack.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { PIECE_BYTES = 1 << 16 };

typedef enum packing { PLAIN, GZIP, ZSTD } packing;

struct unpacker {
    char *path;
    FILE *file;
    packing kind;
    z_stream gzip;
    ZSTD_DStream *zstd;
    uint8_t packed[PIECE_BYTES]; /* read, and from `at` on not used yet */
    size_t at, end;
    uint64_t in, out; /* bytes used and given */
    bool within;      /* a stream has begun and not ended */
    char *text;       /* of lines: [line, filled) is to be given */
    size_t line, filled, room;
};

void unpack_close(unpacker *u) {
    if (!u) return;
    if (u->kind == GZIP) inflateEnd(&u->gzip);
    ZSTD_freeDStream(u->zstd);
    if (u->file) fclose(u->file);
    free(u->text);
    free(u->path);
    free(u);
}

/* More packed bytes, unless there are some; u->at == u->end afterwards: the file's end. */
static status fill(unpacker *u) {
    if (interrupt_requested()) return fail("%s: interrupted", u->path), STATUS_INTERRUPTED;
    if (u->at < u->end) return STATUS_OK;
    u->at = 0;
    u->end = fread(u->packed, 1, PIECE_BYTES, u->file);
    return ferror(u->file) ? fail("%s: cannot read: %s", u->path, strerror(errno)) : STATUS_OK;
}

status unpack_open(unpacker **out, const char *path) {
    static const uint8_t gzip[] = {0x1F, 0x8B}, zstd[] = {0x28, 0xB5, 0x2F, 0xFD};
    unpacker *u = *out = xcalloc(1, sizeof *u);
    u->path = xstrdup(path);
    TRY(file_open_stream(path, O_RDONLY, "rb", &u->file));
    TRY(fill(u));
    if (u->end >= sizeof gzip && memcmp(u->packed, gzip, sizeof gzip) == 0) {
        if (inflateInit2(&u->gzip, 15 + 16) != Z_OK) memory_out(1);
        u->kind = GZIP;
    } else if (u->end >= sizeof zstd && memcmp(u->packed, zstd, sizeof zstd) == 0) {
        u->kind = ZSTD;
        u->zstd = ZSTD_createDStream();
        if (!u->zstd) memory_out(1);
    }
    return STATUS_OK;
}

/* One step of a decoder from u->packed to bytes: how much it took and gave. */
static status step_gzip(unpacker *u, void *bytes, size_t room, size_t *taken, size_t *given) {
    u->gzip.next_in = u->packed + u->at;
    u->gzip.avail_in = (uInt)(u->end - u->at);
    u->gzip.next_out = bytes;
    u->gzip.avail_out = (uInt)room;
    int result = inflate(&u->gzip, Z_NO_FLUSH);
    *taken = u->end - u->at - u->gzip.avail_in;
    *given = room - u->gzip.avail_out;
    u->within = result != Z_STREAM_END;
    if (result == Z_STREAM_END) inflateReset(&u->gzip); /* another member may follow */
    if (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR) return STATUS_OK;
    return fail("%s: damaged gzip: %s", u->path, u->gzip.msg ? u->gzip.msg : zError(result));
}

static status step_zstd(unpacker *u, void *bytes, size_t room, size_t *taken, size_t *given) {
    ZSTD_inBuffer in = {u->packed + u->at, u->end - u->at, 0};
    ZSTD_outBuffer out = {bytes, room, 0};
    size_t result = ZSTD_decompressStream(u->zstd, &out, &in);
    *taken = in.pos;
    *given = out.pos;
    u->within = result != 0;
    return ZSTD_isError(result) ? fail("%s: damaged zstd: %s", u->path, ZSTD_getErrorName(result)) : STATUS_OK;
}

static status step(unpacker *u, void *bytes, size_t room, size_t *taken, size_t *given) {
    if (u->kind == GZIP) return step_gzip(u, bytes, room, taken, given);
    if (u->kind == ZSTD) return step_zstd(u, bytes, room, taken, given);
    *taken = *given = u->end - u->at < room ? u->end - u->at : room;
    memcpy(bytes, u->packed + u->at, *given);
    return STATUS_OK;
}

status unpack_read(unpacker *u, void *bytes, size_t room, size_t *count) {
    if (room > PIECE_BYTES) room = PIECE_BYTES;
    for (*count = 0; *count == 0;) {
        size_t taken = 0;
        TRY(fill(u));
        const bool ended = u->at == u->end;
        if (ended && !u->within) return STATUS_OK;
        TRY(step(u, bytes, room, &taken, count));
        u->at += taken;
        u->in += taken;
        u->out += *count;
        if (ended && *count == 0)
            return fail("%s: truncated: expected more behind byte %llu", u->path, (unsigned long long)u->in);
        if (u->out > UNPACK_FREE_BYTES && u->out / UNPACK_MAX_RATIO > u->in)
            return fail("%s: expected text, at most %d times its packed bytes, found more", u->path, UNPACK_MAX_RATIO);
    }
    return STATUS_OK;
}

/* ---- lines ---- */

static status more_text(unpacker *u, bool *end) {
    size_t count;
    if (u->line > 0) {
        memmove(u->text, u->text + u->line, u->filled - u->line);
        u->filled -= u->line;
        u->line = 0;
    }
    if (u->filled > UNPACK_MAX_LINE)
        return fail("%s: expected lines of at most %d bytes, found more", u->path, UNPACK_MAX_LINE);
    if (u->room < u->filled + PIECE_BYTES + 1) {
        u->room = 2 * u->filled + 2 * PIECE_BYTES;
        u->text = xrealloc(u->text, u->room);
    }
    TRY(unpack_read(u, u->text + u->filled, PIECE_BYTES, &count));
    u->filled += count;
    *end = count == 0;
    return STATUS_OK;
}

status unpack_line(unpacker *u, char **line, size_t *bytes) {
    size_t looked = 0; /* of the unfinished line */
    bool end = false;
    *line = NULL;
    if (!u->text) u->text = xmalloc(u->room = 2 * PIECE_BYTES);
    for (;;) {
        char *from = u->text + u->line, *stop = NULL;
        if (u->filled > u->line + looked) stop = memchr(from + looked, '\n', u->filled - u->line - looked);
        if (!stop && end) {
            if (u->filled == u->line) return STATUS_OK;
            stop = u->text + u->filled; /* there is room for the NUL */
        }
        if (stop) {
            *line = from;
            *bytes = (size_t)(stop - from);
            *stop = '\0';
            u->line += *bytes + 1;
            if (u->line > u->filled) u->line = u->filled;
            if (*bytes && stop[-1] == '\r') from[--*bytes] = '\0';
            return STATUS_OK;
        }
        looked = u->filled - u->line;
        TRY(more_text(u, &end));
    }
}

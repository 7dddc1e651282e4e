#include "text/shard.h"
#include "base/memory.h"
#include "text/checksums.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct shard_format {
    int32_t magic, version;
    int token_bytes;
} shard_format;

static const shard_format narrow = {20240520, 1, sizeof(uint16_t)}, wide = {20240801, 7, sizeof(uint32_t)};

/* ---- reading ---- */

static int32_t little_int32(const uint8_t *b) {
    return (int32_t)((uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24);
}

static status check_header(const char *path, const uint8_t *bytes, size_t count, const shard_format **format) {
    if (count < SHARD_HEADER_BYTES)
        return fail("%s: expected a shard with a header of %d bytes, found %zu bytes", path, SHARD_HEADER_BYTES, count);
    int32_t magic = little_int32(bytes), version = little_int32(bytes + 4), tokens = little_int32(bytes + 8);
    if (magic != narrow.magic && magic != wide.magic)
        return fail("%s: expected the shard magic %d (16-bit tokens) or %d (32-bit tokens), found %d", path,
                    narrow.magic, wide.magic, magic);
    *format = magic == narrow.magic ? &narrow : &wide;
    if (version != (*format)->version)
        return fail("%s: expected shard version %d, found %d", path, (*format)->version, version);
    if (tokens < 0) return fail("%s: expected a token count of 0 or more, found %d", path, tokens);
    size_t expected = SHARD_HEADER_BYTES + (size_t)tokens * (size_t)(*format)->token_bytes;
    if (count != expected)
        return fail("%s: expected %zu bytes for the header's %d tokens, found %zu", path, expected, tokens, count);
    return STATUS_OK;
}

static uint32_t largest_narrow(const uint16_t *tokens, int64_t count) {
    uint16_t largest = 0;
    for (int64_t i = 0; i < count; i++) largest = tokens[i] > largest ? tokens[i] : largest;
    return largest;
}

static uint32_t largest_wide(const uint32_t *tokens, int64_t count) {
    uint32_t largest = 0;
    for (int64_t i = 0; i < count; i++) largest = tokens[i] > largest ? tokens[i] : largest;
    return largest;
}

/* Every shard is read whole here, so the ids go by in blocks whose maximum the compiler can vectorise. */
static status check_ids(const shard *s, int vocab_size) {
    enum { BLOCK = 4096 };
    const uint32_t limit = vocab_size > 0 ? (uint32_t)vocab_size : (uint32_t)INT32_MAX + 1;
    for (int64_t at = 0; at < s->count; at += BLOCK) {
        int64_t size = s->count - at < BLOCK ? s->count - at : BLOCK;
        uint32_t largest = s->token_bytes == 2 ? largest_narrow((const uint16_t *)s->tokens + at, size)
                                               : largest_wide((const uint32_t *)s->tokens + at, size);
        if (largest < limit) continue;
        while ((uint32_t)shard_token(s, at) < limit) at++;
        return fail("%s: expected token ids below the vocabulary's %u, found %u at token %lld", s->path, limit,
                    (uint32_t)shard_token(s, at), (long long)at);
    }
    return STATUS_OK;
}

status shard_parse(shard *s, const char *path, const uint8_t *bytes, size_t count, int vocab_size) {
    memset(s, 0, sizeof *s);
    const shard_format *format = NULL;
    TRY(check_header(path, bytes, count, &format));
    *s = (shard){.path = xstrdup(path),
                 .tokens = bytes + SHARD_HEADER_BYTES,
                 .token_bytes = format->token_bytes,
                 .count = little_int32(bytes + 8)};
    status result = check_ids(s, vocab_size);
    if (result != STATUS_OK) shard_close(s);
    return result;
}

status shard_open(shard *s, const char *path, int vocab_size) {
    file_map map;
    memset(s, 0, sizeof *s);
    TRY(file_map_open(&map, path));
    status result = checksums_check(path, map.bytes, map.count);
    if (result == STATUS_OK) result = shard_parse(s, path, map.bytes, map.count, vocab_size);
    if (result == STATUS_OK)
        s->map = map;
    else
        file_map_close(&map);
    return result;
}

shard shard_of_ids(const char *name, const int32_t *ids, int64_t count) {
    return (shard){.path = xstrdup(name), .tokens = ids, .token_bytes = sizeof *ids, .count = count};
}

void shard_close(shard *s) {
    if (s->map.bytes) file_map_close(&s->map);
    free(s->path);
    memset(s, 0, sizeof *s);
}

void shard_read(const shard *s, int64_t first, int64_t count, int32_t *ids) {
    if (s->token_bytes == 2) {
        const uint16_t *from = (const uint16_t *)s->tokens + first;
        for (int64_t i = 0; i < count; i++) ids[i] = from[i];
    } else {
        memcpy(ids, (const int32_t *)s->tokens + first, (size_t)count * sizeof *ids);
    }
}

/* ---- writing ---- */

static void write_header(file_writer *w, const shard_format *format, int64_t count) {
    uint8_t header[SHARD_HEADER_BYTES] = {0};
    const int32_t fields[3] = {format->magic, format->version, (int32_t)count};
    for (int i = 0; i < 12; i++) header[i] = (uint8_t)((uint32_t)fields[i / 4] >> (i % 4 * 8));
    file_write(w, header, sizeof header);
}

static void write_narrow(file_writer *w, const int32_t *ids, int64_t count) {
    enum { BLOCK = 16384 };
    uint16_t block[BLOCK];
    for (int64_t at = 0; at < count; at += BLOCK) {
        int64_t size = count - at < BLOCK ? count - at : BLOCK;
        for (int64_t i = 0; i < size; i++) block[i] = (uint16_t)ids[at + i];
        file_write(w, block, (size_t)size * sizeof *block);
    }
}

status shard_write(const char *path, const int32_t *ids, int64_t count, int vocab_size, uint64_t *crc) {
    const shard_format *format = vocab_size <= SHARD_NARROW_VOCABULARY ? &narrow : &wide;
    if (count < 0 || count > INT32_MAX)
        return fail("%s: expected at most %d tokens in a shard, found %lld", path, INT32_MAX, (long long)count);
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= vocab_size)
            return fail("%s: expected token ids below the vocabulary's %d, found %d at token %lld", path, vocab_size,
                        ids[i], (long long)i);
    file_writer w;
    TRY(file_create(&w, path));
    write_header(&w, format, count);
    if (format == &narrow)
        write_narrow(&w, ids, count);
    else
        file_write(&w, ids, (size_t)count * sizeof *ids);
    if (crc) *crc = w.crc;
    return file_commit(&w);
}

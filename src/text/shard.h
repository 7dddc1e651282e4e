/* Token shards: 256 little-endian int32 (magic, version, token count, 0 …), then the tokens. Vocabularies of up to 65,536
 * have the record scripts' shards of uint16 tokens (magic 20240520, version 1), larger ones llm.c's of uint32 tokens (magic
 * 20240801, version 7). Nothing above this header cares which of them a shard is.
 * Every document starts with the tokenizer's BOS, which is how boundaries are found again; documents.h has the table that
 * lies beside a shard. */
#ifndef MOEC_TEXT_SHARD_H
#define MOEC_TEXT_SHARD_H

#include "base/file.h"

enum { SHARD_HEADER_BYTES = 1024, SHARD_NARROW_VOCABULARY = 65536 };

typedef struct shard {
    file_map map;
    char *path;
    const void *tokens; /* [count] of uint16 or uint32: see shard_token */
    int token_bytes;    /* 2, 4 */
    int64_t count;
} shard;

/* Checks the file's checksum (checksums.h), magic, version, count against the file's size, and every id against vocab_size (0: only against int32). */
status shard_open(shard *s, const char *path, int vocab_size);
/* The same for bytes in memory, aligned to 4, which stay the caller's and live as long as the shard. */
status shard_parse(shard *s, const char *path, const uint8_t *bytes, size_t count, int vocab_size);
/* A shard that is no file: ids [count] stay the caller's; `name` is for messages. */
shard shard_of_ids(const char *name, const int32_t *ids, int64_t count);
void shard_close(shard *s);

static inline int32_t shard_token(const shard *s, int64_t i) {
    return s->token_bytes == 2 ? ((const uint16_t *)s->tokens)[i] : (int32_t)((const uint32_t *)s->tokens)[i];
}
void shard_read(const shard *s, int64_t first, int64_t count, int32_t *ids);

/* The kind of shard follows from vocab_size; every id must be below it. *crc (may be NULL): of the file's bytes. */
status shard_write(const char *path, const int32_t *ids, int64_t count, int vocab_size, uint64_t *crc);

#endif

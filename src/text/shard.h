/* Token shards in the record scripts' format: 256 little-endian int32 (magic 20240520, version 1, token count, 0 …), then
 * uint16 tokens. Every document starts with the tokenizer's BOS, which is how boundaries are found again.
 * Beside NAME.bin lies NAME.docs.tsv: one line a document: first token, tokens, bytes of text, domain, source. */
#ifndef MOEC_TEXT_SHARD_H
#define MOEC_TEXT_SHARD_H

#include "base/file.h"

enum { SHARD_MAGIC = 20240520, SHARD_VERSION = 1, SHARD_HEADER_BYTES = 1024 };

typedef struct shard {
    file_map map;
    char *path;
    const uint16_t *tokens;
    int64_t count;
} shard;

/* Checks magic, version, count against the file's size, and every id against vocab_size (0: not checked). */
status shard_open(shard *s, const char *path, int vocab_size);
status shard_parse(shard *s, const char *path, const uint8_t *bytes, size_t count, int vocab_size);
void shard_close(shard *s);
status shard_write(const char *path, const uint16_t *tokens, int64_t count);

typedef struct document {
    int64_t start, count; /* tokens, BOS included */
    int64_t bytes;        /* of the original text */
    int domain;           /* index into document_table.domains */
} document;

typedef struct document_table {
    document *documents;
    int64_t count;
    char **domains; /* in order of first appearance */
    int domain_count;
} document_table;
/* Reads the .docs.tsv beside a shard; documents must tile the shard's tokens. An absent file is an error. */
status document_table_read(document_table *d, const char *shard_path, int64_t token_count);
void document_table_free(document_table *d);

#endif

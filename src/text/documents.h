/* The table of a shard's documents: beside NAME.bin lies NAME.docs.tsv, one line a document: first token, tokens, bytes of
 * text, domain, source. */
#ifndef MOEC_TEXT_DOCUMENTS_H
#define MOEC_TEXT_DOCUMENTS_H

#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

enum { DOCUMENTS_MAX_DOMAINS = 256 };

typedef struct document {
    int64_t start, count; /* tokens, BOS included */
    int64_t bytes;        /* of the original text */
    int domain;           /* index into document_table.domains */
} document;

typedef struct document_table {
    document *documents; /* they tile the shard's tokens */
    int64_t count;       /* 0: the shard has no table */
    char **domains;      /* in order of first appearance */
    int domain_count;
} document_table;

/* Reads the table beside a shard, if there is one. */
status document_table_read(document_table *d, const char *shard_path, int64_t token_count);
/* The same for its text, which is changed; `path` is for messages. */
status document_table_parse(document_table *d, char *text, size_t bytes, const char *path, int64_t token_count);
void document_table_free(document_table *d);
/* Index of the document that token `position` is in. */
int64_t document_at(const document_table *d, int64_t position);

#endif

/* Some shards as one text: their tokens one after another, and the domains of all their documents. */
#ifndef MOEC_TEXT_SHARD_SET_H
#define MOEC_TEXT_SHARD_SET_H

#include "text/documents.h"
#include "text/shard.h"

typedef enum shard_part { SHARDS_TRAINING, SHARDS_HELD_OUT } shard_part; /* of a folder: *_train_*.bin, *_val_*.bin */

typedef struct shard_set {
    char *where; /* the pattern, for messages */
    shard *shards;
    document_table *documents; /* of each shard; their domains are indices into `domains` below */
    int64_t *start;            /* [count + 1] first token of each in the whole */
    int count;
    char **domains; /* of all shards, in the order of first appearance; none: no shard has a table (documents.h) */
    int domain_count;
} shard_set;

/* Tokens that lie together in one shard. */
typedef struct shard_span {
    int shard;
    int64_t first, count; /* within the shard */
} shard_span;

/* pattern: a folder (its shards of this part), a shard, or a glob. */
status shard_set_open(shard_set *s, const char *pattern, shard_part part, int vocab_size);
void shard_set_close(shard_set *s);
int64_t shard_set_tokens(const shard_set *s);
/* The part of tokens start … start + count − 1 of the whole that begins there and lies in one shard. */
shard_span shard_set_span(const shard_set *s, int64_t start, int64_t count);
void shard_set_read(const shard_set *s, int64_t start, int64_t count, int32_t *ids);

#endif

/* Batches from shards: contiguous windows of B·T + 1 tokens, read on and on, wrapping around at the end, as the record
 * scripts read them; optionally the windows are visited in a seeded random order, or drawn so that each domain has its share
 * (mix.h). The position is plain data, so that a resumed run reads the same tokens.
 *
 * Rows can be kept aside (loader_keep): they are passed over where their turn comes, so the others keep their order. */
#ifndef MOEC_TEXT_LOADER_H
#define MOEC_TEXT_LOADER_H

#include "text/batch.h"
#include "text/mix.h"
#include "text/tokenizer.h"

typedef struct loader_position {
    uint64_t epoch;  /* full passes over the data so far; 0 with a mix, whose domains count their own */
    uint64_t window; /* rows passed in this epoch, kept ones too; with a mix rows drawn in all */
} loader_position;

typedef struct loader loader;

/* pattern: a folder (its *_train_*.bin), a shard, or a glob. bos < 0: no document boundaries are known.
 * shuffle: visit rows of T tokens in a random order that depends on seed and epoch. */
status loader_open(loader **out, const char *pattern, int vocab_size, int bos, int64_t B, int64_t T, bool shuffle,
                   uint64_t seed);
/* From now on rows are drawn by the weights of domains; call it once, before the first row. */
status loader_mix(loader *l, const weight_list *weights);
const mix *loader_mixture(const loader *l); /* what is drawn and was; NULL without weights */
void loader_close(loader *l);
int64_t loader_tokens(const loader *l); /* in all shards */
/* Tells this text from others: CRC-64 of the number of tokens and of some thousand of them, spread evenly; never 0. */
uint64_t loader_fingerprint(const loader *l);
/* What batch.domain counts: names in the order of first appearance over all shards; none where no shard has a table beside
 * it (documents.h), and then batch.domain is NULL. */
const char *const *loader_domains(const loader *l, int *count);
/* Keep at least `tokens` tokens aside, in rows that are spread evenly over the text, but at most one row in KEPT_ROWS_SHARE; of a mix
 * the same of each domain, with its share of the tokens. Call it before the first batch and after loader_mix; returns how many
 * rows that is. */
int64_t loader_keep(loader *l, int64_t tokens);
/* From now on every batch has what a teacher thinks of its targets (batch.teacher), from the cache that it left in the folder
 * (teacher_cache.h), which is refused unless it is whole and of these shards and this tokenizer. *k (may be NULL): tokens of a record. */
status loader_teach(loader *l, const char *cache, const tokenizer *tok, int *k);
/* Tells that teacher, as its cache says of itself, from others; 0: there is none. */
uint64_t loader_teacher(const loader *l);
/* The kept rows from `first` on, at most B of them, as a batch; b->batch 0: there are no more. Its arrays live as those of loader_next. */
status loader_kept(loader *l, int64_t first, batch *b);
/* The next B rows; arrays in *b belong to the loader and live until the next call. first[] is always filled. */
status loader_next(loader *l, batch *b);
loader_position loader_tell(const loader *l);
void loader_seek(loader *l, loader_position p);

/* first[t] for one row of tokens: the latest t' ≤ t with ids[t'] == bos, or 0. */
void document_starts(const int32_t *ids, int64_t length, int bos, int32_t *first);

#endif

/* What generating keeps of the tokens of some sequences, token by token: ids, keys and values of every pass of every
 * block of the model, and what SmearGates look back at. So a sequence can be cut anywhere, and another one can begin as
 * its beginning.
 *
 * The rows lie in a pool of blocks of some tokens each (Kwon et al. 2023, 2309.06180), and a sequence is a table of
 * blocks: it holds as many as its tokens fill. Sequences that begin alike hold the same blocks; who writes to a block
 * that others hold, too, copies it first. A sequence whose rows are to lie one behind another is a table of one block.
 *
 *     kv_cache_create(&c, m, 4, 1000);                                four sequences, each with room for all its tokens
 *     pass_decode_spans(p, c, spans, …);                              takes the blocks that it needs
 *     kv_cache_copy(c, 3, 0, 500);                                    3 begins as 0 does: nothing is copied yet
 *     kv_cache_cut(c, 0, 0);                                          what 3 does not hold is free again
 *
 * One thread at a time. */
#ifndef MOEC_NN_KV_CACHE_H
#define MOEC_NN_KV_CACHE_H

#include "nn/model.h"

/* Tokens of a block. Attention to few queries asks the table once for so many rows of a head, attention to many packs
 * 64 keys at a time in float32 (128 in bf16; isa/attention.c), so that a block is a piece that lies as it is wanted. Of
 * a block half is unused at a text's end, and half is copied where two texts part: 32 tokens, as the mean. Blocks that
 * are neighbours cost nothing; scattered ones of 64 tokens are 1 to 6 % faster than such of 32, and hardly slower than
 * such of 128 (docs/performance.md). */
enum { CACHE_BLOCK = 64 };

typedef struct kv_cache kv_cache;

typedef struct kv_cache_size {
    int64_t sequences, capacity; /* capacity: tokens of a sequence, at most */
    int64_t block;               /* tokens; 0: CACHE_BLOCK, or the capacity where that is less */
    /* Of the pool, which has at least the blocks of one whole sequence. 0: as many as full_sequences need (0: all) */
    int64_t bytes, full_sequences;
} kv_cache_size;

/* Memory is taken as tokens come (where the system gives it so), not for the whole pool at once. */
status kv_cache_create(kv_cache **out, const model *m, int64_t sequences, int64_t capacity);
status kv_cache_create_sized(kv_cache **out, const model *m, const kv_cache_size *size);
void kv_cache_destroy(kv_cache *c); /* NULL is fine */
int64_t kv_cache_capacity(const kv_cache *c);
int64_t kv_cache_length(const kv_cache *c, int64_t sequence);
const int32_t *kv_cache_tokens(const kv_cache *c, int64_t sequence); /* [length] */
/* Keep the first `length` tokens, which is at most as many as there are, and no more blocks than they fill. */
void kv_cache_cut(kv_cache *c, int64_t sequence, int64_t length);
/* Sequence `to` becomes the first `length` tokens of sequence `from`, in the same blocks. */
void kv_cache_copy(kv_cache *c, int64_t to, int64_t from, int64_t length);
int64_t kv_cache_token_bytes(const kv_cache *c); /* of one token of one sequence */

/* ---- the pool ---- */

/* Free blocks that a sequence needs for `count` tokens more, and for a block of its own where it shares its last one. */
int64_t kv_cache_missing(const kv_cache *c, int64_t sequence, int64_t count);
/* Takes them, so that so many tokens may be appended; false, and nothing changed, where fewer are free. */
bool kv_cache_reserve(kv_cache *c, int64_t sequence, int64_t count);
/* Tokens that may be appended without another block, if the last one is not shared. */
int64_t kv_cache_room(const kv_cache *c, int64_t sequence);
/* Blocks that any of the sequences from `first` on holds, each counted once. */
int64_t kv_cache_held(kv_cache *c, int64_t first, int64_t count);

typedef struct kv_cache_blocks {
    int64_t tokens;            /* of one */
    int64_t all, free, shared; /* shared: that several sequences hold */
} kv_cache_blocks;
kv_cache_blocks kv_cache_count(const kv_cache *c);

#endif

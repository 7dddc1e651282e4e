/* Which tokens of a vocabulary may come next in a JSON text. */
#ifndef MOEC_GENERATE_JSON_MASKS_H
#define MOEC_GENERATE_JSON_MASKS_H

#include "generate/json_grammar.h"
#include "generate/token_table.h"

/* Remembers the last states that it was asked about: within a string, say, each token asks the same. One thread at a
 * time. */
typedef struct json_masks json_masks;
json_masks *json_masks_create(const tokenizer *t, int vocab); /* ids below vocab; t lives longer */
void json_masks_free(json_masks *m);                          /* NULL is fine */
/* Bit id % 64 of word id / 64: the grammar accepts all bytes of that token. Valid until the next call. */
const uint64_t *json_masks_of(json_masks *m, const json_grammar *g);
/* The bytes of this token; false: they may not follow, or it has none. */
bool json_masks_step(const json_masks *m, json_grammar *g, int32_t id);

#endif

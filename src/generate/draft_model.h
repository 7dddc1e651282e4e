/* A smaller model that proposes how texts go on: it reads along, in a cache of its own, and says what it finds
 * likeliest as long as it is sure enough. Whatever the large model's sampler asks for, that is what is most often
 * drawn. */
#ifndef MOEC_GENERATE_DRAFT_MODEL_H
#define MOEC_GENERATE_DRAFT_MODEL_H

#include "generate/drafts.h"

typedef struct draft_model draft_model;
/* As drafts_create. */
status draft_model_create(draft_model **out, model *small, int vocab, int64_t sequences, int64_t capacity);
void draft_model_free(draft_model *d); /* NULL is fine */
/* Of texts whose `most` is 0 nothing is done. A text of which much is not read yet, as at its beginning, is read on
 * with some hundred tokens and has nothing proposed until it is whole. */
status draft_model_propose(draft_model *d, draft_text *texts, int64_t count);

#endif

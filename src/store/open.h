/* Opening whatever a user names as a model: an artifact, a checkpoint folder, or a run folder (its newest checkpoint). */
#ifndef MOEC_STORE_OPEN_H
#define MOEC_STORE_OPEN_H

#include "nn/model.h"
#include "text/tokenizer.h"

/* which: "chosen", "live" or "ema" weights of a checkpoint (checkpoint.h); an artifact has only one kind. context_tokens (may
 * be NULL): the sequence length that the model was trained with. */
status open_model(const char *path, const kernels *k, const char *which, model_use use, model **m, tokenizer **tok,
                  int *context_tokens);

/* Its tokenizer alone; also of what is no model but a tokenizer (text/tokenizer.h). */
status open_tokenizer(const char *path, tokenizer **tok);

#endif

/* Opening whatever a user names as a model: an artifact, a checkpoint folder, a run folder (its newest checkpoint), a Hugging
 * Face folder or a GGUF file. */
#ifndef MOEC_STORE_OPEN_H
#define MOEC_STORE_OPEN_H

#include "nn/model.h"
#include "text/tokenizer.h"

/* which: "chosen", "live" or "ema" weights of a checkpoint (checkpoint.h); all others have only "chosen" ones. context_tokens (may
 * be NULL): the sequence length that the model was trained with, of pretrained ones the longest that it is made for. */
status open_model(const char *path, const kernels *k, const char *which, model_use use, model **m, tokenizer **tok,
                  int *context_tokens);

/* An error where weights are asked for by name and path is no run's or checkpoint's. */
status open_check_weights(const char *path, const char *which);

/* The same with the chosen experts [E] alone (surgery/kept_experts.h): what the others weigh is not loaded, and of files that are
 * mapped not read (the CRC-64 of a checkpoint's file is still that of the whole file). */
status open_model_experts(const char *path, const kernels *k, const char *which, model_use use, const bool *chosen,
                          model **m, tokenizer **tok, int *context_tokens);

/* The same with all experts, of which each layer has at most `most` in memory at a time (nn/hot_experts.h). Not of an artifact, whose weights
 * are decoded as a whole. */
status open_model_hot(const char *path, const kernels *k, const char *which, model_use use, int most, model **m,
                      tokenizer **tok, int *context_tokens);

/* All but its weights, which somebody has elsewhere (store/layout_open.h): they are not decoded, nor is their checksum formed where it is one
 * of its own (a checkpoint's). */
status open_model_outside(const char *path, model_config *config, tokenizer **tok, int *context_tokens);

/* What it is, without its weights. */
status open_model_config(const char *path, model_config *config);

/* Whether matrices of it are stored as codes, so that MODEL_RUN_STORED multiplies in integers. */
status open_stores_codes(const char *path, bool *codes);

/* Whether path is to be a run or a checkpoint: a folder that is no Hugging Face model's. */
bool open_is_saved(const char *path);

/* Its tokenizer alone; also of what is no model but a tokenizer (text/tokenizer.h). */
status open_tokenizer(const char *path, tokenizer **tok);

#endif

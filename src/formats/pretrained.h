/* A pretrained model in other people's files: a Hugging Face folder or a GGUF file. */
#ifndef MOEC_FORMATS_PRETRAINED_H
#define MOEC_FORMATS_PRETRAINED_H

#include "formats/family.h"
#include "text/tokenizer.h"

typedef struct pretrained pretrained;

/* A folder whose config.json has a model_type, or a file that begins as GGUF. */
bool pretrained_is(const char *path);
/* Reads the configuration and checks that every weight is there, of the right shape and in a known type, and no other. */
status pretrained_open(pretrained **out, const char *path);
void pretrained_close(pretrained *p); /* NULL is fine */

const family *pretrained_family(const pretrained *p);
const model_config *pretrained_config(const pretrained *p);
/* The longest context that it is made for and that moec runs as it was made: attention that looks back only so far is the same
 * as moec's as long as no context is longer. */
int pretrained_context(const pretrained *p);
/* A line that names the sliding window where `tokens` are more than it is. */
status pretrained_check_length(const pretrained *p, int64_t tokens);
const gguf *pretrained_gguf(const pretrained *p);      /* NULL for a folder */
int64_t pretrained_bytes(const pretrained *p);         /* of its weights, as they are stored */
bool pretrained_has_codes(const pretrained *p);        /* tensors are stored as codes */
weight_source pretrained_weights(const pretrained *p); /* valid as long as p */
/* Its tokenizer, with all that stands beside it; NULL where it has none. The caller closes it. */
status pretrained_open_tokenizer(const pretrained *p, tokenizer **tok);

#endif

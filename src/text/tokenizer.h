/* A SentencePiece tokenizer behind a small C face (tokenizer.cc is the only C++ of moec). */
#ifndef MOEC_TEXT_TOKENIZER_H
#define MOEC_TEXT_TOKENIZER_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tokenizer tokenizer;

enum { TOKENIZER_MAX_BYTES = 64 << 20 }; /* of a file */
status tokenizer_open(tokenizer **out, const char *path);
status tokenizer_parse(tokenizer **out, const void *bytes, size_t count, const char *where);
void tokenizer_close(tokenizer *t);
int tokenizer_vocab_size(const tokenizer *t);
int tokenizer_bos(const tokenizer *t); /* id of <s>, which starts every document; < 0: the model has none */
/* The serialised .model, to be stored in checkpoints and artifacts; lives as long as t. */
void tokenizer_bytes(const tokenizer *t, const void **bytes, size_t *count);

/* Without BOS. *ids is malloc'ed. */
status tokenizer_encode(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count);
/* *text is malloc'ed, NUL-terminated. Control tokens give nothing. */
status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, char **text, size_t *bytes);
const char *tokenizer_piece(const tokenizer *t, int32_t id); /* with "▁" for space; lives as long as t */

/* Bytes of text that a token stands for when it follows prev (reference: the record scripts' LUTs): its UTF-8 length
 * without the leading "▁"; byte tokens 1; control, unknown and unused 0; plus 1 for a leading "▁" unless prev is a boundary
 * token (control, unknown or unused; prev < 0 counts as one). */
int tokenizer_token_bytes(const tokenizer *t, int32_t id, int32_t prev);

/* Supplies the training text piece by piece: returns false at the end. *text stays valid until the next call. */
typedef bool (*tokenizer_source)(void *context, const char **text, size_t *bytes);
/* Train a lossless BPE (identity normalisation, byte fallback, whitespace kept) and write it to path. */
status tokenizer_train(const char *path, int vocab_size, tokenizer_source next, void *context, uint64_t seed);
/* The same, without a file. */
status tokenizer_train_new(tokenizer **out, int vocab_size, tokenizer_source next, void *context, uint64_t seed);

#endif

/* SentencePiece's models as a kind of tokenizer, and training one (the only C++ of moec is behind this header). */
#ifndef MOEC_TEXT_SENTENCEPIECE_H
#define MOEC_TEXT_SENTENCEPIECE_H

#include "text/tokenizer_kind.h"

extern const tokenizer_kind sentencepiece_kind;

/* Pieces that a model may be trained with: 256 bytes and six others are always among them. */
enum { SENTENCEPIECE_LEAST_PIECES = 300, SENTENCEPIECE_MOST_PIECES = 1 << 20 };

/* Supplies the training text piece by piece: returns false at the end. *text stays valid until the next call. */
typedef bool (*text_source)(void *context, const char **text, size_t *bytes);
/* Trains a lossless BPE: identity normalisation, byte fallback, whitespace kept. Text too small for so many pieces gives
 * fewer; of a text with many different characters (Chinese) the frequent ones become pieces and the others bytes, so that
 * some pieces are left for merges. Training is done by a child process: STATUS_INTERRUPTED ends it at once. */
status sentencepiece_train(tokenizer **out, int pieces, text_source next, void *context, uint64_t seed);

#endif

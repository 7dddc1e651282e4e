/* Tokens that are found in a text before anything else is done to it: control tokens, and words that were added to a vocabulary.
 * Where several begin at one place the longest is meant. (Hugging Face's tokenizers: AddedVocabulary.) */
#ifndef MOEC_TEXT_ADDED_TOKENS_H
#define MOEC_TEXT_ADDED_TOKENS_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ADDED_TOKEN_MAX_BYTES = 512, ADDED_TOKENS_MAX = 1 << 20 };

typedef struct added_token {
    char *content; /* what stands in the text (of a normalized one: in the normalised text) */
    size_t bytes;
    int32_t id;
    bool special;     /* a control token: only found where control tokens are asked for */
    bool normalized;  /* looked for in the normalised text, by its normal form */
    bool lstrip;      /* takes the white space in front of it with it */
    bool rstrip;      /* and that behind it */
    bool single_word; /* only where no word's character is beside it */
} added_token;

typedef struct added_tokens {
    added_token *list; /* sorted by content once added_tokens_ready was called */
    size_t count, capacity;
    size_t first[257]; /* of those that begin with a byte */
} added_tokens;

/* content is copied; an empty one is passed over, as is one that is there. */
void added_tokens_add(added_tokens *a, added_token token);
void added_tokens_ready(added_tokens *a);
void added_tokens_free(added_tokens *a);

/* Parts of a text in order: what lies between tokens has id −1. */
typedef status (*part_sink)(void *context, int32_t id, size_t begin, size_t end);
/* special: whether control tokens are looked for. */
status added_tokens_split(const added_tokens *a, const char *text, size_t bytes, bool special, part_sink sink,
                          void *context);

#endif

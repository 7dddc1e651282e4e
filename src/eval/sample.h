/* Which tokens of a text are scored: all, or a sample that is the same each time.
 *
 * A sample takes the same part of every domain's tokens, so that its bytes stand in the proportion of the domains' bytes, and at
 * least one token of each. Within a domain it consists of pieces that are spread evenly: the gaps between them are equal, and
 * each piece lies somewhere in its gap, where the seed says. A piece may reach over documents. How long pieces are follows from
 * the number of tokens alone (a 64th, within SAMPLE_LEAST_PIECE … SAMPLE_MOST_PIECE), not from the windows that score them:
 * models that were trained with different sequence lengths are scored on the same text.
 *
 * What stands before a piece is its context, as in the evaluation of the whole text; so a sample's figure is an estimate of the
 * whole text's, without more or less context. */
#ifndef MOEC_EVAL_SAMPLE_H
#define MOEC_EVAL_SAMPLE_H

#include "text/documents.h"
#include <stdbool.h>

enum { SAMPLE_PIECES = 64, SAMPLE_LEAST_PIECE = 256, SAMPLE_MOST_PIECE = 2048 };

typedef struct token_span {
    int64_t first, end; /* the tokens first … end − 1 are scored */
} token_span;

typedef struct token_sample {
    token_span *spans; /* in ascending order, none empty, none touching the next */
    int64_t count;
    int64_t tokens; /* in all of them */
    bool whole;     /* every token but the first, before which nothing stands */
} token_sample;

/* About `tokens` of the text's `count` (at least 2) tokens; 0, or as many as there are: the whole. documents NULL: the text is
 * one domain. */
token_sample sample_take(int64_t count, const document_table *documents, int64_t tokens, uint64_t seed);
void sample_free(token_sample *s);

#endif

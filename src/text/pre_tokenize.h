/* Words: the parts of a text within which tokens are formed. A pre-tokenizer is a list of steps, each of which takes every part
 * that the one before it gave and splits or rewrites it (the kinds of Hugging Face's tokenizers are made of these).
 *
 * Parts are handed on as they are found, so that memory does not grow with their number. */
#ifndef MOEC_TEXT_PRE_TOKENIZE_H
#define MOEC_TEXT_PRE_TOKENIZE_H

#include "text/regex.h"
#include "text/text_buffer.h"

/* What becomes of the matches of an expression, and of what lies between them. */
typedef enum split_behavior {
    SPLIT_ISOLATED,      /* a part each */
    SPLIT_REMOVED,       /* matches go */
    SPLIT_WITH_PREVIOUS, /* a match ends the part in front of it */
    SPLIT_WITH_NEXT,     /* a match begins the part behind it */
    SPLIT_CONTIGUOUS     /* matches without anything between them are one part */
} split_behavior;

typedef enum split_kind {
    STEP_SPLIT,  /* by `pattern` */
    STEP_PREFIX, /* `string` in front of a part that does not begin with it */
    STEP_SPACES, /* every space becomes `string` */
    STEP_BYTES   /* every byte becomes the character that stands for it */
} split_kind;

typedef struct split_step {
    split_kind kind;
    regex *pattern;
    split_behavior behavior;
    bool inverted;   /* what lies between the matches counts as matches, and they as what lies between */
    bool only_first; /* STEP_PREFIX: only where the text begins */
    char *string;
} split_step;

enum { PRE_TOKENIZER_STEPS = 64 };

typedef struct pre_tokenizer {
    split_step *steps;
    int count;
} pre_tokenizer;

void pre_tokenizer_add(pre_tokenizer *p, split_step step); /* what it points to is taken over */
void pre_tokenizer_free(pre_tokenizer *p);

/* How long all words of a text may be together is growth.h's. */
typedef void (*word_sink)(void *context, const char *word, size_t bytes);
/* All words of the text in order, none of them empty. is_first: the text begins where the whole text does. */
status pre_tokenize(const pre_tokenizer *p, regex_matcher *m, const char *text, size_t bytes, bool is_first,
                    word_sink sink, void *context);

#endif

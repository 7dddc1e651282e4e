/* What a tokenizer does to a text before it looks for tokens in it: Unicode's normal forms (UAX 15, by utf8proc) and
 * replacements. Steps of a list run one after another. Texts are valid UTF-8; time and memory grow with their bytes alone. */
#ifndef MOEC_TEXT_NORMALIZE_H
#define MOEC_TEXT_NORMALIZE_H

#include "text/regex.h"
#include "text/text_buffer.h"
#include <stdint.h>

typedef enum normal_kind {
    NORMAL_NFC,
    NORMAL_NFD,
    NORMAL_NFKC,
    NORMAL_NFKD,
    NORMAL_LOWERCASE,     /* each character by itself */
    NORMAL_STRIP_ACCENTS, /* without all marks */
    NORMAL_STRIP,         /* without white space at the ends */
    NORMAL_PREPEND,       /* `content` in front of a text that is not empty */
    NORMAL_REPLACE,       /* every match of `pattern` by `content` */
    NORMAL_BYTES          /* every byte by the character that stands for it (byte_characters.h) */
} normal_kind;

typedef struct normal_step {
    normal_kind kind;
    bool left, right; /* STRIP */
    char *content;
    regex *pattern;
} normal_step;

typedef struct normalizer {
    normal_step *steps;
    int count;
} normalizer;

void normalizer_add(normalizer *n, normal_step step); /* what it points to is taken over */
void normalizer_free(normalizer *n);
/* *out gets the normal form; its capacity is used again. */
status normalizer_apply(const normalizer *n, regex_matcher *m, const char *text, size_t bytes, text_buffer *out);

/* ---- characters ---- */
int32_t character_at(const char *text, int *bytes); /* the code point that valid text begins with */
bool is_white_space(int32_t character);             /* Unicode's White_Space */
bool is_word_character(int32_t character);          /* \w of Unicode TR 18 */

#endif

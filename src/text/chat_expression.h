/* What a template writes: sums of strings and of a message's parts, {{ '[INST] ' + message['content'] + ' [/INST]' }}.
 *
 * White space is as transformers has it (trim_blocks, lstrip_blocks): of what stands between an expression and the block behind it
 * only a newline is text. */
#ifndef MOEC_TEXT_CHAT_EXPRESSION_H
#define MOEC_TEXT_CHAT_EXPRESSION_H

#include "text/text_buffer.h"
#include <stdbool.h>

typedef enum chat_term_kind {
    TERM_LITERAL,
    TERM_ROLE,
    TERM_CONTENT,
    TERM_SYSTEM,
    TERM_BOS,
    TERM_EOS,
    TERM_KINDS
} chat_term_kind;

typedef struct chat_term {
    chat_term_kind kind;
    bool trims;    /* content | trim, content.strip() */
    char *literal; /* TERM_LITERAL */
} chat_term;

enum { CHAT_TERMS = 8 };

typedef struct chat_sum {
    chat_term terms[CHAT_TERMS];
    int count;    /* 0: nothing is written */
    bool newline; /* follows */
} chat_sum;

/* The next sum at or behind *at, in {{ … }} or {% set content = … %}, of which moec understands all terms; false: there is none.
 * *at moves behind it. sets: it is the latter. */
bool chat_next_sum(const char **at, chat_sum *sum, bool *sets);
void chat_sum_free(chat_sum *sum);
bool chat_sum_has(const chat_sum *sum, chat_term_kind kind);
bool chat_sum_is(const chat_sum *sum, chat_term_kind kind); /* that one term alone */
bool chat_sum_says(const chat_sum *sum, const char *part);  /* in a literal */
/* values: by kind, of which TERM_LITERAL's is not used. */
void chat_sum_append(const chat_sum *sum, const char *const values[TERM_KINDS], text_buffer *out);
/* Without white space at its ends, as Python's strip(). */
void chat_append_trimmed(const char *text, text_buffer *out);

#endif

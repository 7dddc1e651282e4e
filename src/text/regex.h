/* Regular expressions of tokenizers, which are Oniguruma's, matched by PCRE2.
 *
 * Both mean the same by most that pre-tokenizers use; what they do not is translated (\s, \w, \b, \h, \uHHHH, (?m)) or refused
 * (sets within sets, `{1,3}+`). Text is valid UTF-8. PCRE2's limits bound the steps of a match and its memory, a
 * deadline in processor time bounds all matches of one text: an expression that runs away is an error, not a hang. */
#ifndef MOEC_TEXT_REGEX_H
#define MOEC_TEXT_REGEX_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct regex regex;

enum { REGEX_MAX_BYTES = 64 << 10 }; /* of an expression */

status regex_create(regex **out, const char *pattern, const char *where);
/* Matches the string itself. */
status regex_create_literal(regex **out, const char *string, const char *where);
void regex_free(regex *r);                 /* NULL is fine */
const char *regex_pattern(const regex *r); /* as it was given */

/* What matching needs beside the expression: one for each thread, and for each text, whose bytes set its deadline. */
typedef struct regex_matcher regex_matcher;
regex_matcher *regex_matcher_create(size_t bytes);
void regex_matcher_free(regex_matcher *m); /* NULL is fine */

/* All matches from left to right; an empty one right behind a match is none. */
typedef struct regex_scan {
    const regex *r;
    regex_matcher *m;
    const char *text;
    size_t bytes, next; /* where the next match may begin */
    size_t last_end;    /* of the last match; SIZE_MAX before the first */
} regex_scan;
regex_scan regex_begin(const regex *r, regex_matcher *m, const char *text, size_t bytes);
/* *found: there is one more, at [*begin, *end) */
status regex_next(regex_scan *s, bool *found, size_t *begin, size_t *end);

#endif

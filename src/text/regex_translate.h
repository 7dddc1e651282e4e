/* From Oniguruma's expressions (Ruby's syntax) to PCRE2's. */
#ifndef MOEC_TEXT_REGEX_TRANSLATE_H
#define MOEC_TEXT_REGEX_TRANSLATE_H

#include "text/text_buffer.h"

/* NULL, or what it cannot translate. *out is freed by the caller either way. */
const char *regex_translate(const char *pattern, text_buffer *out);
void regex_quote(const char *string, text_buffer *out); /* an expression that matches the string */

#endif

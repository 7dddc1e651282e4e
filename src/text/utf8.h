/* UTF-8 as Unicode defines it (Unicode 15, table 3-7): no overlong forms, no surrogates, nothing beyond U+10FFFF. */
#ifndef MOEC_TEXT_UTF8_H
#define MOEC_TEXT_UTF8_H

#include <stddef.h>

enum { UTF8_CUT = -1, UTF8_NONE = 0, UTF8_MAX_BYTES = 4 };
/* U+FFFD, which stands for a byte that belongs to no character. */
#define UTF8_REPLACEMENT "\xEF\xBF\xBD"

/* Bytes of the character that text begins with; UTF8_CUT: the text ends within it; UTF8_NONE: no character begins like
 * this. */
int utf8_character(const char *text, size_t bytes);
/* The offset of the first byte that is not part of valid UTF-8 text (NUL counts as such), or `bytes`. */
size_t utf8_valid_prefix(const char *text, size_t bytes);
/* A new string, in which U+FFFD stands for each such byte. */
char *utf8_mended(const char *text);

#endif

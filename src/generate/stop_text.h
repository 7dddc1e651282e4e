/* Stop strings: a text ends before the first of them, wherever tokens are cut. */
#ifndef MOEC_GENERATE_STOP_TEXT_H
#define MOEC_GENERATE_STOP_TEXT_H

#include <stddef.h>

typedef struct stop_text stop_text;
/* The strings, none of them empty, are copied. */
stop_text *stop_text_create(const char *const *stops, int count);
void stop_text_free(stop_text *s); /* NULL is fine */
/* More of the text. Returns the stop string that it has, the one that ends first, or NULL; *shown: what may be read of it
 * by now, NUL-terminated, valid until the next call. What may be the beginning of a stop string is held back. */
const char *stop_text_feed(stop_text *s, const char *text, size_t bytes, const char **shown, size_t *shown_bytes);
/* The text is over: what is held back; or, all of it that the last feed knew and had not shown before, which is what that
 * showed and what it held back. Either once, and nothing is fed behind it. */
const char *stop_text_rest(stop_text *s, size_t *bytes);
const char *stop_text_all(stop_text *s, size_t *bytes);

#endif

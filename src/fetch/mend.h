/* Text of strangers, made text: in place and as long as before. */
#ifndef MOEC_FETCH_MEND_H
#define MOEC_FETCH_MEND_H

#include <stddef.h>

/* Bytes that are no UTF-8 (RFC 3629), and NULs, become '?'. Returns how many. */
size_t mend_utf8(char *text, size_t bytes);
/* In JSON, the escapes \u0000 and halves of surrogate pairs become \uFFFD. Returns how many. */
size_t mend_escapes(char *text, size_t bytes);

#endif

/* U+FEFF in UTF-8, which some editors and spreadsheets put before a text and which is no part of it. */
#ifndef MOEC_BASE_BYTE_ORDER_MARK_H
#define MOEC_BASE_BYTE_ORDER_MARK_H

#include <stddef.h>
#include <string.h>

/* Bytes of the mark that the text begins with: 3, or 0. */
static inline size_t byte_order_mark(const char *text, size_t bytes) {
    return bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

#endif

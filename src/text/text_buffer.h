/* A string that grows. */
#ifndef MOEC_TEXT_TEXT_BUFFER_H
#define MOEC_TEXT_TEXT_BUFFER_H

#include "base/memory.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct text_buffer {
    char *text; /* `bytes` and a NUL; NULL while nothing was appended */
    size_t bytes, capacity;
} text_buffer;

/* Room for so many bytes more, and a NUL. */
static inline void text_reserve(text_buffer *b, size_t bytes) {
    if (b->bytes + bytes + 1 <= b->capacity) return;
    b->capacity = 2 * (b->bytes + bytes + 1);
    b->text = xrealloc(b->text, b->capacity);
}

static inline void text_append(text_buffer *b, const char *text, size_t bytes) {
    text_reserve(b, bytes);
    if (bytes) memcpy(b->text + b->bytes, text, bytes);
    b->bytes += bytes;
    b->text[b->bytes] = '\0';
}

static inline void text_append_string(text_buffer *b, const char *string) {
    text_append(b, string, strlen(string));
}

static inline void text_append_number(text_buffer *b, int64_t number) {
    char text[24];
    text_append(b, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)number));
}

static inline void text_free(text_buffer *b) {
    free(b->text);
    *b = (text_buffer){0};
}

#endif

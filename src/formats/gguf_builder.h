/* The metadata of a GGUF that is being written. */
#ifndef MOEC_FORMATS_GGUF_BUILDER_H
#define MOEC_FORMATS_GGUF_BUILDER_H

#include "formats/gguf.h"

typedef struct gguf_builder {
    uint8_t *bytes;
    size_t count, capacity;
    uint64_t values;
} gguf_builder;
void gguf_builder_free(gguf_builder *b);

void gguf_add_uint32(gguf_builder *b, const char *key, uint32_t value);
void gguf_add_float(gguf_builder *b, const char *key, float value);
void gguf_add_bool(gguf_builder *b, const char *key, bool value);
void gguf_add_text(gguf_builder *b, const char *key, const char *text);
/* An array of `count` elements follows, each put by one of gguf_put_…; element: their type. */
void gguf_begin_array(gguf_builder *b, const char *key, gguf_type element, uint64_t count);
void gguf_put_text(gguf_builder *b, const char *text, size_t bytes);
void gguf_put_float(gguf_builder *b, float value);
void gguf_put_int32(gguf_builder *b, int32_t value);
void gguf_put_byte(gguf_builder *b, uint8_t byte);

#endif

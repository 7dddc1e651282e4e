#include "formats/gguf_builder.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

void gguf_builder_free(gguf_builder *b) {
    free(b->bytes);
    *b = (gguf_builder){0};
}

static void put(gguf_builder *b, const void *bytes, size_t count) {
    if (b->count + count > b->capacity) {
        b->capacity = 2 * (b->count + count) + 4096;
        b->bytes = xrealloc(b->bytes, b->capacity);
    }
    if (count) memcpy(b->bytes + b->count, bytes, count);
    b->count += count;
}

void gguf_put_text(gguf_builder *b, const char *text, size_t bytes) {
    const uint64_t length = bytes;
    put(b, &length, sizeof length);
    put(b, text, bytes);
}
void gguf_put_float(gguf_builder *b, float value) {
    put(b, &value, sizeof value);
}
void gguf_put_int32(gguf_builder *b, int32_t value) {
    put(b, &value, sizeof value);
}

void gguf_put_byte(gguf_builder *b, uint8_t byte) {
    put(b, &byte, sizeof byte);
}

static void begin(gguf_builder *b, const char *key, gguf_type type) {
    const uint32_t number = type;
    gguf_put_text(b, key, strlen(key));
    put(b, &number, sizeof number);
    b->values++;
}

void gguf_add_uint32(gguf_builder *b, const char *key, uint32_t value) {
    begin(b, key, GGUF_UINT32);
    put(b, &value, sizeof value);
}
void gguf_add_float(gguf_builder *b, const char *key, float value) {
    begin(b, key, GGUF_FLOAT32);
    put(b, &value, sizeof value);
}
void gguf_add_bool(gguf_builder *b, const char *key, bool value) {
    const uint8_t byte = value;
    begin(b, key, GGUF_BOOL);
    put(b, &byte, sizeof byte);
}
void gguf_add_text(gguf_builder *b, const char *key, const char *text) {
    begin(b, key, GGUF_STRING);
    gguf_put_text(b, text, strlen(text));
}
void gguf_begin_array(gguf_builder *b, const char *key, gguf_type element, uint64_t count) {
    const uint32_t number = element;
    begin(b, key, GGUF_ARRAY);
    put(b, &number, sizeof number);
    put(b, &count, sizeof count);
}

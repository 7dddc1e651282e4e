#include "store/bytes.h"

#include "base/lzma_dictionary.h"
#include "base/memory.h"
#include <lzma.h>
#include <stdlib.h>
#include <string.h>

void buffer_add(byte_buffer *b, const void *bytes, size_t count) {
    if (count == 0) return;
    if (b->count + count > b->capacity) {
        b->capacity = 2 * b->capacity > b->count + count ? 2 * b->capacity : b->count + count;
        b->bytes = xrealloc(b->bytes, b->capacity);
    }
    memcpy(b->bytes + b->count, bytes, count);
    b->count += count;
}

void buffer_add_number(byte_buffer *b, uint64_t value, int width) {
    uint8_t bytes[8];
    for (int i = 0; i < width; i++) bytes[i] = (uint8_t)(value >> (8 * i));
    buffer_add(b, bytes, (size_t)width);
}

const uint8_t *reader_take(byte_reader *r, size_t count) {
    if (r->overrun || count > r->left) {
        r->overrun = true;
        return NULL;
    }
    const uint8_t *bytes = r->next;
    r->next += count;
    r->left -= count;
    return bytes;
}

uint64_t reader_number(byte_reader *r, int width) {
    const uint8_t *bytes = reader_take(r, (size_t)width);
    uint64_t value = 0;
    for (int i = 0; bytes && i < width; i++) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

/* ---- LZMA ---- */

enum { DICTIONARY = 8 << 20 };

static void lzma_settings(lzma_options_lzma *options, size_t count) {
    lzma_lzma_preset(options, 9 | LZMA_PRESET_EXTREME);
    options->dict_size = lzma_dictionary(count, LZMA_DICT_SIZE_MIN, DICTIONARY);
    options->lc = 3;
    options->lp = 0;
    options->pb = 0;
}

status lzma_pack(const void *bytes, size_t count, byte_buffer *out) {
    lzma_options_lzma options;
    lzma_settings(&options, count);
    const lzma_filter filters[] = {{LZMA_FILTER_LZMA1, &options}, {LZMA_VLI_UNKNOWN, NULL}};
    const size_t room = lzma_stream_buffer_bound(count) + 64;
    uint8_t *packed = xmalloc(room);
    size_t used = 0;
    lzma_ret result = lzma_raw_buffer_encode(filters, NULL, bytes, count, packed, &used, room);
    if (result == LZMA_OK) buffer_add(out, packed, used);
    free(packed);
    return result == LZMA_OK ? STATUS_OK : fail("LZMA: the encoder failed with code %d", (int)result);
}

status lzma_unpack(const uint8_t *bytes, size_t count, size_t expected, uint8_t **out) {
    lzma_options_lzma options;
    lzma_settings(&options, expected);
    const lzma_filter filters[] = {{LZMA_FILTER_LZMA1, &options}, {LZMA_VLI_UNKNOWN, NULL}};
    size_t read = 0, written = 0;
    *out = malloc(expected + 1); /* the size is the file's word: not worth ending the program for */
    if (!*out) return fail("LZMA: no memory for %zu bytes", expected);
    lzma_ret result = lzma_raw_buffer_decode(filters, NULL, bytes, &read, count, *out, &written, expected);
    if (result == LZMA_OK && written == expected && read == count) {
        (*out)[expected] = 0;
        return STATUS_OK;
    }
    free(*out);
    *out = NULL;
    return fail("LZMA: expected %zu bytes from %zu, found %zu from %zu (code %d)", expected, count, written, read,
                (int)result);
}

/* ---- planes ---- */

void planes_split(byte_buffer *out, const void *values, size_t count, int width) {
    const uint8_t *bytes = values;
    uint8_t *planes = xmalloc(count * (size_t)width + 1);
    for (int p = 0; p < width; p++)
        for (size_t i = 0; i < count; i++) planes[(size_t)p * count + i] = bytes[i * (size_t)width + (size_t)p];
    buffer_add(out, planes, count * (size_t)width);
    free(planes);
}

void planes_join(void *values, const uint8_t *planes, size_t count, int width) {
    uint8_t *bytes = values;
    for (int p = 0; p < width; p++)
        for (size_t i = 0; i < count; i++) bytes[i * (size_t)width + (size_t)p] = planes[(size_t)p * count + i];
}

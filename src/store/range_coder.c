#include "store/range_coder.h"

#include "base/memory.h"

void range_encoder_start(range_encoder *e) {
    *e = (range_encoder){.range = UINT64_MAX};
}

static void put_word(range_encoder *e, uint32_t word) {
    if (e->count + 4 > e->capacity) {
        e->capacity = e->capacity ? 2 * e->capacity : 4096;
        e->bytes = xrealloc(e->bytes, e->capacity);
    }
    for (int i = 0; i < 4; i++) e->bytes[e->count++] = (uint8_t)(word >> (24 - 8 * i));
}

/* low overflowed: add one to the number that was written so far. It never runs off the front, because the whole stream
 * is a fraction below 1. */
static void carry(range_encoder *e) {
    for (size_t i = e->count; i > 0 && ++e->bytes[i - 1] == 0; i--) {}
}

void range_encoder_flush(range_encoder *e, uint64_t low_before) {
    if (e->low < low_before) carry(e);
    while (e->range <= UINT32_MAX) {
        put_word(e, (uint32_t)(e->low >> 32));
        e->low <<= 32;
        e->range <<= 32;
    }
}

void range_encoder_finish(range_encoder *e) {
    /* Any value in [low, low + range) serves; the one with its last bits 0 leaves bytes that need not be written. */
    const uint64_t mask = e->range >> 1 ? (UINT64_C(1) << (63 - __builtin_clzll(e->range >> 1))) - 1 : 0;
    const uint64_t value = (e->low + mask) & ~mask;
    if (value < e->low) carry(e);
    put_word(e, (uint32_t)(value >> 32));
    put_word(e, (uint32_t)value);
    while (e->count > 0 && e->bytes[e->count - 1] == 0) e->count--;
}

void range_decoder_start(range_decoder *d, const uint8_t *bytes, size_t count) {
    *d = (range_decoder){.range = UINT64_MAX, .next = bytes, .end = bytes + count};
    d->code = (uint64_t)range_decoder_word(d) << 32;
    d->code |= range_decoder_word(d);
}

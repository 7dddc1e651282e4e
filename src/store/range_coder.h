/* A binary range coder (Martin 1979; 64-bit, words of 32 bits, carries propagated into what was written). A decision costs a
 * multiplication and a comparison; its probability is in 1/65536ths. Everything is integer arithmetic, so a file decodes the
 * same everywhere. Any bytes decode to something: the file's checksum finds what is damaged. */
#ifndef MOEC_STORE_RANGE_CODER_H
#define MOEC_STORE_RANGE_CODER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { RANGE_BITS = 16 };

typedef struct range_encoder {
    uint64_t low, range;
    uint8_t *bytes; /* malloc'ed; the caller's after range_encoder_finish */
    size_t count, capacity;
} range_encoder;
void range_encoder_start(range_encoder *e);
void range_encoder_flush(range_encoder *e, uint64_t low_before); /* for range_encode_bit */
void range_encoder_finish(range_encoder *e); /* bytes and count are the stream, without trailing zeros */

/* bit is 1 with the probability p/65536, 1 ≤ p < 65536. */
static inline void range_encode_bit(range_encoder *e, uint32_t p, int bit) {
    const uint64_t bound = (e->range >> RANGE_BITS) * p, before = e->low;
    if (bit) {
        e->range = bound;
    } else {
        e->low += bound;
        e->range -= bound;
    }
    if (e->low < before || e->range <= UINT32_MAX) range_encoder_flush(e, before);
}

typedef struct range_decoder {
    uint64_t code, range; /* code: the stream's value minus the encoder's low */
    const uint8_t *next, *end;
} range_decoder;
void range_decoder_start(range_decoder *d, const uint8_t *bytes, size_t count); /* zeros follow the last byte */

static inline uint32_t range_decoder_word(range_decoder *d) {
    uint32_t word = 0;
    if (d->end - d->next >= 4) {
        memcpy(&word, d->next, 4);
        d->next += 4;
        return __builtin_bswap32(word); /* a big-endian word on a little-endian machine */
    }
    for (int i = 0; i < 4; i++) word = word << 8 | (d->next < d->end ? *d->next++ : 0);
    return word;
}

static inline int range_decode_bit(range_decoder *d, uint32_t p) {
    const uint64_t bound = (d->range >> RANGE_BITS) * p;
    const int bit = d->code < bound;
    const uint64_t skipped = bit ? 0 : bound;
    d->code -= skipped;
    d->range = bit ? bound : d->range - bound;
    if (d->range <= UINT32_MAX) {
        d->code = d->code << 32 | range_decoder_word(d);
        d->range <<= 32;
    }
    return bit;
}

#endif

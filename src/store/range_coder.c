#include "store/range_coder.h"

#include "base/memory.h"
#include <string.h>

/* ---- probabilities ---- */

enum {
    FIRST_INTERVAL = 16,            /* symbols before the first recomputation; it doubles ... */
    LAST_INTERVAL = 1024,           /* ... up to this */
    MOST_COUNTED = COUNT_STEP << 16 /* above it all counts are halved, so that old symbols fade */
};

/* Every symbol gets 1/32768 and the rest is shared by count. */
static void table_rebuild(frequency_table *t) {
    if (t->total > MOST_COUNTED) {
        t->total = 0;
        for (int s = 0; s < t->symbols; s++) t->total += t->count[s] = (t->count[s] + 1) / 2;
    }
    const uint64_t factor = ((uint64_t)(TABLE_TOTAL - t->symbols) << 32) / t->total;
    uint64_t sum = 0;
    for (int s = 0; s < t->symbols; s++) {
        t->cumulative[s] = (uint16_t)(((sum * factor) >> 32) + (uint64_t)s);
        sum += t->count[s];
    }
    t->cumulative[t->symbols] = TABLE_TOTAL;
    for (int i = 0, s = 0; i < 1 << TABLE_LOOKUP_BITS; i++) {
        while (t->cumulative[s + 1] <= i << (TABLE_BITS - TABLE_LOOKUP_BITS)) s++;
        t->lookup[i] = (uint8_t)s;
    }
    t->until_rebuild = t->interval;
    if (t->interval < LAST_INTERVAL) t->interval *= 2;
}

void table_start(frequency_table *t, int symbols, const uint32_t *count) {
    t->symbols = symbols;
    t->interval = FIRST_INTERVAL;
    t->total = 0;
    for (int s = 0; s < symbols; s++) t->total += t->count[s] = count[s];
    if (t->total == 0) t->total = t->count[0] = 1;
    table_rebuild(t);
}

static inline void table_count(frequency_table *t, int symbol) {
    t->count[symbol] += COUNT_STEP;
    t->total += COUNT_STEP;
    if (--t->until_rebuild == 0) table_rebuild(t);
}

/* ---- encoding ---- */

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

void range_encode(range_encoder *e, frequency_table *t, int symbol) {
    const uint64_t unit = e->range >> TABLE_BITS, before = e->low;
    e->low += unit * t->cumulative[symbol];
    if (e->low < before) carry(e);
    e->range = unit * (uint64_t)(t->cumulative[symbol + 1] - t->cumulative[symbol]);
    while (e->range <= UINT32_MAX) {
        put_word(e, (uint32_t)(e->low >> 32));
        e->low <<= 32;
        e->range <<= 32;
    }
    table_count(t, symbol);
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

/* ---- decoding ---- */

static inline uint32_t take_word(range_decoder *d) {
    uint32_t word = 0;
    if (d->end - d->next >= 4) {
        memcpy(&word, d->next, 4);
        d->next += 4;
        return __builtin_bswap32(word); /* a big-endian word on a little-endian machine */
    }
    for (int i = 0; i < 4; i++) word = word << 8 | (d->next < d->end ? *d->next++ : 0);
    return word;
}

void range_decoder_start(range_decoder *d, const uint8_t *bytes, size_t count) {
    *d = (range_decoder){.range = UINT64_MAX, .next = bytes, .end = bytes + count};
    d->code = (uint64_t)take_word(d) << 32;
    d->code |= take_word(d);
}

int range_decode(range_decoder *d, frequency_table *t) {
    const uint64_t unit = d->range >> TABLE_BITS;
    uint64_t value = d->code / unit;
    if (value >= TABLE_TOTAL) {
        d->damaged = true;
        d->code = 0;
        value = 0;
    }
    int symbol = t->lookup[value >> (TABLE_BITS - TABLE_LOOKUP_BITS)];
    while (t->cumulative[symbol + 1] <= value) symbol++;
    d->code -= unit * t->cumulative[symbol];
    d->range = unit * (uint64_t)(t->cumulative[symbol + 1] - t->cumulative[symbol]);
    while (d->range <= UINT32_MAX) {
        d->code = d->code << 32 | take_word(d);
        d->range <<= 32;
    }
    table_count(t, symbol);
    return symbol;
}

/* One integer through the range coder, as decisions in its context (quant/weight_model.h): what weights and scales have in common. */
#ifndef MOEC_STORE_WEIGHT_BITS_H
#define MOEC_STORE_WEIGHT_BITS_H

#include "quant/weight_model.h"
#include "store/range_coder.h"
#include <stdlib.h>

enum { EVEN = 1 << (RANGE_BITS - 1), MOST_NUMBER_BITS = 16 };

static inline void put_bit(range_encoder *e, adaptive_bit *b, int bit, const uint16_t *rate) {
    range_encode_bit(e, adaptive_probability(*b), bit);
    adaptive_seen(b, bit, rate);
}

static inline int get_bit(range_decoder *d, adaptive_bit *b, const uint16_t *rate) {
    const int bit = range_decode_bit(d, adaptive_probability(*b));
    adaptive_seen(b, bit, rate);
    return bit;
}

/* x ≥ 0 as an exponential Golomb number: how many binary digits x + 1 has beyond the first one in unary, then these. */
static inline void put_number(range_encoder *e, unsigned x) {
    int digits = 31 - __builtin_clz(x + 1);
    for (int i = 0; i < digits; i++) range_encode_bit(e, EVEN, 1);
    range_encode_bit(e, EVEN, 0);
    while (digits-- > 0) range_encode_bit(e, EVEN, (x + 1) >> digits & 1);
}

static inline unsigned get_number(range_decoder *d) {
    int digits = 0;
    while (digits < MOST_NUMBER_BITS && range_decode_bit(d, EVEN)) digits++;
    unsigned x = 1;
    while (digits-- > 0) x = 2 * x + (unsigned)range_decode_bit(d, EVEN);
    return x - 1;
}

static inline adaptive_bit *low_bit(weight_context *x, int bucket, int node) {
    return node < LOW_NODES ? &x->low[bucket < LOW_BUCKETS ? bucket : LOW_BUCKETS - 1][node] : NULL;
}

static inline void put_size(range_encoder *e, const weight_place *p, int side, int size, const uint16_t *rate) {
    const int bucket = size >> p->shift;
    for (int d = 0; d < MORE_DECISIONS; d++) {
        put_bit(e, &p->context->more[side][d], d < bucket, rate);
        if (d == bucket) break;
    }
    if (bucket >= MORE_DECISIONS) put_number(e, (unsigned)(bucket - MORE_DECISIONS));
    for (int i = p->shift - 1, node = 1; i >= 0; i--) {
        const int bit = size >> i & 1;
        adaptive_bit *b = low_bit(p->context, bucket, node);
        if (b)
            put_bit(e, b, bit, rate);
        else
            range_encode_bit(e, EVEN, bit);
        node = 2 * node + bit;
    }
}

static inline int get_size(range_decoder *d, const weight_place *p, int side, const uint16_t *rate) {
    int bucket = 0, low = 0;
    while (bucket < MORE_DECISIONS && get_bit(d, &p->context->more[side][bucket], rate)) bucket++;
    if (bucket == MORE_DECISIONS) bucket += (int)get_number(d);
    for (int i = p->shift - 1, node = 1; i >= 0; i--) {
        adaptive_bit *b = low_bit(p->context, bucket, node);
        const int bit = b ? get_bit(d, b, rate) : range_decode_bit(d, EVEN);
        low = 2 * low + bit;
        node = 2 * node + bit;
    }
    return (bucket << p->shift) + low;
}

/* Without a prediction signs are even, and both sides alike. */
static inline void put_code(range_encoder *e, const weight_place *p, int k, bool predicted, const uint16_t *rate) {
    const int away = p->sign * (k - p->centre), negative = away < 0;
    put_bit(e, &p->context->nonzero, away != 0, rate);
    if (!away) return;
    if (predicted)
        put_bit(e, &p->context->negative, negative, rate);
    else
        range_encode_bit(e, EVEN, negative);
    put_size(e, p, predicted && negative, abs(away) - 1, rate);
}

static inline int get_code(range_decoder *d, const weight_place *p, bool predicted, const uint16_t *rate) {
    if (!get_bit(d, &p->context->nonzero, rate)) return p->centre;
    const int negative = predicted ? get_bit(d, &p->context->negative, rate) : range_decode_bit(d, EVEN);
    const int size = 1 + get_size(d, p, predicted && negative, rate);
    return p->centre + (negative ? -size : size) * p->sign;
}

#endif

/* The decoder of weight_codec.h's streams. What it computes is what docs/formats.md says bit by bit, in an order that suits a core:
 * eight columns' classes at once, decisions that tend one way as branches, signs as arithmetic. */
#include "quant/weight_columns.h"
#include "store/weight_bits.h"
#include "store/weight_codec.h"
#include <string.h>

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* ---- decisions ---- */

/* What is rare takes the decoder by value: one whose address is known lives in memory, and every decision would wait for it. */
static __attribute__((noinline)) range_decoder refilled_at_end(range_decoder d) {
    d.code = d.code << 32 | range_decoder_word(&d);
    d.range <<= 32;
    return d;
}

static ALWAYS_INLINE void refill(range_decoder *d) {
    if (__builtin_expect(d->range > UINT32_MAX, 1)) return;
    if (__builtin_expect(d->end - d->next < 4, 0)) {
        *d = refilled_at_end(*d);
        return;
    }
    uint32_t word;
    memcpy(&word, d->next, sizeof word);
    d->next += sizeof word;
    d->code = d->code << 32 | __builtin_bswap32(word);
    d->range <<= 32;
}

typedef struct far_number {
    range_decoder d;
    int bucket;
} far_number;

static __attribute__((noinline)) far_number decode_far(range_decoder d) {
    const int bucket = MORE_DECISIONS + (int)get_number(&d);
    return (far_number){d, bucket};
}

/* Control flow follows its outcome at once, so nothing waits for the arithmetic of both. */
static ALWAYS_INLINE bool decide(range_decoder *d, adaptive_bit *b, const uint16_t *rate) {
    const uint64_t bound = (d->range >> RANGE_BITS) * adaptive_probability(*b);
    if (d->code < bound) {
        d->range = bound;
        refill(d);
        adaptive_seen(b, 1, rate);
        return true;
    }
    d->code -= bound;
    d->range -= bound;
    refill(d);
    adaptive_seen(b, 0, rate);
    return false;
}

/* For what is as good as random: no branch. */
static ALWAYS_INLINE int toss(range_decoder *d, uint32_t p) {
    const uint64_t bound = (d->range >> RANGE_BITS) * p;
    const uint64_t ones = -(uint64_t)(d->code < bound); /* all bits */
    d->code -= bound & ~ones;
    d->range = (bound & ones) + ((d->range - bound) & ~ones);
    refill(d);
    return (int)(ones & 1);
}

static ALWAYS_INLINE int toss_adaptive(range_decoder *d, adaptive_bit *b, const uint16_t *rate) {
    const int bit = toss(d, adaptive_probability(*b));
    adaptive_seen(b, bit, rate);
    return bit;
}

static ALWAYS_INLINE int decode_low(range_decoder *d, weight_context *x, int shift, int bucket, const uint16_t *rate) {
    adaptive_bit *nodes = x->low[bucket < LOW_BUCKETS ? bucket : LOW_BUCKETS - 1];
    int low = 1;
    for (int i = 0; i < shift; i++)
        low = 2 * low + (low < LOW_NODES ? toss_adaptive(d, &nodes[low], rate) : toss(d, EVEN));
    return low - (1 << shift);
}

/* |k − the centre|, without its sign. */
static ALWAYS_INLINE int decode_distance(range_decoder *d, const weight_place *p, int *negative, const bool predicted,
                                         const uint16_t *rate) {
    weight_context *x = p->context;
    *negative = 0;
    if (!decide(d, &x->nonzero, rate)) return 0;
    *negative = predicted ? toss_adaptive(d, &x->negative, rate) : toss(d, EVEN);
    adaptive_bit *more = x->more[predicted && *negative];
    int bucket = 0;
    while (bucket < MORE_DECISIONS && decide(d, &more[bucket], rate)) bucket++;
    if (__builtin_expect(bucket == MORE_DECISIONS, 0)) {
        const far_number far = decode_far(*d);
        *d = far.d;
        bucket = far.bucket;
    }
    return 1 + (p->shift ? (bucket << p->shift) + decode_low(d, x, p->shift, bucket, rate) : bucket);
}

/* ---- rows ---- */

/* What a row is decoded with; t is NULL without a trellis. */
typedef struct row_decoder {
    range_decoder d;
    weight_model *m;
    const uint8_t *class_of;
    int state, levels;
} row_decoder;

/* The columns from first on to q, `count` of them; false where a code is beyond the levels. */
static bool decode_some(row_decoder *w, int64_t first, int64_t count, int8_t *q) {
    weight_model *m = w->m;
    const trellis *t = m->trellis;
    for (int64_t c = first; c < first + count; c++) {
        const int quantizer = t ? t->quantizer[w->state] : 0;
        const weight_place p = weight_model_place(m, c, quantizer);
        const int k = get_code(&w->d, &p, m->prediction != PREDICT_ZERO, m->rate);
        const int point = t ? trellis_point(k, quantizer) : k;
        if (point < -w->levels || point > w->levels) return false;
        weight_model_seen(m, c, &p, k, point);
        q[c] = (int8_t)point;
        if (t) w->state = t->next[w->state][k & 1];
    }
    return true;
}

/* Where the next SPREAD_REFRESH integers may stand: in each quantizer's contexts. */
typedef weight_place places[2][SPREAD_REFRESH];

static ALWAYS_INLINE void find_places(places out, row_decoder *w, int64_t first, const bool predicted,
                                      const int quantizers) {
    uint16_t index[SPREAD_REFRESH];
    weight_columns_indices(&w->m->spread, first, index);
    for (int i = 0; i < SPREAD_REFRESH; i++)
        for (int quantizer = 0; quantizer < quantizers; quantizer++)
            out[quantizer][i] = weight_model_place_of(w->m, first + i, quantizer, w->class_of[index[i]], predicted);
}

/* The same of SPREAD_REFRESH columns. */
static ALWAYS_INLINE bool decode_columns(row_decoder *w, int64_t first, int8_t *q, const bool predicted,
                                         const trellis *t) {
    weight_model *m = w->m;
    places at;
    uint32_t sizes[SPREAD_REFRESH];
    int8_t points[SPREAD_REFRESH];
    range_decoder d = w->d;
    int state = w->state;
    find_places(at, w, first, predicted, t ? 2 : 1);
    for (int i = 0; i < SPREAD_REFRESH; i++) {
        const int quantizer = t ? t->quantizer[state] : 0;
        const weight_place *p = &at[quantizer][i];
        int negative;
        const int distance = decode_distance(&d, p, &negative, predicted, m->rate), centre = predicted ? p->centre : 0;
        const int away = negative ? -distance : distance, k = predicted ? centre + away * p->sign : away;
        const int point = t ? trellis_point(k, quantizer) : k;
        if (point < -w->levels || point > w->levels) return false;
        sizes[i] = predicted ? weight_size(p, k) : (uint32_t)distance * SPREAD_ONE;
        points[i] = (int8_t)point;
        if (t) state = t->next[state][(centre + distance) & 1];
    }
    weight_columns_seen(&m->spread, first, sizes);
    for (int i = 0; predicted && i < SPREAD_REFRESH && m->column_mean; i++) weight_column_seen(m, first + i, points[i]);
    memcpy(q + first, points, SPREAD_REFRESH);
    w->d = d;
    w->state = state;
    return true;
}

static ALWAYS_INLINE bool decode_row_of(row_decoder *w, int8_t *q, int64_t cols, const bool predicted,
                                        const trellis *t) {
    int64_t c = 0;
    w->state = 0;
    for (; c + SPREAD_REFRESH <= cols; c += SPREAD_REFRESH)
        if (!decode_columns(w, c, q, predicted, t)) return false;
    return decode_some(w, c, cols - c, q);
}

static bool decode_row(row_decoder *w, int8_t *q, int64_t cols) {
    const trellis *t = w->m->trellis;
    if (w->m->prediction != PREDICT_ZERO)
        return t ? decode_row_of(w, q, cols, true, t) : decode_row_of(w, q, cols, true, NULL);
    return t ? decode_row_of(w, q, cols, false, t) : decode_row_of(w, q, cols, false, NULL);
}

/* ---- a matrix ---- */

status weights_decode(quantized *q, const quantized *twin, const uint8_t *bytes, size_t count) {
    if (count < WEIGHTS_HEADER) return fail("expected at least %d bytes of codes, found %zu", WEIGHTS_HEADER, count);
    const uint32_t mean = bytes[1] | (uint32_t)bytes[2] << 8;
    if (bytes[0] >= PREDICT_COUNT) return fail("expected a prediction below %d, found %d", PREDICT_COUNT, bytes[0]);
    if (mean == 0) return fail("expected a mean size of at least 1, found 0");
    if (bytes[0] == PREDICT_TWIN && !twin) return fail("expected no prediction from a twin, which it has not");
    weight_model m;
    uint8_t class_of[SPREAD_INDICES];
    row_decoder w = {.m = &m, .class_of = class_of, .levels = q->levels};
    bool good = true;
    weight_columns_start(class_of);
    weight_model_start(&m, q, (weight_prediction)bytes[0], twin, mean);
    range_decoder_start(&w.d, bytes + WEIGHTS_HEADER, count - WEIGHTS_HEADER);
    for (int64_t r = 0; r < q->rows && good; r++) {
        if (weight_row_is_zero(q, r)) {
            memset(q->q + r * q->cols, 0, (size_t)q->cols);
            continue;
        }
        weight_model_row(&m, q, r);
        good = decode_row(&w, q->q + r * q->cols, q->cols);
    }
    weight_model_end(&m);
    return good ? STATUS_OK : fail("the codes are damaged");
}

#include "store/scale_codec.h"

#include "base/memory.h"
#include "store/weight_bits.h"
#include <string.h>

enum {
    MEAN_MOST = 24,
    AWAY_SHIFT = 6,
    AWAY_START = 16 * SPREAD_ONE,
    STREAM_HEADER = 2 /* of offsets and factors no bit is dropped */
};

/* Of one kind of scales. A scale is 0, or the integer of its bits without those that are 0 in all of the kind. */
typedef struct scale_kind {
    int dropped;          /* how many low bits those are */
    adaptive_bit zero[2]; /* is it 0? after one that was not, after one that was */
    int was_zero;
    int64_t mean, twin_mean; /* of the run's integers, of their distance from the twin's; in 1/256 */
    uint32_t away;           /* mean distance from what was predicted, in 1/256 */
    int seen;                /* in the run */
    weight_context contexts[SPREAD_CLASSES][8];
} scale_kind;

typedef struct scale_model {
    scale_kind kinds[SCALE_KINDS];
    uint16_t rate[ADAPTIVE_MOST + 1];
} scale_model;

static scale_model *model_new(const uint8_t dropped[SCALE_KINDS]) {
    scale_model *m = xcalloc(1, sizeof *m);
    for (int n = 0; n <= ADAPTIVE_MOST; n++) m->rate[n] = (uint16_t)(10 * 65536 / (10 * n + 16));
    for (int i = 0; i < SCALE_KINDS; i++) {
        scale_kind *k = &m->kinds[i];
        k->dropped = dropped[i];
        k->away = AWAY_START;
        k->zero[0] = k->zero[1] = UINT32_C(1) << 28; /* 1/16 */
    }
    return m;
}

static void run_start(scale_kind *k) {
    k->seen = k->was_zero = 0;
    k->twin_mean = 0;
}

/* What is expected, as a place of the weights' coder. */
static weight_place place_of(scale_kind *k, bool has_twin, int twin) {
    const int64_t predicted = has_twin ? ((int64_t)twin << 8) + k->twin_mean : k->mean;
    const int class = spread_class_of(k->away), centre = (int)((predicted + 128) >> 8);
    const int phase = (int)(predicted + 128 - (int64_t)centre * 256) >> 5;
    weight_place p = {&k->contexts[class][phase], (int32_t)predicted, centre, 1, weight_bucket_shift(class)};
    if (!p.context->nonzero) weight_context_start(p.context, class, phase, true);
    return p;
}

static void value_seen(scale_kind *k, const weight_place *p, int value, bool has_twin, int twin) {
    const int64_t exact = (int64_t)value << 8, away = exact - p->predicted;
    const int share = k->seen < MEAN_MOST ? k->seen + 1 : MEAN_MOST;
    const int64_t size = away < 0 ? -away : away;
    k->mean += (exact - k->mean) / share;
    if (has_twin) k->twin_mean += (exact - ((int64_t)twin << 8) - k->twin_mean) / share;
    /* The first one of a run tells how matrices differ, not scales. */
    if (k->seen++)
        k->away +=
            (uint32_t)((size < SPREAD_MOST_SIZE ? size : SPREAD_MOST_SIZE) >> AWAY_SHIFT) - (k->away >> AWAY_SHIFT);
}

/* One scale; with e NULL it is decoded. */
static uint16_t code_scale(scale_model *m, scale_kind *k, range_encoder *e, range_decoder *d, uint16_t scale,
                           bool has_twin, uint16_t twin) {
    adaptive_bit *zero = &k->zero[k->was_zero];
    if (e) put_bit(e, zero, scale == 0, m->rate);
    k->was_zero = e ? scale == 0 : get_bit(d, zero, m->rate);
    if (k->was_zero) return 0;
    const bool related = has_twin && twin != 0;
    const weight_place p = place_of(k, related, twin >> k->dropped);
    int value = scale >> k->dropped;
    if (e)
        put_code(e, &p, value, true, m->rate);
    else
        value = get_code(d, &p, true, m->rate);
    value &= UINT16_MAX >> k->dropped;
    value_seen(k, &p, value, related, twin >> k->dropped);
    return (uint16_t)(value << k->dropped);
}

static void find_dropped(uint8_t dropped[SCALE_KINDS], const uint16_t *scales, const scale_run *runs,
                         size_t run_count) {
    unsigned bits[SCALE_KINDS] = {0};
    for (size_t i = 0; i < run_count; i++)
        for (size_t j = 0; j < runs[i].count; j++) bits[runs[i].kind] |= scales[runs[i].first + j];
    for (int k = 0; k < SCALE_KINDS; k++)
        dropped[k] = k < STREAM_HEADER && bits[k] ? (uint8_t)__builtin_ctz(bits[k]) : 0;
}

/* With e NULL they are decoded. */
static void code_all(uint16_t *scales, const uint8_t dropped[SCALE_KINDS], const scale_run *runs, size_t run_count,
                     range_encoder *e, range_decoder *d) {
    scale_model *m = model_new(dropped);
    for (size_t i = 0; i < run_count; i++) {
        const scale_run *run = &runs[i];
        scale_kind *k = &m->kinds[run->kind];
        run_start(k);
        for (size_t j = 0; j < run->count; j++) {
            uint16_t *scale = &scales[run->first + j];
            *scale = code_scale(m, k, e, d, *scale, run->has_twin, run->has_twin ? scales[run->twin + j] : 0);
        }
    }
    free(m);
}

void scales_encode(const uint16_t *scales, const scale_run *runs, size_t run_count, uint8_t **bytes, size_t *count) {
    uint8_t dropped[SCALE_KINDS];
    size_t all = 0;
    for (size_t i = 0; i < run_count; i++) all += runs[i].count;
    uint16_t *own = xmalloc((all + 1) * sizeof *own);
    if (all) memcpy(own, scales, all * sizeof *own);
    range_encoder e;
    range_encoder_start(&e);
    find_dropped(dropped, scales, runs, run_count);
    code_all(own, dropped, runs, run_count, &e, NULL);
    range_encoder_finish(&e);
    *count = STREAM_HEADER + e.count;
    *bytes = xmalloc(*count);
    memcpy(*bytes, dropped, STREAM_HEADER);
    if (e.count) memcpy(*bytes + STREAM_HEADER, e.bytes, e.count);
    free(e.bytes);
    free(own);
}

status scales_decode(uint16_t *scales, const scale_run *runs, size_t run_count, const uint8_t *bytes, size_t count) {
    if (count < STREAM_HEADER) return fail("expected at least %d bytes of scales, found %zu", STREAM_HEADER, count);
    uint8_t dropped[SCALE_KINDS] = {0};
    memcpy(dropped, bytes, STREAM_HEADER);
    for (int k = 0; k < STREAM_HEADER; k++)
        if (bytes[k] > 15) return fail("expected up to 15 bits that are 0 in all scales, found %d", bytes[k]);
    range_decoder d;
    range_decoder_start(&d, bytes + STREAM_HEADER, count - STREAM_HEADER);
    for (size_t i = 0; i < run_count; i++) memset(scales + runs[i].first, 0, runs[i].count * sizeof *scales);
    code_all(scales, dropped, runs, run_count, NULL, &d);
    return STATUS_OK;
}

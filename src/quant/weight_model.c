#include "quant/weight_model.h"

#include "base/memory.h"
#include <stdlib.h>

/* ---- what is believed before anything is seen ---- */

enum { TAIL_STEPS = 16, TAIL_MOST = 96 }; /* of a sixteenth σ, up to 6 σ */

/* 2³¹ Q(i/16), Q(z) the part of a bell curve beyond z σ. */
static const uint32_t bell_tail[TAIL_MOST + 2] = {
    1073741824, 1020231537, 966929799, 914042725, 861771604, 810310609, 759844640, 710547338, 662579319, 616086648,
    571199574,  528031548,  486678533, 447218609, 409711862, 374200554, 340709563, 309247049, 279805345, 252362031,
    226881161,  203314610,  181603506, 161679720, 143467372, 126884335, 111843696, 98255161,  86026384,  75064189,
    65275690,   56569286,   48855536,  42047899,  36063351,  30822879,  26251855,  22280299,  18843042,  15879798,
    13335155,   11158496,   9303862,   7729771,   6398993,   5278303,   4338212,   3552691,   2898884,   2356825,
    1909167,    1540910,    1239152,   992847,    792590,    630405,    499567,    394428,    310270,    243168,
    189875,     147713,     114487,    88406,     68013,     52130,     39807,     30284,     22953,     17332,
    13039,      9772,       7296,      5428,      4022,      2970,      2184,      1600,      1168,      850,
    616,        444,        319,       229,       163,       116,       82,        58,        41,        29,
    20,         14,         10,        7,         5,         3,         2,         1};

/* Q(at / σ), at ≥ 0 and σ in the same unit, linear between the table's places. */
static uint32_t tail_beyond(int64_t at, int64_t sigma) {
    const int64_t z = at * (TAIL_STEPS << 8) / sigma, i = z >> 8;
    if (i >= TAIL_MOST) return bell_tail[TAIL_MOST];
    return bell_tail[i] - (uint32_t)(((bell_tail[i] - bell_tail[i + 1]) * (uint64_t)(z & 255)) >> 8);
}

/* part / whole between 1/64 and 63/64. */
static adaptive_bit believed(uint64_t part, uint64_t whole) {
    enum { LEAST = 1 << 16, MOST = (1 << 22) - LEAST };
    const uint64_t p = whole ? (part << 22) / whole : LEAST;
    return (adaptive_bit)(p < LEAST ? LEAST : p > MOST ? MOST : p) << ADAPTIVE_COUNT_BITS | ADAPTIVE_START;
}

/* σ of a bell curve whose mean size is the class's, in 1/256 steps: 1.2533 times the mean. */
static int64_t class_sigma(int class) {
    static const uint16_t eighth[8] = {267, 292, 318, 347, 378, 412, 450, 490}; /* 256 · 2^((i + 1/2)/8) */
    const int64_t mean = ((int64_t)eighth[class & 7] << (class >> 3)) / 64;
    const int64_t sigma = mean * 321 / 256;
    return sigma ? sigma : 1;
}

/* e of a bell curve around `away` (1/256 steps, up to half a step either way); e is d or more where the curve is beyond
 * d − 1/2. Far out the last ratio of the table goes on. */
void weight_context_start(weight_context *x, int class, int phase, bool predicted) {
    const int half = SPREAD_ONE / 2;
    const int64_t sigma = class_sigma(class), far = sigma * 9 / 2;
    const int away = predicted ? (phase & 7) * SPREAD_ONE / 8 + SPREAD_ONE / 16 - half : 0;
    const uint64_t above = tail_beyond(half - away, sigma), below = tail_beyond(half + away, sigma);
    x->nonzero = believed(above + below, UINT32_C(1) << 31);
    x->negative = believed(below, above + below);
    const int64_t bucket = (int64_t)SPREAD_ONE << weight_bucket_shift(class);
    for (int side = 0; side < 2; side++)
        for (int d = 0; d < MORE_DECISIONS; d++) {
            int64_t from = half + (side ? away : -away) + d * bucket;
            if (from > far) from = far;
            x->more[side][d] = believed(tail_beyond(from + bucket, sigma), tail_beyond(from, sigma));
        }
    for (int b = 0; b < LOW_BUCKETS; b++)
        for (int i = 0; i < LOW_NODES; i++) x->low[b][i] = believed(15, 32); /* the upper half is a little rarer */
}

/* ---- a matrix ---- */

/* 1/256ths, at most 32. One correctly rounded division and powers of 2: the same on every machine. */
static int32_t ratio_of(double part, float whole) {
    const double ratio = whole > 0 ? 256 * part / (double)whole : 0;
    return (int32_t)(ratio < 8192 ? ratio : 8192);
}

static int32_t *column_ratios(const quantized *twin, const quantized *q) {
    if (!twin->input_scale && !q->input_scale) return NULL;
    int32_t *ratios = xmalloc((size_t)q->cols * sizeof *ratios);
    for (int64_t c = 0; c < q->cols; c++)
        ratios[c] = ratio_of(twin->input_scale ? twin->input_scale[c] : 1, q->input_scale ? q->input_scale[c] : 1);
    return ratios;
}

void weight_model_start(weight_model *m, const quantized *q, weight_prediction prediction, const quantized *twin,
                        uint32_t mean) {
    const trellis *t = trellis_of(q->trellis);
    *m = (weight_model){.prediction = prediction, .trellis = t, .twin = twin};
    m->levels = weight_code_levels(q->levels, t);
    const int phases = prediction == PREDICT_ZERO ? 1 : PREDICTED_PHASES;
    m->contexts = xcalloc((size_t)(SPREAD_CLASSES * phases * (t ? 2 : 1)), sizeof *m->contexts);
    if (prediction == PREDICT_COLUMN) m->column_mean = xcalloc((size_t)q->cols, sizeof *m->column_mean);
    if (prediction == PREDICT_TWIN) m->twin_columns = column_ratios(twin, q);
    weight_spread_start(&m->spread, q->cols, mean);
    for (int n = 0; n <= ADAPTIVE_MOST; n++) m->rate[n] = (uint16_t)(10 * 65536 / (10 * n + 16));
}

void weight_model_end(weight_model *m) {
    weight_spread_end(&m->spread);
    free(m->contexts);
    free(m->column_mean);
    free(m->twin_columns);
}

bool weight_row_is_zero(const quantized *q, int64_t r) {
    const int64_t groups = quantized_groups(q);
    for (int64_t g = 0; g < groups; g++)
        if (q->scale[r * groups + g] != 0) return false;
    return true;
}

void weight_model_row(weight_model *m, const quantized *q, int64_t r) {
    enum { COLUMN_ROWS = 300, COLUMN_PRIOR = 12 }; /* a column's mean begins as 0 seen 12 times */
    weight_spread_row(&m->spread);
    if (m->prediction == PREDICT_TWIN) { /* less 1/16: what a twin has in excess is rather noise */
        m->twin_row = m->twin->q + r * m->twin->cols;
        m->twin_ratio =
            ratio_of(0.9375 * (double)m->twin->scale[r * quantized_groups(m->twin)], q->scale[r * quantized_groups(q)]);
    }
    m->column_rate = 65536 / (uint32_t)((m->row < COLUMN_ROWS ? m->row : COLUMN_ROWS) + COLUMN_PRIOR);
    m->row++;
}

#include "quant/weight_rates.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

static double bits_of(adaptive_bit b, int bit) {
    const double p = (double)adaptive_probability(b) / 65536;
    return -log2(bit ? p : 1 - p);
}

/* A decision's bits; it is learned from where `rate` is given. */
static double decide(adaptive_bit *b, int bit, const uint16_t *rate) {
    const double bits = bits_of(*b, bit);
    if (rate) adaptive_seen(b, bit, rate);
    return bits;
}

/* As weight_bits.h codes it without a prediction. */
static double decide_code(weight_context *x, int shift, int k, const uint16_t *rate) {
    double bits = decide(&x->nonzero, k != 0, rate);
    if (k == 0) return bits;
    const int size = abs(k) - 1, bucket = size >> shift;
    bits += 1; /* the sign */
    for (int d = 0; d < MORE_DECISIONS; d++) {
        bits += decide(&x->more[0][d], d < bucket, rate);
        if (d == bucket) break;
    }
    if (bucket >= MORE_DECISIONS) bits += 2 * (31 - __builtin_clz((unsigned)(bucket - MORE_DECISIONS + 1))) + 1;
    for (int i = shift - 1, node = 1; i >= 0; i--) {
        const int bit = size >> i & 1;
        const bool learned = node < LOW_NODES;
        bits += learned ? decide(&x->low[bucket < LOW_BUCKETS ? bucket : LOW_BUCKETS - 1][node], bit, rate) : 1;
        node = 2 * node + bit;
    }
    return bits;
}

/* The bits of one row. */
static double learn_row(weight_model *m, const int8_t *codes, int64_t cols) {
    double bits = 0;
    for (int64_t c = 0, state = 0; c < cols; c++) {
        const int k = codes[c], quantizer = m->trellis ? m->trellis->quantizer[state] : 0;
        const weight_place p = weight_model_place(m, c, quantizer);
        bits += decide_code(p.context, p.shift, k, m->rate);
        weight_model_seen(m, c, &p, k, k);
        if (m->trellis) state = m->trellis->next[state][k & 1];
    }
    return bits;
}

static void fill(weight_rates *out, weight_model *m) {
    for (int quantizer = 0; quantizer < 2; quantizer++)
        for (int class = 0; class < SPREAD_CLASSES; class ++) {
            weight_context *x = &m->contexts[(m->trellis ? quantizer : 0) * SPREAD_CLASSES + class];
            if (!x->nonzero) weight_context_start(x, class, 0, false);
            for (int k = 0; k < RATE_CODES; k++)
                out->bits[quantizer][class][k] = (float)decide_code(x, weight_bucket_shift(class), k, NULL);
        }
}

static bool codes_of(int8_t *codes, const quantized *q, int64_t r) {
    const trellis *t = trellis_of(q->trellis);
    if (t) return trellis_codes(t, q->q + r * q->cols, q->cols, codes);
    for (int64_t c = 0; c < q->cols; c++) codes[c] = q->q[r * q->cols + c];
    return true;
}

bool weight_rates_of(weight_rates *out, const quantized *q, uint32_t *mean) {
    uint64_t sum = 0, count = 0;
    int8_t *codes = xmalloc((size_t)(q->rows * q->cols));
    bool good = true;
    for (int64_t r = 0; r < q->rows && good; r++) {
        if (weight_row_is_zero(q, r)) continue;
        good = codes_of(codes + r * q->cols, q, r);
        count += (uint64_t)q->cols;
        for (int64_t c = 0; c < q->cols && good; c++) sum += (uint64_t)abs(codes[r * q->cols + c]);
    }
    *mean = count && sum ? (uint32_t)(sum * SPREAD_ONE / count) : 1;
    if (*mean < 1) *mean = 1;
    weight_model m;
    weight_model_start(&m, q, PREDICT_ZERO, NULL, *mean);
    out->total = 0;
    for (int64_t r = 0; r < q->rows && good; r++) {
        if (weight_row_is_zero(q, r)) continue;
        weight_model_row(&m, q, r);
        out->total += learn_row(&m, codes + r * q->cols, q->cols);
    }
    if (good) fill(out, &m);
    weight_model_end(&m);
    free(codes);
    return good;
}

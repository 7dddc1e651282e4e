#include "store/weight_codec.h"

#include "base/memory.h"
#include "store/weight_bits.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_MEAN = UINT16_MAX };

/* ---- a row ---- */

static const trellis one_quantizer = {.states = 1};

static void encode_row(range_encoder *e, weight_model *m, const int8_t *codes, int64_t cols) {
    const trellis *t = m->trellis ? m->trellis : &one_quantizer;
    const bool predicted = m->prediction != PREDICT_ZERO;
    for (int64_t c = 0, state = 0; c < cols; c++) {
        const int k = codes[c], quantizer = t->quantizer[state];
        const weight_place p = weight_model_place(m, c, quantizer);
        put_code(e, &p, k, predicted, m->rate);
        weight_model_seen(m, c, &p, k, m->trellis ? trellis_point(k, quantizer) : k);
        state = t->next[state][k & 1];
    }
}

/* ---- a matrix ---- */

/* The mean of |k − prediction| over what is coded, in 1/256 steps. */
static uint32_t mean_size(const quantized *q, const int8_t *codes, weight_prediction prediction,
                          const quantized *twin) {
    uint64_t sum = 0, count = 0;
    weight_model m;
    if (prediction == PREDICT_COLUMN) prediction = PREDICT_ZERO; /* as large, about */
    weight_model_start(&m, q, prediction, twin, SPREAD_ONE);
    const trellis *machine = m.trellis ? m.trellis : &one_quantizer;
    for (int64_t r = 0; r < q->rows; r++) {
        if (weight_row_is_zero(q, r)) continue;
        weight_model_row(&m, q, r);
        count += (uint64_t)q->cols;
        for (int64_t c = 0, state = 0; c < q->cols; c++) {
            const int k = codes[r * q->cols + c], quantizer = machine->quantizer[state];
            sum += (uint64_t)abs(k * SPREAD_ONE - weight_predicted_code(&m, c, quantizer));
            state = machine->next[state][k & 1];
        }
    }
    weight_model_end(&m);
    const uint64_t mean = count ? sum / count : 0;
    return mean < 1 ? 1 : mean > MOST_MEAN ? MOST_MEAN : (uint32_t)mean;
}

/* Appends nothing: *e becomes the range coder's bytes behind the header. */
static void encode_with(range_encoder *e, uint32_t *mean, const quantized *q, const int8_t *codes,
                        weight_prediction prediction, const quantized *twin) {
    weight_model m;
    *mean = mean_size(q, codes, prediction, twin);
    weight_model_start(&m, q, prediction, twin, *mean);
    range_encoder_start(e);
    for (int64_t r = 0; r < q->rows; r++) {
        if (weight_row_is_zero(q, r)) continue;
        weight_model_row(&m, q, r);
        encode_row(e, &m, codes + r * q->cols, q->cols);
    }
    range_encoder_finish(e);
    weight_model_end(&m);
}

/* What is stored of q: itself, or the codes of its paths (*own, to be freed). */
static status codes_of(const quantized *q, const int8_t **codes, int8_t **own) {
    const trellis *t = trellis_of(q->trellis);
    *codes = q->q;
    *own = NULL;
    if (!t) return STATUS_OK;
    *codes = *own = xmalloc((size_t)(q->rows * q->cols));
    for (int64_t r = 0; r < q->rows; r++)
        if (!trellis_codes(t, q->q + r * q->cols, q->cols, *own + r * q->cols)) {
            free(*own);
            return fail("row %lld: expected points of a trellis of %d states, found others", (long long)r, t->states);
        }
    return STATUS_OK;
}

status weights_encode(const quantized *q, const quantized *twin, uint8_t **bytes, size_t *count) {
    const int8_t *codes;
    int8_t *own;
    range_encoder best = {0};
    int chosen = PREDICT_COUNT;
    uint32_t mean = 0;
    TRY(codes_of(q, &codes, &own));
    for (int p = 0; p < PREDICT_COUNT; p++) {
        if (p == PREDICT_TWIN && !twin) continue;
        range_encoder e;
        uint32_t own_mean;
        encode_with(&e, &own_mean, q, codes, (weight_prediction)p, twin);
        const bool better = chosen == PREDICT_COUNT || e.count < best.count;
        free(better ? best.bytes : e.bytes);
        if (better) best = e, chosen = p, mean = own_mean;
    }
    free(own);
    *count = best.count + WEIGHTS_HEADER;
    *bytes = xmalloc(*count);
    (*bytes)[0] = (uint8_t)chosen;
    (*bytes)[1] = (uint8_t)mean;
    (*bytes)[2] = (uint8_t)(mean >> 8);
    if (best.count) memcpy(*bytes + WEIGHTS_HEADER, best.bytes, best.count);
    free(best.bytes);
    return STATUS_OK;
}

bool weights_need_twin(const uint8_t *bytes, size_t count) {
    return count >= WEIGHTS_HEADER && bytes[0] == PREDICT_TWIN;
}

double weights_entropy(const quantized *q) {
    int64_t seen[256] = {0}, total = 0;
    for (int64_t r = 0; r < q->rows; r++) {
        if (weight_row_is_zero(q, r)) continue;
        total += q->cols;
        for (int64_t c = 0; c < q->cols; c++) seen[q->q[r * q->cols + c] + 128]++;
    }
    double bits = 0;
    for (int i = 0; i < 256; i++)
        if (seen[i]) bits -= (double)seen[i] * log2((double)seen[i] / (double)total);
    return bits;
}

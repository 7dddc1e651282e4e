/* What the entropy coder believes about the integers of a matrix: a prediction of each (often 0), a context, and in each context
 * adaptive probabilities of binary decisions. Integers only.
 *
 * Decisions. With e = k − the prediction rounded, signed so that the prediction is not below 0:
 *     is e ≠ 0?  is e < 0?  and of size = |e| − 1: is bucket > 0, > 1, … of bucket = size >> shift; then size's low bits.
 * shift is such that the context's mean size is at most 3 buckets, so a weight takes about 1.5 to 5 decisions at any number of bits.
 *
 * Context. The class of the expected size (weight_spread.h); which of two quantisers a trellis has in use (tensor/trellis.h);
 * where there is a prediction, its whole part up to 3 and its fraction in eighths.
 *
 * Predictions. None; each column's running mean (embeddings have one that matters); or the matrix's twin: an expert copied from
 * another one differs little from it.
 *
 * A probability begins as a bell curve says that is as wide as the class's mean size, and moves by 1/(n + 1.6) at its nth
 * decision, n up to 1023 and from 12. */
#ifndef MOEC_QUANT_WEIGHT_MODEL_H
#define MOEC_QUANT_WEIGHT_MODEL_H

#include "quant/weight_spread.h"
#include "tensor/quantized.h"
#include "tensor/trellis.h"

typedef enum weight_prediction { PREDICT_ZERO, PREDICT_COLUMN, PREDICT_TWIN, PREDICT_COUNT } weight_prediction;

/* The probability of 1 in 2⁻²² in the upper 22 bits, decisions seen in the lower 10; 0: nothing is known yet. */
typedef uint32_t adaptive_bit;
enum {
    ADAPTIVE_COUNT_BITS = 10,
    ADAPTIVE_MOST = (1 << ADAPTIVE_COUNT_BITS) - 1,
    ADAPTIVE_START = 12,
    ADAPTIVE_SLOWEST = 10 * 65536 / (10 * ADAPTIVE_MOST + 16) /* the rate of all that are seen so often */
};

static inline uint32_t adaptive_probability(adaptive_bit b) { /* of 1, in 2⁻¹⁶: 1 … 65535 */
    return b >> 16;
}
/* rate[n]: 2¹⁶ / (n + 1.6). P moves where it stands, 10 bits up in b, so that neither it nor n is taken out and put back. */
static inline void adaptive_seen(adaptive_bit *b, int bit, const uint16_t *rate) {
    enum { LEAST = 1 << 6, MOST = (1 << 22) - LEAST };
    const uint32_t count = *b & ADAPTIVE_MOST, p = *b & ~(uint32_t)ADAPTIVE_MOST;
    const int64_t away = ((int64_t)bit << 32) - p;
    uint32_t moved; /* of two branches, since most bits are old, and need not wait for a table */
    if (__builtin_expect_with_probability(count == ADAPTIVE_MOST, 1, 0.9))
        moved = *b + ((uint32_t)(away * ADAPTIVE_SLOWEST >> 16) & ~(uint32_t)ADAPTIVE_MOST);
    else
        moved = *b + ((uint32_t)(away * rate[count] >> 16) & ~(uint32_t)ADAPTIVE_MOST) + 1;
    const uint32_t above = moved - ((uint32_t)LEAST << ADAPTIVE_COUNT_BITS);
    *b = moved;
    if (__builtin_expect_with_probability(above >= (uint32_t)(MOST + 1 - LEAST) << ADAPTIVE_COUNT_BITS, 0, 1))
        *b = (bit ? (uint32_t)MOST : LEAST) << ADAPTIVE_COUNT_BITS | (moved & ADAPTIVE_MOST);
}

enum {
    MORE_DECISIONS = 16, /* buckets beyond it are written as a number (weight_codec.c) */
    LOW_BUCKETS = 4,     /* later ones share the probabilities of their low bits */
    LOW_NODES = 4,       /* the first two low bits are learned (nodes 1 to 3), further ones are even */
    PREDICTED_WHOLES = 4,
    PREDICTED_PHASES = 8 * PREDICTED_WHOLES
};

typedef struct weight_context {
    adaptive_bit nonzero; /* 0: the context has not been used yet */
    adaptive_bit negative;
    adaptive_bit more[2][MORE_DECISIONS]; /* [is e < 0], both alike where nothing is predicted */
    adaptive_bit low[LOW_BUCKETS][LOW_NODES];
} weight_context;

typedef struct weight_model {
    weight_prediction prediction;
    const trellis *trellis; /* NULL: integers as they are run */
    int levels;             /* |k| up to this */
    weight_spread spread;
    weight_context *contexts; /* [quantizers, SPREAD_CLASSES, phases] */
    int32_t *column_mean;     /* [cols] of the points, in 1/65536 steps; NULL unless they predict */
    uint32_t column_rate;     /* 2⁻¹⁶ */
    const quantized *twin;
    const int8_t *twin_row; /* of the row at hand */
    int32_t twin_ratio;     /* its step over this row's, less 1/16, in 1/256 */
    int32_t *twin_columns;  /* [cols] the same of the columns' own steps; NULL: they are alike */
    int64_t row;            /* that are coded so far */
    uint16_t rate[ADAPTIVE_MOST + 1];
} weight_model;

/* Of q its shape, levels, trellis and scales are used; the twin has as many rows and columns. mean: of |k − prediction|, in 1/256 steps. */
void weight_model_start(weight_model *m, const quantized *q, weight_prediction prediction, const quantized *twin,
                        uint32_t mean);
void weight_model_end(weight_model *m);
void weight_model_row(weight_model *m, const quantized *q, int64_t r); /* row r begins */
/* Whether a row's scales are all 0: it is not coded. */
bool weight_row_is_zero(const quantized *q, int64_t r);
void weight_context_start(weight_context *x, int class, int phase, bool predicted);
/* Of a trellis' codes, for the largest of its points. */
static inline int weight_code_levels(int levels, const trellis *t) {
    return t ? (levels + 1) / 2 : levels;
}
/* One class up from here, buckets are twice as wide. */
static inline int weight_bucket_shift(int class) {
    enum { WIDEST_OF_ONE = 60 }; /* a mean of 3 steps */
    return class <= WIDEST_OF_ONE ? 0 : (class - WIDEST_OF_ONE - 1) / 8 + 1;
}

/* Where the next integer stands. */
typedef struct weight_place {
    weight_context *context;
    int32_t predicted; /* k, in 1/256 */
    int centre;        /* the same, rounded */
    int sign;          /* e = sign · (k − centre) */
    int shift;
} weight_place;

/* The point that is expected, in 1/256 steps. */
static inline int32_t weight_predicted(const weight_model *m, int64_t c) {
    if (m->prediction == PREDICT_COLUMN) return m->column_mean[c] >> 8;
    if (m->prediction != PREDICT_TWIN) return 0;
    const int32_t same = m->twin_row[c] * m->twin_ratio;
    return m->twin_columns ? (int32_t)((int64_t)same * m->twin_columns[c] >> 8) : same;
}

/* Its code, within the levels. */
static inline int32_t weight_predicted_code(const weight_model *m, int64_t c, int quantizer) {
    const int32_t most = m->levels * SPREAD_ONE;
    int32_t k = weight_predicted(m, c);
    if (m->trellis) { /* k of 2k − quantizer · sgn k */
        const int32_t odd = k > SPREAD_ONE ? SPREAD_ONE : k < -SPREAD_ONE ? -SPREAD_ONE : k;
        k = (k + quantizer * odd) / 2;
    }
    return k > most ? most : k < -most ? -most : k;
}

/* Of a known class; predicted: whether there are predictions. */
static inline weight_place weight_model_place_of(weight_model *m, int64_t c, int quantizer, int class, bool predicted) {
    weight_place p = {.sign = 1, .shift = weight_bucket_shift(class)};
    int phase = 0;
    if (predicted) {
        int32_t k = weight_predicted_code(m, c, quantizer);
        p.predicted = k;
        p.sign = k < 0 ? -1 : 1;
        k *= p.sign;
        const int whole = (k + SPREAD_ONE / 2) / SPREAD_ONE, fraction = k - whole * SPREAD_ONE + SPREAD_ONE / 2;
        p.centre = p.sign * whole;
        phase = (whole < PREDICTED_WHOLES ? whole : PREDICTED_WHOLES - 1) * 8 + fraction * 8 / SPREAD_ONE;
    }
    p.context = &m->contexts[(quantizer * SPREAD_CLASSES + class) * (predicted ? PREDICTED_PHASES : 1) + phase];
    if (!p.context->nonzero) weight_context_start(p.context, class, phase, predicted);
    return p;
}

static inline weight_place weight_model_place(weight_model *m, int64_t c, int quantizer) {
    return weight_model_place_of(m, c, quantizer, weight_spread_class(&m->spread, c), m->prediction != PREDICT_ZERO);
}

/* What the spread is told of k. */
static inline uint32_t weight_size(const weight_place *p, int k) {
    const int32_t away = k * SPREAD_ONE - p->predicted;
    return (uint32_t)(away < 0 ? -away : away);
}

static inline void weight_column_seen(weight_model *m, int64_t c, int point) {
    m->column_mean[c] += (int32_t)(((int64_t)point * 65536 - m->column_mean[c]) * m->column_rate >> 16);
}

/* It is k, which stands for `point`. */
static inline void weight_model_seen(weight_model *m, int64_t c, const weight_place *p, int k, int point) {
    weight_spread_seen(&m->spread, c, weight_size(p, k));
    if (m->column_mean) weight_column_seen(m, c, point);
}

#endif

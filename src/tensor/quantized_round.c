/* Floats to codes, group by group. */
#include "base/half.h"
#include "tensor/quantized.h"

#include <math.h>

enum { LEVELS_8 = 127, MOST_4 = 15, FITS = 2 };

int64_t quantized_group_for(int64_t cols) {
    for (int64_t group = 32; group > 0; group -= 8)
        if (cols % group == 0) return group;
    return cols;
}

/* What float16 holds; beyond its range the number itself. */
static float rounded(float x) {
    const float half = half_to_float(half_from_float(x));
    return isfinite(half) ? half : x;
}

/* x / step, in whole steps from least to most. A step of 0 has only 0. */
static inline int8_t nearest(float x, float inverse, float least, float most) {
    const float q = rintf(x * inverse);
    return (int8_t)(q < least ? least : q > most ? most : q);
}

static void round_8(const float *w, int64_t count, int8_t *q, float *scale) {
    float most = 0, sum = 0;
    for (int64_t i = 0; i < count; i++) {
        most = fmaxf(most, fabsf(w[i]));
        sum += w[i] * 0; /* NaN where one is not finite */
    }
    *scale = sum == 0 ? rounded(most / LEVELS_8) : NAN;
    const float inverse = *scale > 0 ? 1 / *scale : 0;
    for (int64_t i = 0; i < count; i++) q[i] = nearest(w[i], inverse, -LEVELS_8, LEVELS_8);
}

/* scale and offset that bring scale · q + offset nearest to w in the sum of squares; unchanged where all q are equal. */
static void fit(const float *w, int64_t count, const int8_t *q, float *scale, float *offset) {
    float sum_q = 0, sum_w = 0, sum_qq = 0, sum_qw = 0;
    for (int64_t i = 0; i < count; i++) {
        const float code = q[i];
        sum_q += code;
        sum_w += w[i];
        sum_qq += code * code;
        sum_qw += code * w[i];
    }
    const float n = (float)count, spread = n * sum_qq - sum_q * sum_q;
    if (!(spread > 0)) return;
    *scale = (n * sum_qw - sum_q * sum_w) / spread;
    *offset = (sum_w - *scale * sum_q) / n;
}

static void choose_4(const float *w, int64_t count, int8_t *q, float *scale, float *offset) {
    *scale = rounded(*scale);
    *offset = rounded(*offset);
    const float inverse = *scale > 0 ? 1 / *scale : 0;
    for (int64_t i = 0; i < count; i++) q[i] = nearest(w[i] - *offset, inverse, 0, MOST_4);
}

static void round_4(const float *w, int64_t count, int8_t *q, float *scale, float *offset) {
    float least = w[0], most = w[0], sum = 0;
    for (int64_t i = 0; i < count; i++) {
        least = fminf(least, w[i]);
        most = fmaxf(most, w[i]);
        sum += w[i] * 0;
    }
    *scale = sum == 0 ? (most - least) / MOST_4 : NAN;
    *offset = sum == 0 ? least : 0;
    choose_4(w, count, q, scale, offset);
    for (int i = 0; i < FITS && sum == 0; i++) {
        fit(w, count, q, scale, offset);
        choose_4(w, count, q, scale, offset);
    }
}

void quantized_round_rows(quantized *q, int bits, int64_t first, int64_t rows, const float *values) {
    const int64_t groups = quantized_groups(q);
    for (int64_t g = 0; g < rows * groups; g++) {
        const int64_t to = first * groups + g;
        const float *w = values + g * q->group;
        if (bits == 4)
            round_4(w, q->group, q->q + to * q->group, q->scale + to, q->offset + to);
        else
            round_8(w, q->group, q->q + to * q->group, q->scale + to);
    }
}

/* Arrays of parameters: sums, averaging, Adam, and the grid of late QAT. Muon is in muon.c. */
#include "kernel/cpu/variant.h"

#include "kernel/cpu/isa/moment.h"
#include "kernel/cpu/muon.h"
#include <math.h>

enum {
    PARALLEL_COUNT = 1 << 15, /* below, starting threads costs more than the loop */
    SUM_PIECES = 256,         /* a sum is formed in at most so many pieces, whatever the number of threads */
    SUM_PIECE_LEAST = 4096
};

/* ---- sums: each piece in double, then the pieces in order ---- */

static int64_t piece_size(int64_t count) {
    int64_t size = (count + SUM_PIECES - 1) / SUM_PIECES;
    return size < SUM_PIECE_LEAST ? SUM_PIECE_LEAST : size;
}

static double piece_sum(const float *x, int64_t count) {
    double total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < count; i++) total += (double)x[i];
    return total;
}

static double piece_sum_squares(const float *x, int64_t count) {
    double total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < count; i++) total += (double)x[i] * (double)x[i];
    return total;
}

static double sum_in_pieces(double (*piece)(const float *, int64_t), const float *x, int64_t count) {
    double parts[SUM_PIECES], total = 0;
    int64_t size = piece_size(count), pieces = (count + size - 1) / size;
#pragma omp parallel for schedule(static) if (count >= PARALLEL_COUNT)
    for (int64_t p = 0; p < pieces; p++) {
        int64_t from = p * size;
        parts[p] = piece(x + from, count - from < size ? count - from : size);
    }
    for (int64_t p = 0; p < pieces; p++) total += parts[p];
    return total;
}

static void add_sum(double *total, const float *x, int64_t count, double factor) {
    *total += factor * sum_in_pieces(piece_sum, x, count);
}

static void add_squares(double *total, const float *x, int64_t count) {
    *total += sum_in_pieces(piece_sum_squares, x, count);
}

static void clip_factor(float *factor, const double *squares, double limit) {
    double norm = sqrt(*squares);
    if (!isfinite(norm))
        *factor = NAN;
    else
        *factor = limit > 0 && norm > limit ? (float)(limit / (norm + 1e-6)) : 1;
}

/* ---- elementwise ---- */

static void add(float *y, const float *x, int64_t count) {
#pragma omp parallel for simd schedule(static) if (count >= PARALLEL_COUNT)
    for (int64_t i = 0; i < count; i++) y[i] += x[i];
}

static void lerp(float *y, const float *x, float t, int64_t count) {
#pragma omp parallel for simd schedule(static) if (count >= PARALLEL_COUNT)
    for (int64_t i = 0; i < count; i++) y[i] += t * (x[i] - y[i]);
}

/* ---- Adam ---- */

/* Kingma & Ba 2015, with the decoupled decay of Loshchilov & Hutter 2019, as torch.optim.AdamW:
 * m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g²,
 * w ← (1 − lr·wd) w − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε) */
typedef struct adam_step {
    float clip, beta1, beta2, eps;
    float keep;         /* 1 − lr·wd */
    float rate;         /* lr/(1 − β₁ᵗ) */
    float inverse_root; /* 1 / √(1 − β₂ᵗ) */
} adam_step;

static adam_step adam_prepare(float clip, const adam_args *a) {
    return (adam_step){.clip = clip,
                       .beta1 = a->beta1,
                       .beta2 = a->beta2,
                       .eps = a->eps,
                       .keep = (float)(1 - (double)a->lr * a->weight_decay),
                       .rate = (float)(a->lr / (1 - pow(a->beta1, (double)a->step))),
                       .inverse_root = (float)(1 / sqrt(1 - pow(a->beta2, (double)a->step)))};
}

static inline float adam_move(const adam_step *s, float w, float m, float v) {
    return s->keep * w - s->rate * m / (sqrtf(v) * s->inverse_root + s->eps);
}

static void adam_f32(float *w, float *m, float *v, const float *grad, int64_t count, adam_step s) {
#pragma omp parallel for simd schedule(static) if (count >= PARALLEL_COUNT)
    for (int64_t i = 0; i < count; i++) {
        float g = s.clip * grad[i];
        m[i] = s.beta1 * m[i] + (1 - s.beta1) * g;
        v[i] = s.beta2 * v[i] + (1 - s.beta2) * g * g;
        w[i] = adam_move(&s, w[i], m[i], v[i]);
    }
}

/* The weight moves by the means before they are rounded. */
static void adam_bf16(float *w, uint16_t *m, uint16_t *v, const float *grad, int64_t count, adam_step s,
                      uint32_t seed) {
#pragma omp parallel for simd schedule(static) if (count >= PARALLEL_COUNT)
    for (int64_t i = 0; i < count; i++) {
        float g = s.clip * grad[i];
        float mean = s.beta1 * moment_get(m[i]) + (1 - s.beta1) * g;
        float square = s.beta2 * moment_get(v[i]) + (1 - s.beta2) * g * g;
        uint32_t random = moment_random(seed, (uint32_t)i);
        m[i] = moment_put(mean, random & 0xffff);
        v[i] = moment_put(square, random >> 16);
        w[i] = adam_move(&s, w[i], mean, square);
    }
}

static void adam(float *w, void *m, void *v, const float *grad, const float *clip, int64_t count,
                 const adam_args *args) {
    float factor = clip ? *clip : 1;
    if (isnan(factor)) return;
    adam_step s = adam_prepare(factor, args);
    if (args->moments.type == DTYPE_BF16)
        adam_bf16(w, m, v, grad, count, s, args->moments.seed);
    else
        adam_f32(w, m, v, grad, count, s);
}

/* ---- late QAT ---- */

/* max |x|. Without the sign, float32 bits compare as integers do, which vectorises; a NaN is larger than anything. */
static float largest_magnitude(const float *x, int64_t count) {
    int32_t most = 0;
    float largest;
    for (int64_t i = 0; i < count; i++) {
        int32_t bits;
        memcpy(&bits, x + i, 4);
        bits &= INT32_MAX;
        most = bits > most ? bits : most;
    }
    memcpy(&largest, &most, 4);
    return largest;
}

static void fake_quantize_row(float *out, const float *w, int64_t cols, int levels, float clip) {
    float largest = largest_magnitude(w, cols);
    float step = largest * clip / (float)levels, inverse = step > 0 ? 1 / step : 0, most = (float)levels;
    /* max|row| so small that 1 / step overflows: the row is 0 to every product that reads it */
    if (!isfinite(inverse)) inverse = 0;
#pragma omp simd
    for (int64_t i = 0; i < cols; i++) {
        float q = rintf(w[i] * inverse);
        q = q > most ? most : q;
        out[i] = step * (q < -most ? -most : q);
    }
}

static void fake_quantize(float *out, const float *w, int64_t rows, int64_t cols, int levels, float clip) {
#pragma omp parallel for schedule(static) if (rows * cols >= PARALLEL_COUNT)
    for (int64_t r = 0; r < rows; r++) fake_quantize_row(out + r * cols, w + r * cols, cols, levels, clip);
}

void KERNEL(fill_params)(kernels *table) {
    table->add_sum = add_sum;
    table->add_squares = add_squares;
    table->clip_factor = clip_factor;
    table->add = add;
    table->lerp = lerp;
    table->adam = adam;
    table->muon = KERNEL(muon);
    table->fake_quantize = fake_quantize;
}

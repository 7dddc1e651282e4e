/* Float32 arrays of parameters: sums, scaling, averaging, Adam, and the grid of late QAT. Muon is in muon.c. */
#include "kernel/cpu/variant.h"

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

static void scale(float *x, float factor, int64_t count) {
#pragma omp parallel for simd schedule(static) if (count >= PARALLEL_COUNT)
    for (int64_t i = 0; i < count; i++) x[i] *= factor;
}

static void lerp(float *y, const float *x, float t, int64_t count) {
#pragma omp parallel for simd schedule(static) if (count >= PARALLEL_COUNT)
    for (int64_t i = 0; i < count; i++) y[i] += t * (x[i] - y[i]);
}

/* Kingma & Ba 2015, with the decoupled decay of Loshchilov & Hutter 2019, as torch.optim.AdamW:
 * m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g²,
 * w ← (1 − lr·wd) w − lr/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε) */
static void adam(float *w, float *m, float *v, const float *grad, const float *clip, int64_t count,
                 const adam_args *args) {
    float factor = clip ? *clip : 1;
    if (isnan(factor)) return;
    float beta1 = args->beta1, beta2 = args->beta2, eps = args->eps;
    float keep = (float)(1 - (double)args->lr * args->weight_decay);
    float rate = (float)(args->lr / (1 - pow(beta1, (double)args->step)));
    float inverse_root = (float)(1 / sqrt(1 - pow(beta2, (double)args->step)));
#pragma omp parallel for simd schedule(static) if (count >= PARALLEL_COUNT)
    for (int64_t i = 0; i < count; i++) {
        float g = factor * grad[i];
        m[i] = beta1 * m[i] + (1 - beta1) * g;
        v[i] = beta2 * v[i] + (1 - beta2) * g * g;
        w[i] = keep * w[i] - rate * m[i] / (sqrtf(v[i]) * inverse_root + eps);
    }
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
    table->scale = scale;
    table->lerp = lerp;
    table->adam = adam;
    table->muon = KERNEL(muon);
    table->fake_quantize = fake_quantize;
}

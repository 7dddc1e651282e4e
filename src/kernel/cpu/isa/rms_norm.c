/* RMS norm: y = scale · w ⊙ x · r, r = 1 / √(mean(x²) + ε); w may be absent. */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/stream.h"

#include <math.h>

static void rms_norm(void *y, float *rstd, const void *x, const float *weight, float scale, float eps, int64_t N,
                     int64_t d) {
#pragma omp parallel for schedule(static) if (N * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        const act *in = (const act *)x + n * d;
        act *out = (act *)y + n * d;
        rstd[n] = 1 / sqrtf(act_dot(in, in, d) / d + eps);
        lanes factor = lanes_all(scale * rstd[n]);
        if (weight)
            for (int64_t c = 0; c < d; c += LANES)
                act_put(out + c, factor * act_get(in + c, d - c) * lanes_get(weight + c, d - c), d - c);
        else
            for (int64_t c = 0; c < d; c += LANES) act_put(out + c, factor * act_get(in + c, d - c), d - c);
    }
}

/* dx = scale · r · (dy − x · r² · mean(dy ⊙ x)) */
static void backward_plain(grad_out dx, const void *dy, const void *x, const float *rstd, float scale, int64_t N,
                           int64_t d) {
    if (!dx.data) return;
#pragma omp parallel for schedule(static) if (N * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        const act *given = (const act *)dy + n * d, *in = (const act *)x + n * d;
        float r = rstd[n];
        lanes of_dy = lanes_all(scale * r);
        lanes of_x = lanes_all(-scale * r * r * r * act_dot(given, in, d) / d);
        for (int64_t c = 0; c < d; c += LANES)
            grad_put(dx, n * d + c, of_dy * act_get(given + c, d - c) + of_x * act_get(in + c, d - c), d - c);
    }
}

/* Σ (w ⊙ dy) x over one row */
static float weighted_dot(const act *dy, const act *x, const float *weight, int64_t d) {
    lanes sum = lanes_all(0);
    for (int64_t c = 0; c < d; c += LANES)
        sum = lanes_multiply_add(act_get(dy + c, d - c) * lanes_get(weight + c, d - c), act_get(x + c, d - c), sum);
    return lanes_sum(sum);
}

/* The same with w ⊙ dy in the place of dy */
static void backward_input(grad_out dx, const void *dy, const void *x, const float *rstd, const float *weight,
                           float scale, int64_t N, int64_t d) {
    if (!dx.data) return;
#pragma omp parallel for schedule(static) if (N * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        const act *given = (const act *)dy + n * d, *in = (const act *)x + n * d;
        float r = rstd[n];
        lanes of_dy = lanes_all(scale * r);
        lanes of_x = lanes_all(-scale * r * r * r * weighted_dot(given, in, weight, d) / d);
        for (int64_t c = 0; c < d; c += LANES) {
            lanes weighted = act_get(given + c, d - c) * lanes_get(weight + c, d - c);
            grad_put(dx, n * d + c, of_dy * weighted + of_x * act_get(in + c, d - c), d - c);
        }
    }
}

/* dw += scale · Σ dy ⊙ x · r */
static void backward_weight(float *dweight, const void *dy, const void *x, const float *rstd, float scale, int64_t N,
                            int64_t d) {
    for (int64_t from = 0; from < d; from += ROW_BLOCK) {
        int64_t count = least(d - from, ROW_BLOCK);
#pragma omp parallel if (N * count > PARALLEL_ELEMENTS)
        {
            float sums[ROW_BLOCK] = {0};
            int thread = omp_get_thread_num();
            int64_t end = chunk_start(N, thread + 1);
            for (int64_t n = chunk_start(N, thread); n < end; n++) {
                const act *given = (const act *)dy + n * d + from, *in = (const act *)x + n * d + from;
                lanes factor = lanes_all(scale * rstd[n]);
                for (int64_t c = 0; c < count; c += LANES)
                    lanes_put(sums + c,
                              lanes_get(sums + c, count - c) +
                                  factor * act_get(given + c, count - c) * act_get(in + c, count - c),
                              count - c);
            }
            add_partials(dweight + from, sums, count);
        }
    }
}

static void rms_norm_backward(grad_out dx, float *dweight, const void *dy, const void *x, const float *rstd,
                              const float *weight, float scale, int64_t N, int64_t d) {
    if (dweight) backward_weight(dweight, dy, x, rstd, scale, N, d);
    if (weight)
        backward_input(dx, dy, x, rstd, weight, scale, N, d);
    else
        backward_plain(dx, dy, x, rstd, scale, N, d);
}

void KERNEL(fill_rms_norm)(kernels *table) {
    table->rms_norm = rms_norm;
    table->rms_norm_backward = rms_norm_backward;
}

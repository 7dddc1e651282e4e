/* Per head: n = x · rstd, rstd = 1 / √(mean(x²) + ε); y = gain · R(n) with R the rotation of the first rope_dims elements by
 * the position: (n₁, n₂) → (n₁c + n₂s, n₂c − n₁s), half-split.
 *
 * Backward, with u = Rᵀ dy: dgain += Σ n·u;  dx = rstd · gain · (u − n · (n·u) / head_dim). */
#include "kernel/cpu/isa/attention.h"

#include "kernel/cpu/isa/rope_table.h"
#include "kernel/cpu/isa/scratch.h"
#include <math.h>

enum { ROWS_A_SUM = 64 }; /* dgain is summed over so many rows at a time, by one thread, whatever their number */

/* (x₁, x₂) → (x₁c + x₂s, x₂c − x₁s) for pairs (x[i], x[half + i]); direction −1 turns back. */
static void rotate(float *x, const float *cosines, int64_t half, float direction) {
    const float *sines = cosines + half;
    lanes sign = lanes_all(direction);
    for (int64_t i = 0; i < half; i += LANES) {
        int64_t left = half - i;
        lanes c = lanes_get(cosines + i, left), s = lanes_get(sines + i, left) * sign;
        lanes x1 = lanes_get(x + i, left), x2 = lanes_get(x + half + i, left);
        lanes_put(x + i, x1 * c + x2 * s, left);
        lanes_put(x + half + i, x2 * c - x1 * s, left);
    }
}

/* Rows of the heads in whole vectors, `width` apart. All heads take one step before any takes the next: what rotate() has
 * just stored in pieces cannot be loaded whole for some ten cycles. */
static void get_head(float *out, const act *x, float factor, int64_t d) {
    for (int64_t c = 0; c < d; c += LANES) lanes_put(out + c, act_get(x + c, d - c) * lanes_all(factor), LANES);
}

static void rotate_heads(float *rows, int64_t width, int heads, const float *cosines, int64_t half, float direction) {
    for (int64_t h = 0; h < heads; h++) rotate(rows + h * width, cosines, half, direction);
}

static void forward_row(act *y, float *rstd, const act *x, const float *gain, const float *cosines, int64_t half,
                        int heads, int64_t d, float *rows) {
    int64_t width = round_up_lanes(d);
    for (int64_t h = 0; h < heads; h++) {
        rstd[h] = 1 / sqrtf(act_dot(x + h * d, x + h * d, d) / (float)d + RMS_EPSILON);
        get_head(rows + h * width, x + h * d, gain ? rstd[h] * gain[h] : rstd[h], d);
    }
    rotate_heads(rows, width, heads, cosines, half, 1);
    for (int64_t h = 0; h < heads; h++)
        for (int64_t c = 0; c < d; c += LANES) act_put(y + h * d + c, lanes_get(rows + h * width + c, LANES), d - c);
}

void KERNEL(head_norm_rope)(void *y, float *rstd, const void *x, const float *gain, int64_t N, int64_t T,
                            int64_t offset, int heads, int head_dim, int rope_dims, float base) {
    int64_t d = head_dim, half = rope_dims / 2, row = heads * d;
    const float *table = KERNEL(rope_table)(offset + T, half, base);
#pragma omp parallel for schedule(static) if (N * heads * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        float *rows = KERNEL(scratch)(SCRATCH_OWN, (size_t)(heads * round_up_lanes(d)) * sizeof(float));
        forward_row((act *)y + n * row, rstd + n * heads, (const act *)x + n * row, gain,
                    table + (offset + n % T) * 2 * half, half, heads, d, rows);
    }
}

/* One head of one row, u = Rᵀ dy; returns n·u. */
static float backward_head(grad_out dx, int64_t at, const float *u, const act *x, float rstd, float gain, int64_t d) {
    lanes sum = lanes_all(0), inverse = lanes_all(rstd);
    for (int64_t c = 0; c < d; c += LANES)
        sum = lanes_multiply_add(lanes_get(u + c, LANES), act_get(x + at + c, d - c) * inverse, sum);
    float dot = lanes_sum(sum);
    lanes along = lanes_all(dot / (float)d), factor = lanes_all(rstd * gain);
    for (int64_t c = 0; c < d; c += LANES)
        grad_put(dx, at + c, (lanes_get(u + c, LANES) - act_get(x + at + c, d - c) * inverse * along) * factor, d - c);
    return dot;
}

void KERNEL(head_norm_rope_backward)(grad_out dx, float *dgain, const void *dy, const void *x, const float *rstd,
                                     const float *gain, int64_t N, int64_t T, int heads, int head_dim, int rope_dims,
                                     float base) {
    int64_t d = head_dim, width = round_up_lanes(d), half = rope_dims / 2, chunks = (N + ROWS_A_SUM - 1) / ROWS_A_SUM;
    const float *table = KERNEL(rope_table)(T, half, base);
    float *partial = KERNEL(scratch)(SCRATCH_SHARED, (size_t)(chunks * heads) * sizeof(float)); /* [chunks, heads] */
#pragma omp parallel for schedule(static) if (N * heads * d > PARALLEL_ELEMENTS)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        float *u = KERNEL(scratch)(SCRATCH_OWN, (size_t)(heads * width) * sizeof(float));
        float *sums = partial + chunk * heads;
        for (int h = 0; h < heads; h++) sums[h] = 0;
        for (int64_t n = chunk * ROWS_A_SUM; n < least(N, (chunk + 1) * ROWS_A_SUM); n++) {
            for (int64_t h = 0; h < heads; h++) get_head(u + h * width, (const act *)dy + (n * heads + h) * d, 1, d);
            rotate_heads(u, width, heads, table + n % T * 2 * half, half, -1);
            for (int64_t h = 0; h < heads; h++)
                sums[h] += backward_head(dx, (n * heads + h) * d, u + h * width, x, rstd[n * heads + h],
                                         gain ? gain[h] : 1, d);
        }
    }
    if (!dgain) return;
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        for (int h = 0; h < heads; h++) dgain[h] += partial[chunk * heads + h];
}

/* What happens to each head of queries or keys: n = x · rstd, rstd = 1 / √(mean(x²) + ε) (or n = x), m = w ⊙ n;
 * y = gain · R(m) with R the rotation of the first channels by the position: (m₁, m₂) → (m₁c + m₂s, m₂c − m₁s).
 *
 * Backward, with u = Rᵀ dy: dgain += Σ m·u;  dw += gain · Σ n ⊙ u;  with v = gain · w ⊙ u:  dx = v, or behind a norm
 * dx = rstd · (v − n · (n·v) / head_dim). */
#include "kernel/cpu/isa/attention.h"

#include "kernel/cpu/isa/scratch.h"
#include <math.h>

enum {
    ROWS_A_SUM = 64
}; /* dw and dgain are summed over so many rows at a time, by one thread, whatever their number */

/* (x₁, x₂) → (x₁c + x₂s, x₂c − x₁s) for pairs (x[i], x[half + i]); direction −1 turns back. */
static void rotate_halves(float *x, const float *cosines, int64_t half, float direction) {
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

/* The same for pairs (x[2i], x[2i + 1]). */
static void rotate_neighbours(float *x, const float *cosines, int64_t half, float direction) {
    const float *sines = cosines + half;
    for (int64_t i = 0; i < half; i++) {
        float x1 = x[2 * i], x2 = x[2 * i + 1], s = direction * sines[i];
        x[2 * i] = x1 * cosines[i] + x2 * s;
        x[2 * i + 1] = x2 * cosines[i] - x1 * s;
    }
}

/* Rows of the heads in whole vectors, `width` apart. All heads take one step before any takes the next: what rotate has
 * just stored in pieces cannot be loaded whole for some ten cycles. */
static void rotate_heads(float *rows, int64_t width, const head_args *args, int32_t position, float direction) {
    const rotary_table *r = args->rotary;
    int64_t half = r->dims / 2;
    const float *cosines = r->values + (int64_t)position * r->dims;
    for (int64_t h = 0; h < args->heads; h++)
        if (r->neighbours)
            rotate_neighbours(rows + h * width, cosines, half, direction);
        else
            rotate_halves(rows + h * width, cosines, half, direction);
}

static float head_rstd(const act *x, const head_args *args) {
    return args->norm ? 1 / sqrtf(act_dot(x, x, args->head_dim) / (float)args->head_dim + args->eps) : 1;
}

static void get_head(float *out, const act *x, float factor, const float *weight, int64_t d) {
    for (int64_t c = 0; c < d; c += LANES) {
        lanes in = act_get(x + c, d - c) * lanes_all(factor);
        if (weight) in *= lanes_get(weight + c, d - c);
        lanes_put(out + c, in, LANES);
    }
}

static void forward_row(act *y, float *rstd, const act *x, const head_args *args, int32_t position, float *rows) {
    int64_t d = args->head_dim, width = round_up_lanes(d);
    for (int64_t h = 0; h < args->heads; h++) {
        float r = head_rstd(x + h * d, args);
        if (args->norm) rstd[h] = r;
        get_head(rows + h * width, x + h * d, args->gain ? r * args->gain[h] : r, args->weight, d);
    }
    rotate_heads(rows, width, args, position, 1);
    for (int64_t h = 0; h < args->heads; h++)
        for (int64_t c = 0; c < d; c += LANES) act_put(y + h * d + c, lanes_get(rows + h * width + c, LANES), d - c);
}

void KERNEL(head_rotate)(void *y, float *rstd, const void *x, const head_args *args, int64_t N) {
    int64_t heads = args->heads, row = heads * args->head_dim;
    size_t bytes = (size_t)(heads * round_up_lanes(args->head_dim)) * sizeof(float);
    KERNEL(scratch_reserve)(bytes);
#pragma omp parallel for schedule(static) if (N * row > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        forward_row((act *)y + n * row, rstd + n * heads, (const act *)x + n * row, args, args->positions[n],
                    KERNEL(scratch)(SCRATCH_OWN, bytes));
    }
}

/* One head of one row. u = Rᵀ dy; sums (NULL: not wanted) gets n ⊙ u · gain; returns m·u. */
static float backward_head(grad_out dx, int64_t at, const float *u, const act *x, float rstd, float gain, float *sums,
                           const head_args *args) {
    int64_t d = args->head_dim;
    const float *weight = args->weight;
    lanes sum = lanes_all(0), inverse = lanes_all(rstd);
    for (int64_t c = 0; c < d; c += LANES) {
        lanes n = act_get(x + at + c, d - c) * inverse, given = lanes_get(u + c, LANES);
        if (sums) lanes_put(sums + c, lanes_get(sums + c, d - c) + lanes_all(gain) * n * given, d - c);
        if (weight) given *= lanes_get(weight + c, d - c);
        sum = lanes_multiply_add(given, n, sum);
    }
    float dot = lanes_sum(sum);
    lanes along = lanes_all(args->norm ? dot / (float)d : 0), factor = lanes_all(rstd * gain);
    for (int64_t c = 0; c < d; c += LANES) {
        lanes n = act_get(x + at + c, d - c) * inverse, given = lanes_get(u + c, LANES);
        if (weight) given *= lanes_get(weight + c, d - c);
        grad_put(dx, at + c, (given - n * along) * factor, d - c);
    }
    return dot;
}

/* A chunk's sums: Σ m·u of each head, then Σ gain · n ⊙ u of each channel. */
static void backward_rows(grad_out dx, float *sums, const act *dy, const act *x, const float *rstd,
                          const head_args *args, int64_t from, int64_t to, bool of_weight) {
    int64_t heads = args->heads, d = args->head_dim, width = round_up_lanes(d);
    float *u = KERNEL(scratch)(SCRATCH_OWN, (size_t)(heads * width) * sizeof(float));
    for (int64_t i = 0; i < heads + (of_weight ? d : 0); i++) sums[i] = 0;
    for (int64_t n = from; n < to; n++) {
        for (int64_t h = 0; h < heads; h++) get_head(u + h * width, dy + (n * heads + h) * d, 1, NULL, d);
        rotate_heads(u, width, args, args->positions[n], -1);
        for (int64_t h = 0; h < heads; h++)
            sums[h] += backward_head(dx, (n * heads + h) * d, u + h * width, x, args->norm ? rstd[n * heads + h] : 1,
                                     args->gain ? args->gain[h] : 1, of_weight ? sums + heads : NULL, args);
    }
}

void KERNEL(head_rotate_backward)(grad_out dx, float *dweight, float *dgain, const void *dy, const void *x,
                                  const float *rstd, const head_args *args, int64_t N) {
    int64_t heads = args->heads, d = args->head_dim, chunks = (N + ROWS_A_SUM - 1) / ROWS_A_SUM;
    int64_t width = heads + (dweight ? d : 0); /* of a chunk's sums */
    KERNEL(scratch_reserve)((size_t)(heads * round_up_lanes(d)) * sizeof(float));
    float *partial = KERNEL(scratch)(SCRATCH_SHARED, (size_t)(chunks * width) * sizeof(float));
#pragma omp parallel for schedule(static) if (N * heads * d > PARALLEL_ELEMENTS)
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        backward_rows(dx, partial + chunk * width, dy, x, rstd, args, chunk * ROWS_A_SUM,
                      least(N, (chunk + 1) * ROWS_A_SUM), dweight != NULL);
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const float *sums = partial + chunk * width;
        for (int64_t h = 0; dgain && h < heads; h++) dgain[h] += sums[h];
        for (int64_t c = 0; dweight && c < d; c++) dweight[c] += sums[heads + c];
    }
}

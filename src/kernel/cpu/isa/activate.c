/* The activations between an MLP's two products.
 *
 *   relu2        h = max(u, 0)²          dh/du = 2 max(u, 0)
 *   leaky_relu2  h = max(u, u/2)²        dh/du = max(2u, u/2): 2·v·slope with v = u, slope 1 or v = u/2, slope 1/2
 *   swiglu       h = a σ(a) b, u = [a | b]  dh/da = b σ (1 + a (1 − σ)), dh/db = a σ */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/lanes_math.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/stream.h"

/* One row. `floor` is the slope for u < 0: 0 for relu2, 1/2 for leaky_relu2. max(u·floor, u): a NaN stays one. */
static inline void square_row(act *h, const act *u, float floor, int64_t width) {
    for (int64_t c = 0; c < width; c += LANES) {
        lanes in = act_get(u + c, width - c);
        lanes v = lanes_max(in * lanes_all(floor), in);
        act_put(h + c, v * v, width - c);
    }
}

static inline void square_row_backward(act *du, const act *dh, const act *u, float floor, int64_t width) {
    for (int64_t c = 0; c < width; c += LANES) {
        lanes in = act_get(u + c, width - c), given = act_get(dh + c, width - c);
        lanes slope = lanes_max(in * lanes_all(2 * floor * floor), in * lanes_all(2));
        act_put(du + c, slope * given, width - c);
    }
}

static inline void swiglu_row(act *h, const act *u, int64_t width) {
    for (int64_t c = 0; c < width; c += LANES) {
        lanes a = act_get(u + c, width - c), b = act_get(u + width + c, width - c);
        act_put(h + c, a * lanes_sigmoid(a) * b, width - c);
    }
}

static inline void swiglu_row_backward(act *du, const act *dh, const act *u, int64_t width) {
    for (int64_t c = 0; c < width; c += LANES) {
        lanes a = act_get(u + c, width - c), b = act_get(u + width + c, width - c), given = act_get(dh + c, width - c);
        lanes open = lanes_sigmoid(a);
        act_put(du + c, given * b * open * (lanes_all(1) + a * (lanes_all(1) - open)), width - c);
        act_put(du + width + c, given * a * open, width - c);
    }
}

static void activate(void *h, const void *u, activation f, const int32_t *rows, int64_t N, int64_t width) {
    if (rows) N = *rows;
#pragma omp parallel for schedule(static) if (N * width > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        act *out = (act *)h + n * width;
        if (f == ACTIVATION_SWIGLU)
            swiglu_row(out, (const act *)u + 2 * n * width, width);
        else
            square_row(out, (const act *)u + n * width, f == ACTIVATION_LEAKY_RELU2 ? 0.5f : 0, width);
    }
}

static void activate_backward(void *du, const void *dh, const void *u, activation f, const int32_t *rows, int64_t N,
                              int64_t width) {
    if (rows) N = *rows;
#pragma omp parallel for schedule(static) if (N * width > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        const act *given = (const act *)dh + n * width;
        int64_t at = f == ACTIVATION_SWIGLU ? 2 * n * width : n * width;
        const act *in = (const act *)u + at;
        act *out = (act *)du + at;
        if (f == ACTIVATION_SWIGLU)
            swiglu_row_backward(out, given, in, width);
        else
            square_row_backward(out, given, in, f == ACTIVATION_LEAKY_RELU2 ? 0.5f : 0, width);
    }
}

void KERNEL(fill_activate)(kernels *table) {
    table->activate = activate;
    table->activate_backward = activate_backward;
}

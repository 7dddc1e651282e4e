/* The gate of a shared MLP (Qwen2-MoE): y = g x, g = σ(x0 · w), one gate a token. */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/routing.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/scratch.h"
#include <math.h>

static float weighted_sum(const act *x, const float *w, int64_t d) {
    lanes sum = lanes_all(0);
    for (int64_t c = 0; c < d; c += LANES)
        sum = lanes_multiply_add(act_get(x + c, d - c), lanes_get(w + c, d - c), sum);
    return lanes_sum(sum);
}

static void sigmoid_gate(void *y, float *g, const void *x, const void *x0, const float *w, int64_t N, int64_t d) {
#pragma omp parallel for schedule(static) if (N * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        g[n] = 1 / (1 + expf(-weighted_sum((const act *)x0 + n * d, w, d)));
        lanes gate = lanes_all(g[n]);
        for (int64_t c = 0; c < d; c += LANES)
            act_put((act *)y + n * d + c, gate * act_get((const act *)x + n * d + c, d - c), d - c);
    }
}

/* With s = g (1 − g) (dy · x): dx = g dy, dx0 = s w, dw = Σ s x0. slopes [N] */
static void backward_rows(grad_out dx, grad_out dx0, float *slopes, const act *dy, const float *g, const act *x,
                          const float *w, int64_t N, int64_t d) {
#pragma omp parallel for schedule(static) if (N * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        slopes[n] = g[n] * (1 - g[n]) * act_dot(dy + n * d, x + n * d, d);
        lanes gate = lanes_all(g[n]), slope = lanes_all(slopes[n]);
        for (int64_t c = 0; c < d; c += LANES) {
            grad_put(dx, n * d + c, gate * act_get(dy + n * d + c, d - c), d - c);
            grad_put(dx0, n * d + c, slope * lanes_get(w + c, d - c), d - c);
        }
    }
}

/* Every channel has one owner, who adds in the order of the tokens. */
static void backward_weight(float *dw, const float *slopes, const act *x0, int64_t N, int64_t d) {
#pragma omp parallel for schedule(static) if (N * d > PARALLEL_ELEMENTS)
    for (int64_t c = 0; c < d; c += LANES) {
        lanes sum = lanes_all(0);
        for (int64_t n = 0; n < N; n++)
            sum = lanes_multiply_add(lanes_all(slopes[n]), act_get(x0 + n * d + c, d - c), sum);
        lanes_put(dw + c, lanes_get(dw + c, d - c) + sum, d - c);
    }
}

static void sigmoid_gate_backward(grad_out dx, grad_out dx0, float *dw, const void *dy, const float *g, const void *x,
                                  const void *x0, const float *w, int64_t N, int64_t d) {
    float *slopes = KERNEL(scratch)(SCRATCH_SHARED, (size_t)N * sizeof(float));
    backward_rows(dx, dx0, slopes, dy, g, x, w, N, d);
    if (dw) backward_weight(dw, slopes, x0, N, d);
}

void KERNEL(fill_sigmoid_gate)(kernels *table) {
    table->sigmoid_gate = sigmoid_gate;
    table->sigmoid_gate_backward = sigmoid_gate_backward;
}

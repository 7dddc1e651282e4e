/* RMS norm without a gain: y = scale · r · x, r = 1 / √(mean(x²) + ε). */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/stream.h"

#include <math.h>

static void rms_norm(void *y, float *rstd, const void *x, float scale, int64_t N, int64_t d) {
#pragma omp parallel for schedule(static) if (N * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        const act *in = (const act *)x + n * d;
        act *out = (act *)y + n * d;
        rstd[n] = 1 / sqrtf(act_dot(in, in, d) / d + RMS_EPSILON);
        lanes factor = lanes_all(scale * rstd[n]);
        for (int64_t c = 0; c < d; c += LANES) act_put(out + c, factor * act_get(in + c, d - c), d - c);
    }
}

/* dx = scale · r · (dy − x · r² · mean(dy ⊙ x)) */
static void rms_norm_backward(grad_out dx, const void *dy, const void *x, const float *rstd, float scale, int64_t N,
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

void KERNEL(fill_rms_norm)(kernels *table) {
    table->rms_norm = rms_norm;
    table->rms_norm_backward = rms_norm_backward;
}

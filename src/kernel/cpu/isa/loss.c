/* Softcap and cross-entropy in one go over the logits.
 *
 * With z = cap · tanh(l / cap) and p = softmax(z): nll = log Σ eᶻ − z_target,
 * d nll / dl = (p − 1[target]) · (1 − (z / cap)²), and without a cap d nll / dl = p − 1[target]. */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/logits.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/scratch.h"

/* Σ e^(z − shift) over a row. In slopes[V], unless it is NULL, it leaves e^(z − shift) · (1 − (z / cap)²): the gradient but
 * for a factor that only the finished sum tells. So tanh and exp are computed once, and bf16 rounds once. */
static inline float exp_row(float *slopes, const float *logits, float cap, float shift, int64_t V) {
    lanes sum = lanes_all(0), inverse = lanes_all(cap > 0 ? 1 / cap : 0);
    for (int64_t v = 0; v < V; v += LANES) {
        int64_t left = V - v;
        lanes z = lanes_get(logits + v, left), slope = lanes_all(1);
        if (cap > 0) {
            lanes t = lanes_tanh(z * inverse);
            z = t * lanes_all(cap);
            slope -= t * t;
        }
        lanes e = lanes_exp(z - lanes_all(shift));
        sum += lanes_keep(e, left);
        if (slopes) lanes_put(slopes + v, e * slope, left);
    }
    return lanes_sum(sum);
}

static float cross_entropy_row(act *dlogits, const float *logits, int32_t target, float cap, float scale, int64_t V) {
    if (target < 0) {
        if (dlogits) memset(dlogits, 0, V * sizeof(act));
        return 0;
    }
    float z = capped(logits[target], cap);
    float shift = capped(row_largest(logits, V), cap);
    float *slopes = dlogits ? KERNEL(scratch)(SCRATCH_OWN, (size_t)V * sizeof(float)) : NULL;
    float sum = exp_row(slopes, logits, cap, shift, V);
    if (dlogits) {
        lanes factor = lanes_all(scale / sum);
        for (int64_t v = 0; v < V; v += LANES) act_put(dlogits + v, factor * lanes_get(slopes + v, V - v), V - v);
        float slope = cap > 0 ? 1 - z / cap * (z / cap) : 1;
        dlogits[target] = act_store((expf(z - shift) / sum - 1) * slope * scale);
    }
    return logf(sum) + (shift - z);
}

static void softcap_cross_entropy(float *nll, void *dlogits, const float *logits, const int32_t *targets, float cap,
                                  float scale, int64_t N, int64_t V) {
    if (dlogits) KERNEL(scratch_reserve)((size_t)V * sizeof(float));
#pragma omp parallel for schedule(static) if (N * V > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++)
        nll[n] = cross_entropy_row(dlogits ? (act *)dlogits + n * V : NULL, logits + n * V, targets[n], cap, scale, V);
}

static void softcap(float *logits, float cap, int64_t count) {
    if (cap <= 0) return;
    lanes inverse = lanes_all(1 / cap);
#pragma omp parallel for schedule(static) if (count > PARALLEL_ELEMENTS)
    for (int64_t i = 0; i < count; i += LANES)
        lanes_put(logits + i, lanes_all(cap) * lanes_tanh(lanes_get(logits + i, count - i) * inverse), count - i);
}

void KERNEL(fill_loss)(kernels *table) {
    table->softcap_cross_entropy = softcap_cross_entropy;
    table->softcap = softcap;
}

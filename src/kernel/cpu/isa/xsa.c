/* XSA (#2102): a head's output without its part along the value of its own position, z = y − (y·v̂) v̂. */
#include "kernel/cpu/isa/attention.h"

#include "kernel/cpu/isa/scratch.h"
#include <math.h>

static const float MIN_NORM = 1e-12f; /* torch.nn.functional.normalize's eps: v̂ = v / max(|v|, 10⁻¹²) */

static float value_norm(const act *v, int64_t d) {
    float norm = sqrtf(act_dot(v, v, d));
    return norm > MIN_NORM ? norm : MIN_NORM;
}

/* out (+)= x − (x·v̂) v̂, given 1 / max(|v|, 10⁻¹²); x and out may be the same memory. */
static void project(grad_out out, int64_t at, const act *x, const act *v, float inverse, int64_t d) {
    lanes along = lanes_all(act_dot(x, v, d) * inverse * inverse);
    for (int64_t c = 0; c < d; c += LANES)
        grad_put(out, at + c, act_get(x + c, d - c) - along * act_get(v + c, d - c), d - c);
}

void KERNEL(xsa)(void *z, const void *y, const void *v, int64_t N, int heads, int kv_heads, int head_dim) {
    int64_t d = head_dim, group = heads / kv_heads;
#pragma omp parallel for schedule(static) if (N * heads * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        for (int64_t kv = 0; kv < kv_heads; kv++) {
            const act *value = (const act *)v + (n * kv_heads + kv) * d;
            float inverse = 1 / value_norm(value, d);
            for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
                int64_t at = (n * heads + h) * d;
                project((grad_out){z, false}, at, (const act *)y + at, value, inverse, d);
            }
        }
    }
}

/* With a = y·v̂, b = dz·v̂ of each head: −dv̂ = Σ (a dz + b y), and through the length of v
 * dv = (dv̂ − (dv̂·v̂) v̂) / |v| = −Σ (a dz + b y − 2ab v̂) / |v|.  Where |v| < 10⁻¹² the length is a constant. */
static void value_gradient(grad_out dv, int64_t at, const act *dz, const act *y, const act *v, int64_t group, int64_t d,
                           float *sum) {
    float norm = value_norm(v, d), inverse = 1 / norm, along = 0;
    memset(sum, 0, (size_t)round_up_lanes(d) * sizeof(float));
    for (int64_t h = 0; h < group; h++) {
        const act *dz_h = dz + h * d, *y_h = y + h * d;
        float a = act_dot(y_h, v, d) * inverse, b = act_dot(dz_h, v, d) * inverse;
        along += 2 * a * b;
        for (int64_t c = 0; c < d; c += LANES) {
            lanes part = lanes_all(a) * act_get(dz_h + c, d - c) + lanes_all(b) * act_get(y_h + c, d - c);
            lanes_put(sum + c, lanes_get(sum + c, LANES) + part, LANES);
        }
    }
    if (norm <= MIN_NORM) along = 0;
    for (int64_t c = 0; c < d; c += LANES) {
        lanes through_length = lanes_all(along * inverse) * act_get(v + c, d - c);
        grad_put(dv, at + c, (through_length - lanes_get(sum + c, LANES)) * lanes_all(inverse), d - c);
    }
}

void KERNEL(xsa_backward)(grad_out dy, grad_out dv, const void *dz, const void *y, const void *v, int64_t N, int heads,
                          int kv_heads, int head_dim) {
    int64_t d = head_dim, group = heads / kv_heads;
    KERNEL(scratch_reserve)((size_t)round_up_lanes(d) * sizeof(float));
#pragma omp parallel for schedule(static) if (N * heads * d > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        float *sum = KERNEL(scratch)(SCRATCH_OWN, (size_t)round_up_lanes(d) * sizeof(float));
        for (int64_t kv = 0; kv < kv_heads; kv++) {
            int64_t at = (n * kv_heads + kv) * d, heads_at = (n * heads + kv * group) * d;
            const act *value = (const act *)v + at, *given = (const act *)dz + heads_at;
            value_gradient(dv, at, given, (const act *)y + heads_at, value, group, d, sum);
            float inverse = 1 / value_norm(value, d);
            for (int64_t h = 0; h < group; h++) project(dy, heads_at + h * d, given + h * d, value, inverse, d);
        }
    }
}

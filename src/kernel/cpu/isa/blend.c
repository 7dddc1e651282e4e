/* y = a ⊙ x + b ⊙ z with per-channel a and b: resid mix, scaled addition and the gated skip are this one operation.
 *
 *   mix         a = mix[0]   b = mix[1]
 *   scale_add   a = 1        b = s
 *   gated_skip  a = σ(g)     b = (1 − σ(g)) ⊙ w
 *
 * Backward: dx (+)= a ⊙ dy, dz (+)= b ⊙ dy, da += Σ dy ⊙ x, db += Σ dy ⊙ z. A coefficient array that is NULL is 1. */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/lanes_math.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/stream.h"

static inline lanes times(lanes x, const float *coefficients, int64_t c, int64_t left) {
    return coefficients ? (lanes)(x * lanes_get(coefficients + c, left)) : x;
}

/* `count` channels of N rows; a row begins `stride` elements after the one before. */
static void blend(act *y, const act *x, const act *z, const float *a, const float *b, int64_t N, int64_t stride,
                  int64_t count) {
#pragma omp parallel for schedule(static) if (N * count > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        for (int64_t c = 0; c < count; c += LANES) {
            int64_t at = n * stride + c, left = count - c;
            act_put(y + at, times(act_get(x + at, left), a, c, left) + times(act_get(z + at, left), b, c, left), left);
        }
    }
}

static inline void accumulate(float *sums, lanes x, int64_t left) {
    lanes_put(sums, lanes_get(sums, left) + x, left);
}

/* One block of at most ROW_BLOCK channels; da and db may be NULL: not wanted. */
static void blend_backward(grad_out dx, grad_out dz, float *da, float *db, const act *dy, const act *x, const act *z,
                           const float *a, const float *b, int64_t N, int64_t stride, int64_t count) {
#pragma omp parallel if (N * count > PARALLEL_ELEMENTS)
    {
        float sum_a[ROW_BLOCK] = {0}, sum_b[ROW_BLOCK] = {0};
        int thread = omp_get_thread_num();
        int64_t end = chunk_start(N, thread + 1);
        for (int64_t n = chunk_start(N, thread); n < end; n++) {
            for (int64_t c = 0; c < count; c += LANES) {
                int64_t at = n * stride + c, left = count - c;
                lanes given = act_get(dy + at, left);
                if (da) accumulate(sum_a + c, given * act_get(x + at, left), left);
                if (db) accumulate(sum_b + c, given * act_get(z + at, left), left);
                grad_put(dx, at, times(given, a, c, left), left);
                grad_put(dz, at, times(given, b, c, left), left);
            }
        }
        if (da) add_partials(da, sum_a, count);
        if (db) add_partials(db, sum_b, count);
    }
}

static void mix(void *y, const void *x, const void *x0, const float *mix, int64_t N, int64_t d) {
    blend(y, x, x0, mix, mix + d, N, d, d);
}

static void mix_backward(grad_out dx, grad_out dx0, float *dmix, const void *dy, const void *x, const void *x0,
                         const float *mix, int64_t N, int64_t d) {
    for (int64_t c = 0; c < d; c += ROW_BLOCK)
        blend_backward(grad_from(dx, c), grad_from(dx0, c), dmix ? dmix + c : NULL, dmix ? dmix + d + c : NULL,
                       (const act *)dy + c, (const act *)x + c, (const act *)x0 + c, mix + c, mix + d + c, N, d,
                       least(d - c, ROW_BLOCK));
}

static void scale_add(void *y, const void *x, const void *z, const float *s, int64_t N, int64_t d) {
    blend(y, x, z, NULL, s, N, d, d);
}

static void scale_add_backward(grad_out dx, grad_out dz, float *ds, const void *dy, const void *z, const float *s,
                               int64_t N, int64_t d) {
    for (int64_t c = 0; c < d; c += ROW_BLOCK)
        blend_backward(grad_from(dx, c), grad_from(dz, c), NULL, ds ? ds + c : NULL, (const act *)dy + c, NULL,
                       ds ? (const act *)z + c : NULL, NULL, s ? s + c : NULL, N, d, least(d - c, ROW_BLOCK));
}

/* gate = σ(g); rest = (1 − σ(g)) ⊙ w */
static void gate_coefficients(float *gate, float *rest, const float *w, const float *g, int64_t count) {
    for (int64_t c = 0; c < count; c += LANES) {
        int64_t left = count - c;
        lanes open = lanes_sigmoid(lanes_get(g + c, left));
        lanes_put(gate + c, open, left);
        lanes_put(rest + c, (lanes_all(1) - open) * lanes_get(w + c, left), left);
    }
}

static void gated_skip(void *y, const void *x, const void *skip, const float *w, const float *g, int64_t N, int64_t d) {
    float gate[ROW_BLOCK], rest[ROW_BLOCK];
    for (int64_t c = 0; c < d; c += ROW_BLOCK) {
        int64_t count = least(d - c, ROW_BLOCK);
        gate_coefficients(gate, rest, w + c, g + c, count);
        blend((act *)y + c, (const act *)x + c, (const act *)skip + c, gate, rest, N, d, count);
    }
}

/* With da, db the gradients of gate and rest: dw = (1 − σ) ⊙ db, dg = σ(1 − σ) ⊙ (da − w ⊙ db) */
static void gated_skip_backward(grad_out dx, grad_out dskip, float *dw, float *dg, const void *dy, const void *x,
                                const void *skip, const float *w, const float *g, int64_t N, int64_t d) {
    float gate[ROW_BLOCK], rest[ROW_BLOCK];
    for (int64_t c = 0; c < d; c += ROW_BLOCK) {
        float dgate[ROW_BLOCK] = {0}, drest[ROW_BLOCK] = {0};
        int64_t count = least(d - c, ROW_BLOCK);
        gate_coefficients(gate, rest, w + c, g + c, count);
        blend_backward(grad_from(dx, c), grad_from(dskip, c), dg ? dgate : NULL, dw || dg ? drest : NULL,
                       (const act *)dy + c, (const act *)x + c, (const act *)skip + c, gate, rest, N, d, count);
        for (int64_t i = 0; dw && i < count; i++) dw[c + i] += (1 - gate[i]) * drest[i];
        for (int64_t i = 0; dg && i < count; i++)
            dg[c + i] += gate[i] * (1 - gate[i]) * (dgate[i] - w[c + i] * drest[i]);
    }
}

void KERNEL(fill_blend)(kernels *table) {
    table->mix = mix;
    table->mix_backward = mix_backward;
    table->scale_add = scale_add;
    table->scale_add_backward = scale_add_backward;
    table->gated_skip = gated_skip;
    table->gated_skip_backward = gated_skip_backward;
}

#include "kernel/profile.h"

#include <string.h>
#include <time.h>

static profile *active;
static const kernels *inner;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static profile_entry *entry_of(const char *name) {
    for (int i = 0; i < active->entry_count; i++)
        if (strcmp(active->entries[i].name, name) == 0) return &active->entries[i];
    profile_entry *e = &active->entries[active->entry_count++];
    *e = (profile_entry){.name = name};
    return e;
}

static void add_call(const char *name, double started, double flops) {
    profile_entry *e = entry_of(name);
    e->seconds += now() - started;
    e->calls++;
    e->flops += flops;
}

/* ---- kernels that move memory ---- */

#define TIMED(name, parameters, arguments)                                                                             \
    static void timed_##name parameters {                                                                              \
        double started = now();                                                                                        \
        inner->name arguments;                                                                                         \
        add_call(#name, started, 0);                                                                                   \
    }
#define TIMED_VALUE(name, parameters, arguments)                                                                       \
    static double timed_##name parameters {                                                                            \
        double started = now();                                                                                        \
        double value = inner->name arguments;                                                                          \
        add_call(#name, started, 0);                                                                                   \
        return value;                                                                                                  \
    }
TIMED(upload, (void *device, const void *host, size_t bytes), (device, host, bytes))
TIMED(download, (void *host, const void *device, size_t bytes), (host, device, bytes))
TIMED(copy, (void *to, const void *from, size_t bytes), (to, from, bytes))
TIMED(zero, (void *pointer, size_t bytes), (pointer, bytes))
TIMED(to_act, (void *out, const float *in, int64_t count), (out, in, count))
TIMED(to_float, (float *out, const void *in, int64_t count), (out, in, count))
TIMED(weight_update, (weight * w, const float *values), (w, values))
TIMED(embed, (void *y, const void *table, const int32_t *ids, int64_t N, int64_t d), (y, table, ids, N, d))
TIMED(embed_backward, (float *dtable, const void *dy, const int32_t *ids, int64_t N, int64_t d, int64_t V),
      (dtable, dy, ids, N, d, V))
TIMED(rms_norm, (void *y, float *rstd, const void *x, float scale, int64_t N, int64_t d), (y, rstd, x, scale, N, d))
TIMED(rms_norm_backward,
      (grad_out dx, const void *dy, const void *x, const float *rstd, float scale, int64_t N, int64_t d),
      (dx, dy, x, rstd, scale, N, d))
TIMED(head_norm_rope,
      (void *y, float *rstd, const void *x, const float *gain, int64_t N, int64_t T, int64_t offset, int heads,
       int head_dim, int rope_dims, float base),
      (y, rstd, x, gain, N, T, offset, heads, head_dim, rope_dims, base))
TIMED(head_norm_rope_backward,
      (grad_out dx, float *dgain, const void *dy, const void *x, const float *rstd, const float *gain, int64_t N,
       int64_t T, int heads, int head_dim, int rope_dims, float base),
      (dx, dgain, dy, x, rstd, gain, N, T, heads, head_dim, rope_dims, base))
TIMED(xsa, (void *z, const void *y, const void *v, int64_t N, int heads, int kv_heads, int head_dim),
      (z, y, v, N, heads, kv_heads, head_dim))
TIMED(xsa_backward,
      (grad_out dy, grad_out dv, const void *dz, const void *y, const void *v, int64_t N, int heads, int kv_heads,
       int head_dim),
      (dy, dv, dz, y, v, N, heads, kv_heads, head_dim))
TIMED(mix, (void *y, const void *x, const void *x0, const float *mix, int64_t N, int64_t d), (y, x, x0, mix, N, d))
TIMED(mix_backward,
      (grad_out dx, grad_out dx0, float *dmix, const void *dy, const void *x, const void *x0, const float *mix,
       int64_t N, int64_t d),
      (dx, dx0, dmix, dy, x, x0, mix, N, d))
TIMED(smear,
      (void *y, const void *x, const float *w, const void *carry, const int32_t *first, int64_t B, int64_t T, int64_t d,
       int64_t width),
      (y, x, w, carry, first, B, T, d, width))
TIMED(smear_backward,
      (grad_out dx, float *dw, const void *dy, const void *x, const float *w, const int32_t *first, int64_t B,
       int64_t T, int64_t d, int64_t width),
      (dx, dw, dy, x, w, first, B, T, d, width))
TIMED(scale_add, (void *y, const void *x, const void *z, const float *s, int64_t N, int64_t d), (y, x, z, s, N, d))
TIMED(scale_add_backward,
      (grad_out dx, grad_out dz, float *ds, const void *dy, const void *z, const float *s, int64_t N, int64_t d),
      (dx, dz, ds, dy, z, s, N, d))
TIMED(gated_skip, (void *y, const void *x, const void *skip, const float *w, const float *g, int64_t N, int64_t d),
      (y, x, skip, w, g, N, d))
TIMED(gated_skip_backward,
      (grad_out dx, grad_out dskip, float *dw, float *dg, const void *dy, const void *x, const void *skip,
       const float *w, const float *g, int64_t N, int64_t d),
      (dx, dskip, dw, dg, dy, x, skip, w, g, N, d))
TIMED(activate, (void *h, const void *u, activation f, int64_t N, int64_t width), (h, u, f, N, width))
TIMED(activate_backward, (void *du, const void *dh, const void *u, activation f, int64_t N, int64_t width),
      (du, dh, u, f, N, width))
TIMED(router, (float *logits, float *probs, const void *x, const float *w, int64_t N, int64_t d, int64_t E),
      (logits, probs, x, w, N, d, E))
TIMED(router_backward,
      (grad_out dx, float *dw, const float *dlogits, const void *x, const float *w, int64_t N, int64_t d, int64_t E),
      (dx, dw, dlogits, x, w, N, d, E))
TIMED(top_k, (int32_t * chosen, const float *scores, const float *bias, int64_t N, int64_t E, int k),
      (chosen, scores, bias, N, E, k))
TIMED(gate, (float *gates, const float *probs, const int32_t *chosen, bool renormalize, int64_t N, int64_t E, int k),
      (gates, probs, chosen, renormalize, N, E, k))
TIMED(gate_backward,
      (float *dlogits, const float *dgates, const float *dprobs, const float *probs, const int32_t *chosen,
       bool renormalize, int64_t N, int64_t E, int k),
      (dlogits, dgates, dprobs, probs, chosen, renormalize, N, E, k))
TIMED(routing_statistics, (double *mean_probs, double *entropy, const float *probs, int64_t N, int64_t E),
      (mean_probs, entropy, probs, N, E))
TIMED(scalar_add, (void *y, const void *x, const void *z, const float *s, int64_t N, int64_t d), (y, x, z, s, N, d))
TIMED(scalar_add_backward,
      (grad_out dz, float *ds, const void *dy, const void *z, const float *s, int64_t N, int64_t d),
      (dz, ds, dy, z, s, N, d))
TIMED(chunk_gate, (void *y, const void *u, const float *gain, const float *gates, int64_t N, int64_t h, int64_t E),
      (y, u, gain, gates, N, h, E))
TIMED(chunk_gate_backward,
      (grad_out du, float *dgain, float *dgates, const void *dy, const void *u, const float *gain, const float *gates,
       int64_t N, int64_t h, int64_t E),
      (du, dgain, dgates, dy, u, gain, gates, N, h, E))
TIMED(router_noise, (float *logits, float *probs, float std, uint64_t seed, int64_t N, int64_t E),
      (logits, probs, std, seed, N, E))
TIMED_VALUE(router_z, (const float *logits, int64_t N, int64_t E), (logits, N, E))
TIMED(router_z_backward, (float *dlogits, const float *logits, const float *probs, float weight, int64_t N, int64_t E),
      (dlogits, logits, probs, weight, N, E))
TIMED(softmax_backward, (float *dlogits, const float *dprobs, const float *probs, int64_t N, int64_t E),
      (dlogits, dprobs, probs, N, E))
TIMED(choose_all, (int32_t * chosen, int64_t N, int64_t E), (chosen, N, E))
TIMED(gate_one_hot, (float *gates, const int32_t *first, int64_t N, int64_t E), (gates, first, N, E))
TIMED(count_first, (int64_t * counts, const int32_t *chosen, int64_t N, int64_t E, int k), (counts, chosen, N, E, k))
TIMED(group,
      (int32_t * slot, int32_t *source, int64_t *counts, int64_t *start, const int32_t *chosen, int64_t N, int k,
       int64_t E, int64_t align),
      (slot, source, counts, start, chosen, N, k, E, align))
TIMED(gather, (void *rows, const void *x, const int32_t *source, int k, int64_t R, int64_t d),
      (rows, x, source, k, R, d))
TIMED(gather_backward, (grad_out dx, const void *drows, const int32_t *slot, int k, int64_t N, int64_t d),
      (dx, drows, slot, k, N, d))
TIMED(combine, (void *y, const void *rows, const float *gates, const int32_t *slot, int k, int64_t N, int64_t d),
      (y, rows, gates, slot, k, N, d))
TIMED(combine_backward,
      (void *drows, float *dgates, const void *dy, const void *rows, const float *gates, const int32_t *slot,
       const int32_t *source, int k, int64_t N, int64_t R, int64_t d),
      (drows, dgates, dy, rows, gates, slot, source, k, N, R, d))
TIMED(softcap_cross_entropy,
      (float *nll, void *dlogits, const float *logits, const int32_t *targets, float cap, float scale, int64_t N,
       int64_t V),
      (nll, dlogits, logits, targets, cap, scale, N, V))
TIMED(softcap, (float *logits, float cap, int64_t count), (logits, cap, count))
TIMED_VALUE(sum, (const float *x, int64_t count), (x, count))
TIMED_VALUE(sum_squares, (const float *x, int64_t count), (x, count))
TIMED(scale, (float *x, float factor, int64_t count), (x, factor, count))
TIMED(lerp, (float *y, const float *x, float t, int64_t count), (y, x, t, count))
TIMED(adam, (float *w, float *m, float *v, const float *grad, int64_t count, const adam_args *args),
      (w, m, v, grad, count, args))
TIMED(fake_quantize, (float *out, const float *w, int64_t rows, int64_t cols, int levels, float clip),
      (out, w, rows, cols, levels, clip))

/* ---- kernels that compute ---- */

static void note_product(product_kind kind, const weight *w, int64_t N) {
    for (int i = 0; i < active->product_count; i++) {
        profile_product *p = &active->products[i];
        if (p->kind != kind || p->rows != w->rows || p->cols != w->cols || p->N != N) continue;
        p->calls++;
        return;
    }
    if (active->product_count == PROFILE_MAX_PRODUCTS) return;
    active->products[active->product_count++] =
        (profile_product){.kind = kind, .rows = w->rows, .cols = w->cols, .N = N, .calls = 1};
}

static double product_flops(const weight *w, int64_t N) {
    return 2 * (double)w->rows * (double)w->cols * (double)N;
}

static void timed_linear(void *y, dtype y_type, const void *x, const weight *w, int64_t N) {
    double started = now();
    inner->linear(y, y_type, x, w, N);
    add_call("linear", started, product_flops(w, N));
    note_product(PRODUCT_FORWARD, w, N);
}

static void timed_linear_backward_input(grad_out dx, const void *dy, const weight *w, int64_t N) {
    double started = now();
    inner->linear_backward_input(dx, dy, w, N);
    add_call("linear_backward_input", started, product_flops(w, N));
    note_product(PRODUCT_BACKWARD_INPUT, w, N);
}

static void timed_linear_backward_weight(float *dw, const void *dy, const void *x, const weight *w, int64_t N) {
    double started = now();
    inner->linear_backward_weight(dw, dy, x, w, N);
    add_call("linear_backward_weight", started, product_flops(w, N));
    note_product(PRODUCT_BACKWARD_WEIGHT, w, N);
}

/* Two products (q kᵀ, p v) of the causal half; backward has four (dp, dv, dq, dk) and forms q kᵀ
 * again, which is not counted: it is how, not what. */
static double attention_flops(const attention_shape *s, int products) {
    double pairs = (double)s->queries * ((double)s->keys - (double)(s->queries - 1) / 2);
    return products * 2 * pairs * (double)s->batch * s->heads * s->head_dim;
}

static void timed_attention(void *y, float *lse, const void *q, const void *k, const void *v, const int32_t *first,
                            const attention_shape *shape) {
    double started = now();
    inner->attention(y, lse, q, k, v, first, shape);
    add_call("attention", started, attention_flops(shape, 2));
}

static void timed_attention_backward(void *dq, void *dk, void *dv, const void *dy, const void *y, const float *lse,
                                     const void *q, const void *k, const void *v, const int32_t *first,
                                     const attention_shape *shape) {
    double started = now();
    inner->attention_backward(dq, dk, dv, dy, y, lse, q, k, v, first, shape);
    add_call("attention_backward", started, attention_flops(shape, 4));
}

static status timed_muon(float *w, float *buffer, const float *grad, int64_t rows, int64_t cols,
                         const muon_args *args) {
    double started = now();
    status s = inner->muon(w, buffer, grad, rows, cols, args);
    double thin = rows < cols ? (double)rows : (double)cols, wide = rows < cols ? (double)cols : (double)rows;
    add_call("muon", started, args->newton_schulz_steps * 2 * (2 * thin * thin * wide + thin * thin * thin));
    return s;
}

kernels profile_kernels(profile *p, const kernels *k) {
    kernels timed = *k;
    *p = (profile){0};
    active = p;
    inner = k;
    timed.upload = timed_upload;
    timed.download = timed_download;
    timed.copy = timed_copy;
    timed.zero = timed_zero;
    timed.to_act = timed_to_act;
    timed.to_float = timed_to_float;
    timed.weight_update = timed_weight_update;
    timed.embed = timed_embed;
    timed.embed_backward = timed_embed_backward;
    timed.rms_norm = timed_rms_norm;
    timed.rms_norm_backward = timed_rms_norm_backward;
    timed.head_norm_rope = timed_head_norm_rope;
    timed.head_norm_rope_backward = timed_head_norm_rope_backward;
    timed.xsa = timed_xsa;
    timed.xsa_backward = timed_xsa_backward;
    timed.mix = timed_mix;
    timed.mix_backward = timed_mix_backward;
    timed.smear = timed_smear;
    timed.smear_backward = timed_smear_backward;
    timed.scale_add = timed_scale_add;
    timed.scale_add_backward = timed_scale_add_backward;
    timed.gated_skip = timed_gated_skip;
    timed.gated_skip_backward = timed_gated_skip_backward;
    timed.activate = timed_activate;
    timed.activate_backward = timed_activate_backward;
    timed.router = timed_router;
    timed.router_backward = timed_router_backward;
    timed.top_k = timed_top_k;
    timed.gate = timed_gate;
    timed.gate_backward = timed_gate_backward;
    timed.routing_statistics = timed_routing_statistics;
    timed.group = timed_group;
    timed.scalar_add = timed_scalar_add;
    timed.scalar_add_backward = timed_scalar_add_backward;
    timed.chunk_gate = timed_chunk_gate;
    timed.chunk_gate_backward = timed_chunk_gate_backward;
    timed.router_noise = timed_router_noise;
    timed.router_z = timed_router_z;
    timed.router_z_backward = timed_router_z_backward;
    timed.softmax_backward = timed_softmax_backward;
    timed.choose_all = timed_choose_all;
    timed.gate_one_hot = timed_gate_one_hot;
    timed.count_first = timed_count_first;
    timed.gather = timed_gather;
    timed.gather_backward = timed_gather_backward;
    timed.combine = timed_combine;
    timed.combine_backward = timed_combine_backward;
    timed.softcap_cross_entropy = timed_softcap_cross_entropy;
    timed.softcap = timed_softcap;
    timed.sum = timed_sum;
    timed.sum_squares = timed_sum_squares;
    timed.scale = timed_scale;
    timed.lerp = timed_lerp;
    timed.adam = timed_adam;
    timed.fake_quantize = timed_fake_quantize;
    timed.linear = timed_linear;
    timed.linear_backward_input = timed_linear_backward_input;
    timed.linear_backward_weight = timed_linear_backward_weight;
    timed.attention = timed_attention;
    timed.attention_backward = timed_attention_backward;
    timed.muon = timed_muon;
    return timed;
}

void profile_clear(profile *p) {
    for (int i = 0; i < p->entry_count; i++) p->entries[i] = (profile_entry){.name = p->entries[i].name};
    p->product_count = 0;
}

double profile_flops(const profile *p) {
    double flops = 0;
    for (int i = 0; i < p->entry_count; i++) flops += p->entries[i].flops;
    return flops;
}

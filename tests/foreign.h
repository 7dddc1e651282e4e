/* Small models of the families that others know, with random weights, and what they compute. */
#ifndef MOEC_TESTS_FOREIGN_H
#define MOEC_TESTS_FOREIGN_H

#include "test.h"

#include "base/random.h"
#include "formats/family.h"
#include "nn/pass.h"
#include <math.h>

enum { VOCAB = 96, LENGTH = 20 };

static inline model_config base(void) {
    model_config c = family_base();
    c.vocab_size = VOCAB;
    c.num_layers = 3;
    c.model_dim = 64;
    c.residual.parallel_start_layer = 3;
    c.attention.heads = 4;
    c.attention.kv_heads = 2;
    c.mlp.hidden = 96;
    return c;
}

static inline model_config llama(void) {
    model_config c = base();
    c.rotary.scaling = ROTARY_LLAMA3;
    c.rotary.factor = 8;
    c.rotary.original_context = 8192;
    c.head.tied = true;
    return c;
}
static inline model_config mistral(void) {
    model_config c = base();
    c.attention.head_dim = 32;
    return c;
}
static inline model_config qwen2(void) {
    model_config c = base();
    c.attention.qkv_bias = true;
    c.rotary.scaling = ROTARY_YARN;
    c.rotary.factor = 4;
    c.rotary.original_context = 64;
    return c;
}
static inline model_config qwen3(void) {
    model_config c = base();
    c.attention.qk_norm = QK_NORM_WEIGHT;
    c.attention.head_dim = 24;
    c.head.tied = true;
    return c;
}
static inline model_config mixture(model_config c, int experts, int top_k, gate_kind gate) {
    c.moe.experts = experts;
    c.moe.top_k = top_k;
    c.moe.gate = gate;
    c.moe.expert_hidden = 32;
    for (int i = 0; i < c.num_layers; i++) c.moe.layers[i] = true;
    return c;
}
static inline model_config mixtral(void) {
    model_config c = mixture(base(), 4, 2, GATE_RENORMALIZED);
    c.moe.expert_hidden = 96;
    return c;
}
static inline model_config qwen2_moe(void) {
    model_config c = mixture(qwen2(), 4, 2, GATE_PROBABILITY);
    c.rotary = base().rotary;
    c.moe.shared_hidden = 64;
    c.moe.shared_gate = true;
    return c;
}
static inline model_config qwen3_moe(void) {
    return mixture(qwen3(), 5, 3, GATE_NORMALIZED);
}

static const struct {
    const char *family;
    model_config (*make)(void);
} families[] = {{"llama", llama},     {"mistral", mistral},     {"qwen2", qwen2},        {"qwen3", qwen3},
                {"mixtral", mixtral}, {"qwen2-moe", qwen2_moe}, {"qwen3_moe", qwen3_moe}};
enum { FAMILIES = sizeof families / sizeof *families };

/* ---- models ---- */

static inline bool is_around_one(const char *name) {
    return strstr(name, "norm") || strstr(name, "scale") || strstr(name, "gain");
}

/* Nothing is switched off, routers have opinions. */
static inline model *random_model_by(const model_config *c, uint64_t seed) {
    model *m;
    assert_ok(model_create(&m, c, kernels_for(DTYPE_F32), MODEL_VALUES));
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (p->derived) continue;
        float *values = xmalloc(tensor_bytes(&p->value));
        rng r = rng_named(seed, p->name);
        rng_normal(&r, values, (size_t)param_count(p), p->role == ROLE_ROUTER ? 1 : 0.1f);
        for (int64_t j = 0; j < param_count(p) && !p->is_matrix && is_around_one(p->name); j++) values[j] += 1;
        assert_ok(param_set(p, m->k, values));
        free(values);
    }
    return m;
}

static inline model *random_model(const model_config *c) {
    return random_model_by(c, 5);
}

static inline void logits_of(model *m, float *logits) {
    int32_t ids[LENGTH];
    rng r = rng_seed(9);
    for (int i = 0; i < LENGTH; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
    const batch b = {.batch = 1, .length = LENGTH, .input_ids = ids};
    pass *p;
    assert_ok(pass_create(&p, m));
    assert_ok(pass_logits(p, &b, logits));
    pass_destroy(p);
}

static inline double difference(const float *a, const float *b) {
    double most = 0;
    for (int i = 0; i < LENGTH * VOCAB; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

#endif

/* Each family of the record scripts as a small model, and what is done with it. */
#ifndef MOEC_TESTS_NN_FAMILIES_H
#define MOEC_TESTS_NN_FAMILIES_H

#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "nn/pass.h"

enum { LENGTH = 24, VOCAB = 50 };

static inline model_config plain(void) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB, c.num_layers = 5, c.model_dim = 64, c.attention.heads = 4, c.attention.kv_heads = 2,
    c.mlp.mult = 2;
    c.mlp.activation = ACTIVATION_RELU2;
    c.rotary.dims = 0, c.norm.depth_scaled = c.attention.xsa = c.residual.gated_skips = false,
    c.residual.smear_width = 0;
    c.residual.parallel_start_layer = 5, c.stem.bigram_buckets = 0, c.loop.extra_passes = 0;
    c.stem.hash_projection = false;
    return c;
}

static inline model_config soft(void) { /* #480 */
    model_config c = plain();
    c.stem.smear = true;
    c.stem.bigram_buckets = 33, c.stem.bigram_dim = 16, c.stem.bigram_hash = BIGRAM_XOR, c.stem.hash_scale = 0.05f;
    c.init.hash = HASH_ZERO_TABLE;
    c.moe.start_layer = 0, c.moe.gate = GATE_SOFT, c.moe.aux_mean = true;
    return c;
}

static inline model_config standard(void) { /* #660 */
    model_config c = soft();
    c.stem.trigram_buckets = 29, c.stem.trigram_dim = 64;
    c.moe.start_layer = 2, c.moe.gate = GATE_RENORMALIZED, c.moe.experts = 4, c.moe.top_k = 2;
    c.moe.aux_mean = false;
    return c;
}

static inline model_config shared_routed(void) {
    model_config c = standard();
    c.moe.top_k = 1, c.moe.expert_mult = 1, c.moe.shared_mult = 2;
    return c;
}

static inline model_config straight_through(void) {
    model_config c = shared_routed();
    c.moe.gate = GATE_STRAIGHT_THROUGH, c.moe.split = true, c.moe.shared_mult = 0, c.moe.start_layer = 0;
    return c;
}

static inline model_config whole_loops(void) { /* #660's NUM_LOOPS */
    model_config c = soft();
    c.moe.start_layer = -1, c.moe.gate = GATE_RENORMALIZED;
    c.loop.extra_passes = 2, c.loop.first = 0, c.loop.last = 4, c.loop.skips = LOOP_SKIPS_EACH_PASS, c.loop.on = true;
    return c;
}

static inline model_config randup(void) { /* #1692 */
    model_config c = plain();
    c.random_up.layers[0] = c.random_up.layers[3] = true;
    c.random_up.experts = 3, c.random_up.rank = 8;
    c.init.matrix = MATRIX_UNIFORM;
    return c;
}

static inline model_config mixed(void) { /* what no script has together */
    model_config c = randup();
    c.head.tied = false, c.residual.smear_width = 8, c.stem.smear = true, c.attention.xsa = true,
    c.residual.gated_skips = true;
    c.stem.bigram_buckets = 32, c.stem.bigram_dim = 16, c.stem.trigram_buckets = 32, c.stem.trigram_dim = 16,
    c.residual.parallel_start_layer = 2;
    c.moe.layers[1] = c.moe.layers[2] = true, c.moe.experts = 8, c.moe.top_k = 3, c.moe.bias_rate = 0.01f;
    c.moe.gate = GATE_PROBABILITY, c.moe.z_weight = 0.1f;
    c.loop.extra_passes = 1, c.loop.first = 1, c.loop.last = 3, c.loop.on = true;
    return c;
}

static model_config (*const families[])(void) = {plain,       soft,   standard, shared_routed, straight_through,
                                                 whole_loops, randup, mixed};
enum { FAMILIES = sizeof families / sizeof *families };

/* ---- what is done with them ---- */

/* Every trained tensor moves away from its initial zeros and ones, so that nothing is switched off. */
static inline void perturb(model *m) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (p->derived) continue;
        int64_t count = param_count(p);
        float *values = xmalloc((size_t)count * sizeof *values), *noise = xmalloc((size_t)count * sizeof *noise);
        rng r = rng_named(3, p->name);
        rng_normal(&r, noise, (size_t)count,
                   strstr(p->name, "router") || strstr(p->name, "gate.weight") ? 0.5f : 0.05f);
        tensor_read(m->k, &p->value, values);
        for (int64_t j = 0; j < count; j++) values[j] += noise[j];
        tensor_write(m->k, &p->value, values);
        free(values);
        free(noise);
    }
    assert_ok(model_refresh(m));
}

static inline model *make(model_config c) {
    model *m;
    assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN));
    assert_ok(model_init(m, 1));
    perturb(m);
    return m;
}

static inline void make_ids(int32_t *ids, uint64_t seed) {
    rng r = rng_seed(seed);
    for (int i = 0; i < LENGTH; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
}

static inline pass *make_pass(model *m) {
    pass *p;
    assert_ok(pass_create(&p, m));
    return p;
}

/* What one batch finds. */
static inline const pass_statistics *evaluated(pass *p, const batch *b) {
    pass_clear(p);
    assert_ok(pass_evaluate(p, b, NULL));
    return pass_read(p);
}
static inline const pass_statistics *trained(pass *p, const batch *b) {
    pass_clear(p);
    assert_ok(pass_train(p, b, 1));
    return pass_read(p);
}

static inline void logits_of(model *m, const int32_t *ids, const int32_t *first, float *logits) {
    batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .first = first};
    pass *p = make_pass(m);
    assert_ok(pass_logits(p, &b, logits));
    pass_destroy(p);
}

#endif

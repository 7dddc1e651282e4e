/* A model with everything that looks back at earlier tokens: hashes of three tokens, both SmearGates, layers of experts, and layer 1 looped. */
#ifndef MOEC_TESTS_LOOKING_BACK_H
#define MOEC_TESTS_LOOKING_BACK_H

#include "disturb.h"
#include "nn/model.h"

enum { LOOKING_BACK_LAYERS = 3, LOOKING_BACK_EXPERTS = 4 };

static inline model_config looking_back_config(int vocab_size) {
    model_config c = model_config_default();
    c.vocab_size = vocab_size;
    c.num_layers = LOOKING_BACK_LAYERS;
    c.model_dim = 32;
    c.attention.heads = 4;
    c.attention.kv_heads = 2;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.stem.smear = true;
    c.stem.bigram_buckets = c.stem.trigram_buckets = 40;
    c.stem.bigram_dim = c.stem.trigram_dim = 8;
    c.residual.smear_width = 6;
    c.residual.parallel_start_layer = LOOKING_BACK_LAYERS;
    c.loop.on = true;
    c.loop.extra_passes = 1;
    c.loop.first = c.loop.last = 1;
    c.moe.layers[1] = c.moe.layers[2] = true;
    c.moe.experts = LOOKING_BACK_EXPERTS;
    c.moe.top_k = 2;
    c.moe.gate = GATE_RENORMALIZED;
    return c;
}

/* noise: of the weights; the more, the surer the model is of what it says */
static inline model *looking_back_model(const model_config *c, dtype type, float noise) {
    model *m;
    assert_ok(model_create(&m, c, kernels_for(type), MODEL_VALUES));
    assert_ok(model_init(m, 5));
    disturb(m, 3, noise);
    return m;
}

#endif

#include "nn/config.h"
#include <math.h>

model_config model_config_default(void) {
    return (model_config){
        .vocab_size = 8192,
        .num_layers = 9,
        .model_dim = 512,
        .attention.heads = 8,
        .attention.kv_heads = 4,
        .stem.norm = true,
        .stem.hash_projection = true,
        .attention.qk_norm = QK_NORM_UNIT,
        .attention.q_gain = true,
        .norm.eps = 1.1920929e-07f, /* float32's epsilon, as torch.rms_norm has it */
        .residual.mix = true,
        .residual.attn_scale = true,
        .residual.mlp_scale = true,
        .residual.unet = true,
        .rotary.factor = 1,
        .rotary.low_freq_factor = 1,
        .rotary.high_freq_factor = 4,
        .rotary.beta_fast = 32,
        .rotary.beta_slow = 1,
        .mlp.mult = 4,
        .mlp.activation = ACTIVATION_LEAKY_RELU2,
        .head.tied = true,
        .init.embed_std = 0.005f,
        .head.softcap = 30,
        .rotary.base = 10000,
        .rotary.dims = 16,
        .init.q_gain = 5.25f,
        .norm.depth_scaled = true,
        .attention.xsa = true,
        .residual.smear_width = 12,
        .residual.parallel_start_layer = 6,
        .residual.gated_skips = true,
        .stem.bigram_buckets = 2048,
        .stem.bigram_dim = 128,
        .stem.trigram_dim = 128,
        .loop.extra_passes = 2,
        .loop.first = 3,
        .loop.last = 5,
        .moe.experts = 2,
        .moe.top_k = 1,
        .moe.gate = GATE_RENORMALIZED,
        .moe.aux_weight = 0.01f,
        .moe.start_layer = -1,
        .random_up.experts = 1,
        .random_up.gain = true,
        .random_up.seed = 20260403,
        .init.router_std = 0.01f,
        .attention.within_document = true,
    };
}

/* ---- widths ---- */

int model_config_head_dim(const model_config *c) {
    return c->attention.head_dim > 0 ? c->attention.head_dim : c->model_dim / c->attention.heads;
}

/* `exact` where it is given, else the multiple of d. */
static int width_of(const model_config *c, int exact, float multiple) {
    return exact > 0 ? exact : (int)lroundf(multiple * (float)c->model_dim);
}

int model_config_hidden(const model_config *c) {
    return width_of(c, c->mlp.hidden, c->mlp.mult);
}

int model_config_expert_hidden(const model_config *c) {
    bool own = c->moe.expert_hidden > 0 || c->moe.expert_mult > 0;
    int whole = own ? width_of(c, c->moe.expert_hidden, c->moe.expert_mult) : model_config_hidden(c);
    return c->moe.split ? whole / c->moe.experts : whole;
}

int model_config_shared_hidden(const model_config *c) {
    return width_of(c, c->moe.shared_hidden, c->moe.shared_mult);
}

bool model_config_experts_are_copies(const model_config *c) {
    return !c->moe.split && model_config_shared_hidden(c) == 0 &&
           model_config_expert_hidden(c) == model_config_hidden(c);
}

bool model_config_hash_is_projected(const model_config *c, int buckets, int dim) {
    return buckets > 0 && (dim != c->model_dim || c->stem.hash_projection);
}

/* ---- mixtures ---- */

bool model_config_is_moe(const model_config *c, int layer) {
    return c->moe.layers[layer] || (c->moe.start_layer >= 0 && layer >= c->moe.start_layer);
}

bool model_config_has_moe(const model_config *c) {
    for (int layer = 0; layer < c->num_layers; layer++)
        if (model_config_is_moe(c, layer)) return true;
    return false;
}

int model_config_active_experts(const model_config *c) {
    return c->moe.gate == GATE_SOFT ? c->moe.experts : c->moe.top_k;
}

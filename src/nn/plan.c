#include "nn/plan.h"

#include <math.h>

/* The roles of a U-Net over the entries from `from` to the path's end: the first half pushes, the second half pops. */
static void assign_skips(forward_path *path, int from, bool unet) {
    int encoder = unet ? (path->length - from) / 2 : 0, decoder = from + encoder;
    for (int i = from; i < path->length; i++)
        path->skip[i] = i < decoder ? PATH_PUSH : i - decoder < encoder ? i - decoder : PATH_PLAIN;
    if (from == 0) path->encoder = encoder;
}

static void add_layers(forward_path *path, int first, int last) {
    for (int layer = first; layer <= last; layer++) {
        int at = path->length++, before = 0;
        for (int i = 0; i < at; i++) before += path->layer[i] == layer;
        path->layer[at] = layer;
        path->pass[at] = before;
    }
}

forward_path model_path(const model_config *c) {
    forward_path path = {0};
    int passes = c->loop.on ? c->loop.extra_passes + 1 : 1;
    int start = c->loop.on ? c->loop.first : 0, end = c->loop.on ? c->loop.last : c->num_layers - 1;
    bool each_pass = c->loop.skips == LOOP_SKIPS_EACH_PASS;
    add_layers(&path, 0, start - 1);
    for (int pass = 0; pass < passes; pass++) {
        int from = path.length;
        add_layers(&path, start, end);
        if (each_pass) assign_skips(&path, from, c->residual.unet);
    }
    add_layers(&path, end + 1, c->num_layers - 1);
    if (!each_pass) assign_skips(&path, 0, c->residual.unet);
    return path;
}

int model_skips(const model_config *c) {
    if (!c->residual.unet) return 0;
    /* The encoder is the smaller half, so it alone counts. */
    bool longer = c->loop.extra_passes > 0 && c->loop.skips == LOOP_SKIPS_ALONG_PATH;
    int looped = longer ? c->loop.extra_passes * (c->loop.last - c->loop.first + 1) : 0;
    return (c->num_layers + looped) / 2;
}

/* ---- a block ---- */

int64_t fc_rows(activation f, int64_t hidden) {
    return f == ACTIVATION_SWIGLU ? 2 * hidden : hidden;
}

static norm_plan norm_of(const model_config *c, float scale) {
    return (norm_plan){.weight = c->norm.weight, .eps = c->norm.eps, .scale = scale};
}

norm_plan model_final_norm(const model_config *c) {
    return norm_of(c, 1);
}

/* No family has a weight there. */
norm_plan model_stem_norm(const model_config *c) {
    return (norm_plan){.eps = c->norm.eps, .scale = 1};
}

static attention_plan attention_of(const model_config *c) {
    int head_dim = model_config_head_dim(c);
    return (attention_plan){.heads = c->attention.heads,
                            .kv_heads = c->attention.kv_heads,
                            .head_dim = head_dim,
                            .q_width = (int64_t)c->attention.heads * head_dim,
                            .kv_width = (int64_t)c->attention.kv_heads * head_dim,
                            .qk_norm = c->attention.qk_norm,
                            .q_gain = c->attention.q_gain,
                            .qkv_bias = c->attention.qkv_bias,
                            .proj_bias = c->attention.proj_bias,
                            .xsa = c->attention.xsa,
                            .within_document = c->attention.within_document};
}

static void plan_experts(mlp_plan *p, const model_config *c) {
    p->hidden = model_config_expert_hidden(c);
    p->experts = c->moe.experts;
    p->top_k = c->moe.top_k;
    p->active = model_config_active_experts(c);
    p->router_bias = c->moe.bias_rate > 0;
    p->shared_hidden = model_config_shared_hidden(c);
    p->shared_gate = c->moe.shared_gate && p->shared_hidden > 0;
}

static void plan_random_up(mlp_plan *p, const model_config *c) {
    p->chunks = c->random_up.experts;
    p->rank = c->random_up.rank;
    p->gain = c->random_up.gain;
}

static mlp_plan mlp_of(const model_config *c, int layer) {
    mlp_kind kind = model_config_is_moe(c, layer) ? MLP_EXPERTS
                    : c->random_up.layers[layer]  ? MLP_RANDOM_UP
                                                  : MLP_DENSE;
    mlp_plan p = {.kind = kind, .activation = c->mlp.activation, .bias = c->mlp.bias, .hidden = model_config_hidden(c)};
    if (kind == MLP_EXPERTS) plan_experts(&p, c);
    if (kind == MLP_RANDOM_UP) plan_random_up(&p, c);
    p.fc_rows = fc_rows(p.activation, p.hidden);
    return p;
}

layer_plan model_plan(const model_config *c, int layer) {
    float scale = c->norm.depth_scaled ? 1 / sqrtf((float)layer + 1) : 1;
    return (layer_plan){.layer = layer,
                        .norm = norm_of(c, scale),
                        .attention = attention_of(c),
                        .mlp = mlp_of(c, layer),
                        .mix = c->residual.mix,
                        .attn_scale = c->residual.attn_scale,
                        .mlp_scale = c->residual.mlp_scale,
                        .scale_rows = c->loop.scales ? model_passes(c, layer) : 1,
                        .parallel = layer >= c->residual.parallel_start_layer,
                        .smear_width = c->residual.smear_width};
}

int model_passes(const model_config *c, int layer) {
    bool looped = c->loop.extra_passes > 0 && layer >= c->loop.first && layer <= c->loop.last;
    return looped ? c->loop.extra_passes + 1 : 1;
}

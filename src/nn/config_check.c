/* The rules that a config must keep. Each failure is one line that names the key, what was expected and what was found. */
#include "nn/config.h"
#include "nn/config_fields.h"
#include <math.h>

/* An option that another one has to turn on. */
static status needs(const char *option, const char *key) {
    return fail_usage("%s: has no meaning without %s", option, key);
}

static status check_heads(const model_config *c) {
    if (c->attention.head_dim == 0 && c->model_dim % c->attention.heads)
        return fail_usage("num_heads: expected a divisor of model_dim %d where head_dim is 0, found %d", c->model_dim,
                          c->attention.heads);
    if (c->attention.heads % c->attention.kv_heads)
        return fail_usage("num_kv_heads: expected a divisor of num_heads %d, found %d", c->attention.heads,
                          c->attention.kv_heads);
    int head_dim = model_config_head_dim(c);
    if (head_dim % 2)
        return fail_usage("%s: expected heads of an even number of channels, found %d",
                          c->attention.head_dim ? "head_dim" : "num_heads", head_dim);
    if (c->rotary.dims % 2 || c->rotary.dims > head_dim)
        return fail_usage("rope_dims: expected an even number up to the head's %d, found %d", head_dim, c->rotary.dims);
    return STATUS_OK;
}

static status check_rotary(const model_config *c) {
    const rotary_config *r = &c->rotary;
    bool by_context = r->scaling == ROTARY_LLAMA3 || r->scaling == ROTARY_YARN;
    if (by_context && r->original_context < 1)
        return fail_usage("rope_original_context: expected the context trained on with rope_scaling %s, found %d",
                          r->scaling == ROTARY_YARN ? "yarn" : "llama3", r->original_context);
    if (r->scaling == ROTARY_LLAMA3 && r->high_freq_factor <= r->low_freq_factor)
        return fail_usage("rope_high_freq_factor: expected above rope_low_freq_factor %g, found %g",
                          (double)r->low_freq_factor, (double)r->high_freq_factor);
    if (r->scaling == ROTARY_UNSCALED && r->factor != 1) return needs("rope_factor", "rope_scaling");
    return STATUS_OK;
}

static status check_widths(const model_config *c) {
    float hidden = c->mlp.mult * (float)c->model_dim;
    if (c->mlp.hidden == 0 && (hidden < 1 || fabsf(hidden - roundf(hidden)) > 1e-3f))
        return fail_usage("mlp_mult: expected a multiple that gives a whole MLP width, found %g x %d = %g",
                          (double)c->mlp.mult, c->model_dim, (double)hidden);
    if (c->residual.smear_width > c->model_dim)
        return fail_usage("smear_width: expected at most model_dim %d, found %d", c->model_dim,
                          c->residual.smear_width);
    if (c->residual.parallel_start_layer > c->num_layers)
        return fail_usage("parallel_start_layer: expected at most num_layers %d, found %d", c->num_layers,
                          c->residual.parallel_start_layer);
    return STATUS_OK;
}

static status check_loops(const model_config *c) {
    if (c->loop.on && c->loop.extra_passes == 0)
        return fail_usage("looping: expected num_loops of at least 1, found 0");
    if (c->loop.extra_passes == 0 && c->loop.skips == LOOP_SKIPS_EACH_PASS)
        return needs("loop_skips: each_pass", "num_loops");
    if (c->loop.scales && c->loop.extra_passes == 0) return needs("loop_scales: true", "num_loops");
    if (c->loop.scales && !c->residual.attn_scale && !c->residual.mlp_scale)
        return needs("loop_scales: true", "attn_scale or mlp_scale");
    if (c->loop.extra_passes == 0) return STATUS_OK;
    if (c->loop.last >= c->num_layers)
        return fail_usage("loop_end: expected a layer below num_layers %d, found %d", c->num_layers, c->loop.last);
    if (c->loop.first > c->loop.last)
        return fail_usage("loop_start: expected at most loop_end %d, found %d", c->loop.last, c->loop.first);
    int length = c->num_layers + c->loop.extra_passes * (c->loop.last - c->loop.first + 1);
    if (length > MODEL_MAX_PATH)
        return fail_usage("num_loops: expected a forward path of at most %d blocks, found %d", MODEL_MAX_PATH, length);
    bool all = c->loop.first == 0 && c->loop.last == c->num_layers - 1;
    if (c->loop.skips == LOOP_SKIPS_EACH_PASS && !all)
        return fail_usage("loop_skips: expected along_path where not all layers loop (0 to %d), found each_pass with "
                          "%d to %d",
                          c->num_layers - 1, c->loop.first, c->loop.last);
    return STATUS_OK;
}

static status check_hashes(const model_config *c) {
    bool hashes = c->stem.bigram_buckets > 0 || c->stem.trigram_buckets > 0;
    if (c->stem.bigram_hash == BIGRAM_XOR && c->stem.bigram_buckets == 0)
        return needs("bigram_hash: xor", "bigram_buckets");
    if (c->stem.bigram_hash == BIGRAM_XOR && c->stem.bigram_buckets < 2)
        return fail_usage("bigram_buckets: expected at least 2 with bigram_hash xor, found %d", c->stem.bigram_buckets);
    if (c->stem.trigram_dim != model_config_default().stem.trigram_dim && c->stem.trigram_buckets == 0)
        return needs("trigram_dim", "trigram_buckets");
    if (c->stem.hash_scale > 0 && !hashes) return needs("hash_scale", "bigram_buckets or trigram_buckets");
    if (c->init.hash == HASH_ZERO_TABLE && !hashes)
        return needs("hash_init: zero_table", "bigram_buckets or trigram_buckets");
    return STATUS_OK;
}

/* Layers in the list at or above num_layers. */
static status check_layers(const char *key, const bool *layers, const model_config *c) {
    for (int layer = c->num_layers; layer < MODEL_MAX_LAYERS; layer++)
        if (layers[layer])
            return fail_usage("%s: expected layers below num_layers %d, found %d", key, c->num_layers, layer);
    return STATUS_OK;
}

static bool any_layer(const bool *layers) {
    for (int layer = 0; layer < MODEL_MAX_LAYERS; layer++)
        if (layers[layer]) return true;
    return false;
}

static status check_whole(const char *key, float multiple, const model_config *c) {
    float width = multiple * (float)c->model_dim;
    if (fabsf(width - roundf(width)) <= 1e-3f) return STATUS_OK;
    return fail_usage("%s: expected a multiple that gives a whole width, found %g x %d = %g", key, (double)multiple,
                      c->model_dim, (double)width);
}

static status check_expert_widths(const model_config *c) {
    bool moe = model_config_has_moe(c);
    if (c->moe.expert_mult > 0 && !moe) return needs("moe_expert_mult", "moe_layers or moe_start_layer");
    if (c->moe.split && !moe) return needs("moe_split", "moe_layers or moe_start_layer");
    if (c->moe.shared_mult > 0 && !moe) return needs("moe_shared_mult", "moe_layers or moe_start_layer");
    if (c->moe.shared_gate && model_config_shared_hidden(c) == 0)
        return needs("moe_shared_gate", "moe_shared_mult or moe_shared_hidden");
    if (c->mlp.bias && moe) return fail_usage("mlp_bias: expected false in a model with experts, which have no biases");
    TRY(check_whole("moe_expert_mult", c->moe.expert_mult, c));
    TRY(check_whole("moe_shared_mult", c->moe.shared_mult, c));
    if (model_config_expert_hidden(c) < 1)
        return fail_usage("%s: expected experts of at least one hidden unit, found %d parts of %d",
                          c->moe.split ? "moe_split" : "moe_expert_mult", c->moe.experts, model_config_hidden(c));
    return STATUS_OK;
}

static status check_routing(const model_config *c) {
    if (c->moe.names.count > 0 && c->moe.names.count != c->moe.experts)
        return fail_usage("moe_expert_names: expected a name for each of the %d experts, found %d", c->moe.experts,
                          c->moe.names.count);
    if (c->moe.top_k > c->moe.experts)
        return fail_usage("moe_top_k: expected at most moe_num_experts %d, found %d", c->moe.experts, c->moe.top_k);
    bool soft = c->moe.gate == GATE_SOFT, through = c->moe.gate == GATE_STRAIGHT_THROUGH;
    const char *gate = soft ? "soft" : "straight_through";
    if ((soft || through) && c->moe.top_k != 1)
        return fail_usage("moe_top_k: expected 1, which moe_gate %s does not use, found %d", gate, c->moe.top_k);
    if ((soft || through) && c->moe.bias_rate > 0)
        return fail_usage("moe_bias_rate: expected 0 with moe_gate %s, whose experts all take part, found %g", gate,
                          (double)c->moe.bias_rate);
    if (soft && c->moe.noise_std > 0)
        return fail_usage("moe_noise_std: expected 0 with moe_gate soft, which chooses nothing, found %g",
                          (double)c->moe.noise_std);
    return STATUS_OK;
}

static status check_experts(const model_config *c) {
    TRY(check_layers("moe_layers", c->moe.layers, c));
    if (c->moe.start_layer >= c->num_layers)
        return fail_usage("moe_start_layer: expected a layer below num_layers %d, found %d", c->num_layers,
                          c->moe.start_layer);
    if (c->moe.start_layer >= 0 && any_layer(c->moe.layers))
        return fail_usage("moe_start_layer: expected -1 where moe_layers lists the mixture layers, found %d",
                          c->moe.start_layer);
    TRY(check_routing(c));
    return check_expert_widths(c);
}

static status check_random_up(const model_config *c) {
    const model_config plain = model_config_default();
    if (!any_layer(c->random_up.layers)) {
        if (c->random_up.experts != plain.random_up.experts) return needs("random_up_experts", "random_up_layers");
        if (c->random_up.rank != plain.random_up.rank) return needs("random_up_rank", "random_up_layers");
        if (c->random_up.gain != plain.random_up.gain) return needs("random_up_gain: false", "random_up_layers");
        if (c->random_up.seed != plain.random_up.seed) return needs("random_up_seed", "random_up_layers");
        return STATUS_OK;
    }
    TRY(check_layers("random_up_layers", c->random_up.layers, c));
    for (int layer = 0; layer < c->num_layers; layer++)
        if (c->random_up.layers[layer] && model_config_is_moe(c, layer))
            return fail_usage("random_up_layers: expected layers without experts, found %d", layer);
    if (c->mlp.bias) return fail_usage("random_up_layers: expected mlp_bias false, found true");
    if (c->mlp.activation == ACTIVATION_SWIGLU)
        return fail_usage("random_up_layers: expected activation relu2 or leaky_relu2, found swiglu");
    if (c->random_up.experts > model_config_hidden(c))
        return fail_usage("random_up_experts: expected at most the MLP's %d rows, found %d", model_config_hidden(c),
                          c->random_up.experts);
    if (c->random_up.rank > c->model_dim)
        return fail_usage("random_up_rank: expected at most model_dim %d, found %d", c->model_dim, c->random_up.rank);
    return STATUS_OK;
}

status model_config_check(const model_config *c) {
    TRY(section_check(&model_section, c));
    TRY(check_heads(c));
    TRY(check_rotary(c));
    TRY(check_widths(c));
    TRY(check_loops(c));
    TRY(check_hashes(c));
    TRY(check_experts(c));
    return check_random_up(c);
}

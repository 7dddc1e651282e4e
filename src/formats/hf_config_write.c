/* config.json for transformers, which reads both today's rope_parameters and the older keys; other programs read the latter. */
#include "formats/family.h"

#include <stdio.h>
#include <stdlib.h>

static const char *rope_name(rotary_scaling s) {
    static const char *const names[] = {"default", "linear", "llama3", "yarn"};
    return names[s];
}

/* Through the shortest text of a float32, so that 1e-5f is 1e-05 and not 9.9999997e-06. */
static void add_float(cJSON *object, const char *key, float value) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    cJSON_AddNumberToObject(object, key, strtod(text, NULL));
}

static void add_scaling(cJSON *to, const rotary_config *r) {
    cJSON_AddStringToObject(to, "rope_type", rope_name(r->scaling));
    if (r->scaling == ROTARY_UNSCALED) return;
    add_float(to, "factor", r->factor);
    if (r->scaling == ROTARY_LINEAR) return;
    cJSON_AddNumberToObject(to, "original_max_position_embeddings", r->original_context);
    if (r->scaling == ROTARY_LLAMA3) {
        add_float(to, "low_freq_factor", r->low_freq_factor);
        add_float(to, "high_freq_factor", r->high_freq_factor);
        return;
    }
    add_float(to, "beta_fast", r->beta_fast);
    add_float(to, "beta_slow", r->beta_slow);
    if (r->attention_factor > 0) add_float(to, "attention_factor", r->attention_factor);
}

static void add_rope(cJSON *json, const model_config *c) {
    cJSON *parameters = cJSON_AddObjectToObject(json, "rope_parameters");
    add_float(parameters, "rope_theta", c->rotary.base);
    add_scaling(parameters, &c->rotary);
    add_float(json, "rope_theta", c->rotary.base);
    if (c->rotary.scaling == ROTARY_UNSCALED) return;
    add_scaling(cJSON_AddObjectToObject(json, "rope_scaling"), &c->rotary);
}

static void add_windows(cJSON *json, const family *f) {
    if (!f->may_window) return;
    cJSON_AddNullToObject(json, "sliding_window");
    if (f->switched_window) cJSON_AddBoolToObject(json, "use_sliding_window", false);
}

/* Where all layers are dense the widths of experts are not used; they have to be some numbers. */
static int some_width(int width) {
    return width > 0 ? width : 1;
}

static void add_qwen_mixture(cJSON *json, const family *f, const model_config *c) {
    cJSON_AddNumberToObject(json, "num_experts", c->moe.experts);
    cJSON_AddNumberToObject(json, "num_experts_per_tok", c->moe.top_k);
    cJSON_AddNumberToObject(json, "moe_intermediate_size", some_width(c->moe.expert_hidden));
    cJSON_AddBoolToObject(json, "norm_topk_prob", c->moe.gate == GATE_NORMALIZED);
    cJSON_AddNumberToObject(json, "decoder_sparse_step", 1);
    cJSON *dense = cJSON_AddArrayToObject(json, "mlp_only_layers");
    for (int i = 0; i < c->num_layers; i++)
        if (!c->moe.layers[i]) cJSON_AddItemToArray(dense, cJSON_CreateNumber(i));
    if (f->mixture == MIXTURE_QWEN2)
        cJSON_AddNumberToObject(json, "shared_expert_intermediate_size", some_width(c->moe.shared_hidden));
}

static void add_mixture(cJSON *json, const family *f, const model_config *c, const label_list *names) {
    if (f->mixture == MIXTURE_NONE) return;
    if (names->count > 0) cJSON_AddItemToObject(json, HF_EXPERT_NAMES, labels_to_json(names));
    add_float(json, "router_aux_loss_coef", 0.001f);
    cJSON_AddBoolToObject(json, "output_router_logits", false);
    if (f->mixture != MIXTURE_MIXTRAL) {
        add_qwen_mixture(json, f, c);
        return;
    }
    cJSON_AddNumberToObject(json, "num_local_experts", c->moe.experts);
    cJSON_AddNumberToObject(json, "num_experts_per_tok", c->moe.top_k);
}

/* Where no layer is dense the width of dense ones is not used; it has to be some number. */
static int intermediate_size(const family *f, const model_config *c) {
    if (f->mixture == MIXTURE_MIXTRAL) return c->moe.expert_hidden;
    return c->mlp.hidden > 0 ? c->mlp.hidden : c->moe.expert_hidden;
}

cJSON *hf_config_write(const family *f, const model_config *config, int context_tokens, const char *type) {
    const model_config c = config_canonical(config);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToArray(cJSON_AddArrayToObject(json, "architectures"), cJSON_CreateString(f->architecture));
    cJSON_AddStringToObject(json, "model_type", f->name);
    cJSON_AddNumberToObject(json, "vocab_size", c.vocab_size);
    cJSON_AddNumberToObject(json, "hidden_size", c.model_dim);
    cJSON_AddNumberToObject(json, "intermediate_size", intermediate_size(f, &c));
    cJSON_AddNumberToObject(json, "num_hidden_layers", c.num_layers);
    cJSON_AddNumberToObject(json, "num_attention_heads", c.attention.heads);
    cJSON_AddNumberToObject(json, "num_key_value_heads", c.attention.kv_heads);
    cJSON_AddNumberToObject(json, "head_dim", c.attention.head_dim);
    cJSON_AddStringToObject(json, "hidden_act", "silu");
    cJSON_AddNumberToObject(json, "max_position_embeddings", context_tokens);
    add_float(json, "rms_norm_eps", c.norm.eps);
    add_float(json, "initializer_range", 0.02f);
    cJSON_AddBoolToObject(json, "use_cache", true);
    cJSON_AddBoolToObject(json, "tie_word_embeddings", c.head.tied);
    if (f->may_bias) cJSON_AddBoolToObject(json, "attention_bias", c.attention.qkv_bias);
    if (f->hf_names == &naming_llama && f->may_bias && !f->qk_norm) cJSON_AddBoolToObject(json, "mlp_bias", c.mlp.bias);
    if (f->mixture == MIXTURE_QWEN2) cJSON_AddBoolToObject(json, "qkv_bias", c.attention.qkv_bias);
    add_rope(json, &c);
    add_windows(json, f);
    add_mixture(json, f, &c, &config->moe.names); /* the canonical form has none */
    cJSON_AddStringToObject(json, "torch_dtype", type);
    cJSON_AddStringToObject(json, "dtype", type);
    return json;
}

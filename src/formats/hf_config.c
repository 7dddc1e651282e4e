/* Hugging Face's config.json: the keys of configuration_NAME.py of transformers, with their defaults there. */
#include "base/json.h"
#include "formats/family.h"
#include <float.h>
#include <math.h>
#include <string.h>

typedef struct reader {
    const cJSON *json;
    const char *where;
    const family *family;
} reader;

/* ---- members: null is as good as absent ---- */

static const cJSON *member(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

static status get_int(const reader *r, const char *key, bool required, int64_t least, int64_t most, int *value) {
    const cJSON *item = member(r->json, key);
    if (!item && !required) return STATUS_OK;
    if (!item) return fail("%s: %s: expected a number, found none", r->where, key);
    const double number = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (!(number >= (double)least && number <= (double)most) || number != floor(number))
        return fail("%s: %s: expected a whole number from %lld to %lld, found %s", r->where, key, (long long)least,
                    (long long)most, cJSON_IsNumber(item) ? "another" : "something else");
    *value = (int)number;
    return STATUS_OK;
}

static status get_float(const cJSON *object, const char *where, const char *key, float *value) {
    const cJSON *item = member(object, key);
    if (!item) return STATUS_OK;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= FLT_MAX))
        return fail("%s: %s: expected a number of at least 0, found something else", where, key);
    *value = (float)item->valuedouble;
    return STATUS_OK;
}

static status get_bool(const reader *r, const char *key, bool *value) {
    const cJSON *item = member(r->json, key);
    if (!item) return STATUS_OK;
    if (!cJSON_IsBool(item)) return fail("%s: %s: expected true or false, found something else", r->where, key);
    *value = cJSON_IsTrue(item);
    return STATUS_OK;
}

static const char *text_of(const cJSON *object, const char *key) {
    const cJSON *item = member(object, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

/* ---- rotary embedding ---- */

static status unsupported_rope(const reader *r, const char *what, const char *found) {
    return fail("%s: %s: expected default, linear, llama3 or yarn, found %s", r->where, what, found);
}

static status rope_type(const reader *r, const cJSON *rope, rotary_scaling *scaling) {
    const char *type = text_of(rope, "rope_type");
    if (!type) type = text_of(rope, "type");
    static const struct {
        const char *name;
        rotary_scaling scaling;
    } types[] = {
        {"default", ROTARY_UNSCALED}, {"linear", ROTARY_LINEAR}, {"llama3", ROTARY_LLAMA3}, {"yarn", ROTARY_YARN}};
    if (!type) return unsupported_rope(r, "rope_type", "none");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(type, types[i].name) == 0) {
            *scaling = types[i].scaling;
            return STATUS_OK;
        }
    return unsupported_rope(r, "rope_type", type);
}

/* What other implementations of yarn have beside the paper's. */
static status check_yarn(const reader *r, const cJSON *rope) {
    static const char *const keys[] = {"mscale", "mscale_all_dim"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (member(rope, keys[i])) return fail("%s: %s: moec's yarn does not have it", r->where, keys[i]);
    const cJSON *truncate = member(rope, "truncate");
    if (truncate && !cJSON_IsTrue(truncate)) return fail("%s: truncate: expected true, found false", r->where);
    return STATUS_OK;
}

static status read_scaling(const reader *r, const cJSON *rope, model_config *c, int context) {
    rotary_config *to = &c->rotary;
    const cJSON *original = member(rope, "original_max_position_embeddings");
    TRY(rope_type(r, rope, &to->scaling));
    if (to->scaling == ROTARY_UNSCALED) return STATUS_OK;
    TRY(get_float(rope, r->where, "factor", &to->factor));
    TRY(get_float(rope, r->where, "low_freq_factor", &to->low_freq_factor));
    TRY(get_float(rope, r->where, "high_freq_factor", &to->high_freq_factor));
    TRY(get_float(rope, r->where, "beta_fast", &to->beta_fast));
    TRY(get_float(rope, r->where, "beta_slow", &to->beta_slow));
    TRY(get_float(rope, r->where, "attention_factor", &to->attention_factor));
    if (to->scaling == ROTARY_YARN) TRY(check_yarn(r, rope));
    if (to->scaling == ROTARY_LINEAR) return STATUS_OK;
    to->original_context = cJSON_IsNumber(original) ? original->valueint : context;
    return STATUS_OK;
}

/* transformers' models of these families rotate whole heads: without a scaling they pass over partial_rotary_factor, and with one
 * they cannot run. */
static status check_partial(const reader *r, const cJSON *rope, const model_config *c) {
    float partial = 1;
    TRY(get_float(r->json, r->where, "partial_rotary_factor", &partial));
    if (rope) TRY(get_float(rope, r->where, "partial_rotary_factor", &partial));
    if (partial == 1 || c->rotary.scaling == ROTARY_UNSCALED) return STATUS_OK;
    return fail("%s: partial_rotary_factor: expected 1, as %s has it, found %g", r->where, r->family->name,
                (double)partial);
}

/* Today's rope_parameters, or the older rope_theta beside rope_scaling. */
static status read_rope(const reader *r, model_config *c, int context) {
    const cJSON *rope = member(r->json, "rope_parameters"), *scaling = member(r->json, "rope_scaling");
    TRY(get_float(r->json, r->where, "rope_theta", &c->rotary.base));
    if (rope && !member(rope, "rope_type") && !member(rope, "type") && !member(rope, "rope_theta"))
        return fail("%s: rope_parameters: expected one set for all layers, found several", r->where);
    if (rope) TRY(get_float(rope, r->where, "rope_theta", &c->rotary.base));
    if (rope && (member(rope, "rope_type") || member(rope, "type"))) TRY(read_scaling(r, rope, c, context));
    if (!rope && scaling) TRY(read_scaling(r, scaling, c, context));
    return check_partial(r, rope, c);
}

/* ---- windows ---- */

static status read_window(const reader *r, int *window) {
    bool used = !r->family->switched_window;
    const cJSON *types = member(r->json, "layer_types"), *type;
    *window = cJSON_HasObjectItem(r->json, "sliding_window") ? 0 : r->family->window; /* null says that there is none */
    if (!r->family->may_window) return STATUS_OK;
    if (r->family->switched_window) TRY(get_bool(r, "use_sliding_window", &used));
    TRY(get_int(r, "sliding_window", false, 0, INT32_MAX, window));
    cJSON_ArrayForEach(type, types) used |= cJSON_IsString(type) && strcmp(type->valuestring, "sliding_attention") == 0;
    if (!used) *window = 0;
    return STATUS_OK;
}

/* ---- mixtures ---- */

static status read_qwen_layers(const reader *r, model_config *c) {
    int step = 1;
    const cJSON *dense = member(r->json, "mlp_only_layers"), *layer;
    TRY(get_int(r, "decoder_sparse_step", false, 1, INT32_MAX, &step));
    for (int i = 0; i < c->num_layers; i++) c->moe.layers[i] = (i + 1) % step == 0;
    cJSON_ArrayForEach(layer, dense) {
        if (!cJSON_IsNumber(layer) || layer->valuedouble < 0)
            return fail("%s: mlp_only_layers: expected numbers of layers, found something else", r->where);
        if (layer->valuedouble < c->num_layers) c->moe.layers[layer->valueint] = false;
    }
    return STATUS_OK;
}

/* Transformers 5 writes Mixtral's name for the number of experts for Qwen3 too. */
static status read_experts(const reader *r, model_config *c) {
    TRY(get_int(r, "num_local_experts", false, 1, MODEL_MAX_EXPERTS, &c->moe.experts));
    return get_int(r, "num_experts", false, 1, MODEL_MAX_EXPERTS, &c->moe.experts);
}

static status read_qwen_mixture(const reader *r, model_config *c) {
    const bool second = r->family->mixture == MIXTURE_QWEN2;
    bool normalized = false;
    c->moe.experts = second ? 60 : 128;
    c->moe.top_k = second ? 4 : 8;
    c->moe.expert_hidden = second ? 1408 : 768;
    TRY(read_experts(r, c));
    TRY(get_int(r, "num_experts_per_tok", false, 1, MODEL_MAX_EXPERTS, &c->moe.top_k));
    TRY(get_int(r, "moe_intermediate_size", false, 1, 1 << 24, &c->moe.expert_hidden));
    TRY(get_bool(r, "norm_topk_prob", &normalized));
    c->moe.gate = normalized ? GATE_NORMALIZED : GATE_PROBABILITY;
    if (second) {
        c->moe.shared_hidden = 5632;
        c->moe.shared_gate = true;
        TRY(get_int(r, "shared_expert_intermediate_size", false, 1, 1 << 24, &c->moe.shared_hidden));
    }
    return read_qwen_layers(r, c);
}

static status read_mixtral_mixture(const reader *r, model_config *c) {
    c->moe.experts = 8;
    c->moe.top_k = 2;
    c->moe.gate = GATE_NORMALIZED;
    TRY(read_experts(r, c));
    TRY(get_int(r, "num_experts_per_tok", false, 1, MODEL_MAX_EXPERTS, &c->moe.top_k));
    c->moe.expert_hidden = c->mlp.hidden;
    for (int i = 0; i < c->num_layers; i++) c->moe.layers[i] = true;
    return STATUS_OK;
}

static status read_names(const reader *r, model_config *c) {
    const cJSON *names = member(r->json, HF_EXPERT_NAMES);
    if (!names || labels_from_json(&c->moe.names, names)) return STATUS_OK;
    return fail("%s: %s: expected a list of at most %d different names of 1 to %d bytes, found something else",
                r->where, HF_EXPERT_NAMES, LABELS_MOST, LABEL_BYTES - 1);
}

static status read_mixture(const reader *r, model_config *c) {
    if (r->family->mixture != MIXTURE_NONE) TRY(read_names(r, c));

    c->moe.aux_weight = r->family->mixture == MIXTURE_NONE ? c->moe.aux_weight : 0.001f;
    TRY(get_float(r->json, r->where, "router_aux_loss_coef", &c->moe.aux_weight));
    if (r->family->mixture == MIXTURE_MIXTRAL) return read_mixtral_mixture(r, c);
    return r->family->mixture == MIXTURE_NONE ? STATUS_OK : read_qwen_mixture(r, c);
}

/* ---- the whole ---- */

static status read_attention(const reader *r, model_config *c) {
    attention_config *a = &c->attention;
    const family *f = r->family;
    TRY(get_int(r, "num_attention_heads", true, 1, 1024, &a->heads));
    a->kv_heads = f->kv_heads ? f->kv_heads : a->heads;
    TRY(get_int(r, "num_key_value_heads", false, 1, 1024, &a->kv_heads));
    if (f->qk_norm && f->mixture == MIXTURE_NONE) a->head_dim = 128; /* Qwen3's default, and only its */
    TRY(get_int(r, "head_dim", false, 1, 65536, &a->head_dim));
    if (f->qk_norm) a->qk_norm = QK_NORM_WEIGHT;
    a->qkv_bias = f->qkv_bias;
    if (f->may_bias) {
        TRY(get_bool(r, "attention_bias", &a->qkv_bias));
        a->proj_bias = a->qkv_bias;
    }
    if (f->mixture == MIXTURE_QWEN2) TRY(get_bool(r, "qkv_bias", &a->qkv_bias));
    return STATUS_OK;
}

static status read_mlp(const reader *r, model_config *c) {
    const char *activation = text_of(r->json, "hidden_act");
    if (activation && strcmp(activation, "silu") != 0 && strcmp(activation, "swish") != 0)
        return fail("%s: hidden_act: expected silu, found %s", r->where, activation);
    TRY(get_int(r, "intermediate_size", true, 1, 1 << 24, &c->mlp.hidden));
    return r->family->may_bias ? get_bool(r, "mlp_bias", &c->mlp.bias) : STATUS_OK;
}

static status read_family(reader *r) {
    const char *type = text_of(r->json, "model_type");
    char list[256];
    r->family = type ? family_of_type(type) : NULL;
    if (r->family) return STATUS_OK;
    const cJSON *first = cJSON_GetArrayItem(member(r->json, "architectures"), 0);
    return fail("%s: model_type: expected one of %s, found %s%s%s", r->where, family_list(list, sizeof list),
                type ? type : "none", cJSON_IsString(first) ? ", architecture " : "",
                cJSON_IsString(first) ? first->valuestring : "");
}

status hf_config_read(const cJSON *json, const char *where, const family **f, model_config *c, int *context_tokens,
                      int *window) {
    reader r = {.json = json, .where = where};
    if (!cJSON_IsObject(json)) return fail("%s: expected a JSON object", where);
    TRY(read_family(&r));
    *f = r.family;
    *c = family_base();
    if (r.family->rope_theta > 0) c->rotary.base = r.family->rope_theta;
    if (r.family->rms_norm_eps > 0) c->norm.eps = r.family->rms_norm_eps;
    *context_tokens = 2048;
    TRY(get_int(&r, "vocab_size", true, 2, 1 << 24, &c->vocab_size));
    TRY(get_int(&r, "num_hidden_layers", true, 1, MODEL_MAX_LAYERS, &c->num_layers));
    TRY(get_int(&r, "hidden_size", true, 1, 65536, &c->model_dim));
    TRY(get_int(&r, "max_position_embeddings", false, 1, INT32_MAX, context_tokens));
    c->residual.parallel_start_layer = c->num_layers;
    TRY(read_attention(&r, c));
    TRY(read_mlp(&r, c));
    TRY(get_float(json, where, "rms_norm_eps", &c->norm.eps));
    TRY(get_bool(&r, "tie_word_embeddings", &c->head.tied));
    TRY(read_rope(&r, c, *context_tokens));
    TRY(read_mixture(&r, c));
    TRY(read_window(&r, window));
    return fail_in(model_config_check(c), "%s", where);
}

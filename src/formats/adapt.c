#include "formats/adapt.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool is_norm(param_role role) {
    return role == ROLE_ATTN_NORM || role == ROLE_MLP_NORM || role == ROLE_FINAL_NORM;
}

static bool is_qkv_bias(param_role role) {
    return role == ROLE_C_Q_BIAS || role == ROLE_C_K_BIAS || role == ROLE_C_V_BIAS;
}

/* What the model itself has not; false: it has it. */
static bool constant_of(const adapted *a, const param_spec *spec, float *value) {
    const model_config *own = &a->from->config;
    *value = is_norm(spec->role) ? 1 : 0;
    if (is_norm(spec->role)) return !own->norm.weight;
    if (is_qkv_bias(spec->role)) return !own->attention.qkv_bias;
    if (spec->role != ROLE_SHARED_GATE || !a->gated) return false;
    *value = a->gate;
    return true;
}

static float factor_of(const adapted *a, const param_spec *spec) {
    const bool in_block = spec->role == ROLE_ATTN_NORM || spec->role == ROLE_MLP_NORM;
    if (in_block && a->from->config.norm.depth_scaled) return 1 / sqrtf((float)spec->layer + 1);
    return spec->role == ROLE_SHARED_PROJ && a->gated ? 2 : 1;
}

static status read_own(const adapted *a, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    param_spec own = *spec;
    if (spec->role == ROLE_HEAD && a->untied) own.role = ROLE_TOK_EMB;
    return a->from->read(a->from->context, &own, first, rows, out);
}

static void fill(float *out, int64_t count, float value) {
    for (int64_t i = 0; i < count; i++) out[i] = value;
}

static bool is_zero(const float *values, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (values[i] != 0) return false;
    return true;
}

static status read(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const adapted *a = context;
    const int64_t count = rows * spec_cols(spec);
    const float factor = factor_of(a, spec);
    float value;
    if (constant_of(a, spec, &value))
        fill(out, count, value);
    else
        TRY(read_own(a, spec, first, rows, out));
    if (spec->role == ROLE_SHARED_GATE && is_zero(out, count)) fill(out, count, a->gate);
    if (factor != 1)
        for (int64_t i = 0; i < count; i++) out[i] *= factor;
    return STATUS_OK;
}

static status check_mixture(const family *f, const model_config *c) {
    const bool mixture = model_config_has_moe(c);
    if (mixture && f->mixture == MIXTURE_NONE)
        return fail("what %s can hold: experts: expected none, found layers of %d", f->name, c->moe.experts);
    if (!mixture && f->mixture != MIXTURE_NONE)
        return fail("what %s can hold: experts: expected some, found a dense model", f->name);
    if (f->mixture == MIXTURE_QWEN2 && c->moe.shared_hidden == 0)
        return fail("what %s can hold: moe_shared_hidden: expected shared experts, found none", f->name);
    return STATUS_OK;
}

typedef struct bias_search {
    const weight_source *from;
    int layer; /* the first one whose selection bias is not zero; −1: none so far */
    status result;
} bias_search;

static void look_at_bias(void *context, const param_spec *spec) {
    bias_search *b = context;
    if (spec->role != ROLE_ROUTER_BIAS || b->result != STATUS_OK || b->layer >= 0) return;
    float values[MODEL_MAX_EXPERTS];
    b->result = b->from->read(b->from->context, spec, 0, 1, values);
    if (b->result == STATUS_OK && !is_zero(values, spec->shape[0])) b->layer = spec->layer;
}

/* The selection bias is no key of a configuration but a parameter that chooses experts, and no family has one. */
static status check_bias(const adapted *a) {
    bias_search b = {.from = a->from, .layer = -1};
    model_specs_visit(&a->from->config, look_at_bias, &b);
    TRY(b.result);
    if (b.layer < 0) return STATUS_OK;
    return fail(
        "what %s can hold: the router's selection bias (moe_bias_rate): expected zeros, found others in layer %d",
        a->family->name, b.layer);
}

/* Whether the family says the same of the config: by writing it in the family's words and reading that. */
static status check(const adapted *a) {
    TRY(check_mixture(a->family, &a->weights.config));
    TRY(check_bias(a));
    char what[64];
    const family *f;
    model_config back;
    int context, window;
    cJSON *json = hf_config_write(a->family, &a->weights.config, 2048, "float32");
    snprintf(what, sizeof what, "what %s can hold", a->family->name);
    status s = hf_config_read(json, what, &f, &back, &context, &window);
    cJSON_Delete(json);
    TRY(s);
    return config_same(&a->weights.config, &back, what);
}

static void begin(adapted *a, const weight_source *from, const family *f) {
    *a = (adapted){.from = from, .family = f};
    model_config c = config_canonical(&from->config);
    c.rotary.style = from->config.rotary.style;
    c.norm.weight = true;
    c.norm.depth_scaled = false;
    if (model_config_has_moe(&from->config)) c.moe.names = from->config.moe.names;
    c.attention.qkv_bias |= f->qkv_bias && !f->may_bias;
    a->gated = f->mixture == MIXTURE_QWEN2 && c.moe.shared_hidden > 0 && !c.moe.shared_gate;
    c.moe.shared_gate |= a->gated;
    a->weights = (weight_source){.config = c, .read = read, .context = a};
}

status adapt_to_hf(adapted *a, const weight_source *from, const family *f) {
    begin(a, from, f);
    return check(a);
}

/* ---- llama.cpp ---- */

static status refuse(const family *f, const char *reason) {
    return fail("llama.cpp's %s cannot hold it: %s", f->gguf, reason);
}

static status check_gguf(const family *f, const model_config *c) {
    const bool narrow = f->qkv_bias; /* Qwen2's loaders take queries to be as wide as the stream */
    for (int i = 0; i < c->num_layers; i++)
        if (f->mixture != MIXTURE_NONE && !model_config_is_moe(c, i))
            return refuse(f, "every layer has to be a mixture there, and some are dense");
    if (f->mixture == MIXTURE_QWEN2 && c->moe.gate != GATE_PROBABILITY)
        return refuse(f, "its gates are not divided by their sum: such a mixture is made with gates=probability");
    if (f->mixture == MIXTURE_QWEN3 && c->moe.gate != GATE_NORMALIZED)
        return refuse(f, "its gates are always divided by their sum: such a mixture is made with gates=normalized");
    if (c->rotary.scaling == ROTARY_YARN && (c->rotary.beta_fast != 32 || c->rotary.beta_slow != 1))
        return refuse(f, "it does not read yarn's beta_fast and beta_slow, which are 32 and 1 there");
    if (narrow && c->attention.heads * model_config_head_dim(c) != c->model_dim)
        return refuse(f, "all heads together have to be as wide as the stream");
    if (c->attention.proj_bias && f->qk_norm) return refuse(f, "it reads no bias of attention's output");
    if (c->rotary.scaling == ROTARY_LLAMA3 && f->gguf_names != &naming_gguf_llama)
        return refuse(f, "Llama 3.1's rotary scaling is a tensor that only llama reads");
    return STATUS_OK;
}

status adapt_to_gguf(adapted *a, const weight_source *from, const family *f) {
    begin(a, from, f);
    TRY(check(a));
    TRY(check_gguf(f, &a->weights.config));
    a->gate = 1e-20f;
    a->untied = f->mixture == MIXTURE_QWEN2 && a->weights.config.head.tied;
    if (a->untied) a->weights.config.head.tied = false;
    return STATUS_OK;
}

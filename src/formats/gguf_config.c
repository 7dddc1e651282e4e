/* A GGUF's metadata to a configuration: keys are prefixed by the architecture (gguf-py/gguf/constants.py). */
#include "base/memory.h"
#include "formats/family.h"
#include "text/utf8.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    const gguf *g;
    const family *family;
    char prefix[32]; /* "llama" */
} reader;

static const char *key_of(const reader *r, const char *name, char key[96]) {
    snprintf(key, 96, "%s.%s", r->prefix, name);
    return key;
}

static status get_int(const reader *r, const char *name, bool required, int64_t least, int64_t most, int *value) {
    char key[96];
    int64_t found = *value;
    TRY(gguf_integer(r->g, key_of(r, name, key), required, least, most, &found));
    *value = (int)found;
    return STATUS_OK;
}

static status get_float(const reader *r, const char *name, float *value) {
    char key[96];
    double found = (double)*value;
    TRY(gguf_number(r->g, key_of(r, name, key), false, &found));
    *value = (float)found;
    return STATUS_OK;
}

static bool has_tensor(const gguf *g, const char *name) {
    return tensor_set_find(&g->tensors, name) != NULL;
}

/* ---- rotary embedding ---- */

enum { LLAMA3_CONTEXT = 8192 }; /* of Llama 3.1 and 3.2: their files do not say */

/* Llama 3.1's scaling comes as a tensor of what each frequency is divided by. The formula's factor is the largest; the rest must
 * be what moec computes: ones where another scaling is said, or the largest is one. */
static status read_factors(const reader *r, model_config *c) {
    const stored_tensor *t = tensor_set_find(&r->g->tensors, "rope_freqs.weight");
    if (!t) return STATUS_OK;
    const int64_t count = stored_rows(t) * stored_cols(t);
    rotary_config *to = &c->rotary;
    const int dims = to->dims ? to->dims : model_config_head_dim(c);
    if (count != dims / 2)
        return fail("%s: tensor rope_freqs.weight: expected %d factors, found %lld", r->g->path, dims / 2,
                    (long long)count);
    rotary_config scaled = *to, plain = *to;
    scaled.scaling = ROTARY_LLAMA3;
    scaled.original_context = LLAMA3_CONTEXT;
    TRY(get_int(r, "rope.scaling.original_context_length", false, 1, INT32_MAX, &scaled.original_context));
    plain.scaling = ROTARY_UNSCALED;
    float *factors = xmalloc((size_t)count * sizeof *factors), most = 1;
    stored_read(t, 0, stored_rows(t), factors);
    for (int64_t i = 0; i < count; i++) most = factors[i] > most ? factors[i] : most;
    scaled.factor = most;
    if (most == 1 || to->scaling != ROTARY_UNSCALED) scaled = plain;
    status s = STATUS_OK;
    for (int i = 0; i < count && s == STATUS_OK; i++) {
        const float wanted = rotary_frequency(&plain, dims, i) / rotary_frequency(&scaled, dims, i);
        if (!(fabsf(factors[i] - wanted) <= 1e-3f * wanted))
            s = fail(
                "%s: tensor rope_freqs.weight: expected Llama 3.1's %g at %d, found %g: other scalings are not read",
                r->g->path, (double)wanted, i, (double)factors[i]);
    }
    if (s == STATUS_OK && scaled.scaling == ROTARY_LLAMA3) *to = scaled;
    free(factors);
    return s;
}

/* Without a type a factor other than 1 is a linear one, under its older name too (llama.cpp's llama_model::load_hparams). */
static status read_scaling(const reader *r, rotary_config *to) {
    char key[96], *type;
    float factor = 0;
    TRY(get_float(r, "rope.scaling.factor", &factor));
    if (factor == 0) TRY(get_float(r, "rope.scale_linear", &factor));
    TRY(gguf_text(r->g, key_of(r, "rope.scaling.type", key), false, &type));
    const bool scaled = factor != 0 && factor != 1;
    status s = STATUS_OK;
    if (type && strcmp(type, "yarn") == 0)
        to->scaling = ROTARY_YARN;
    else if (!type || strcmp(type, "linear") == 0)
        to->scaling = scaled ? ROTARY_LINEAR : ROTARY_UNSCALED;
    else if (strcmp(type, "none") != 0)
        s = fail("%s: %s: expected none, linear or yarn, found %s", r->g->path, key, type);
    if (to->scaling != ROTARY_UNSCALED && factor != 0) to->factor = factor;
    free(type);
    return s;
}

static status read_rope(const reader *r, model_config *c, int context) {
    rotary_config *to = &c->rotary;
    TRY(get_float(r, "rope.freq_base", &to->base));
    TRY(get_int(r, "rope.dimension_count", false, 2, 65536, &to->dims));
    if (to->dims == model_config_head_dim(c)) to->dims = 0;
    TRY(read_scaling(r, to));
    TRY(read_factors(r, c));
    if (to->scaling != ROTARY_YARN) return STATUS_OK;
    to->original_context = context;
    TRY(get_int(r, "rope.scaling.original_context_length", false, 1, INT32_MAX, &to->original_context));
    TRY(get_float(r, "rope.scaling.yarn_beta_fast", &to->beta_fast));
    TRY(get_float(r, "rope.scaling.yarn_beta_slow", &to->beta_slow));
    TRY(get_float(r, "rope.scaling.attn_factor", &to->attention_factor));
    to->attention_factor *= rotary_yarn_amplitude(to->factor); /* llama.cpp multiplies the two */
    return STATUS_OK;
}

/* ---- the rest ---- */

static status read_attention(const reader *r, model_config *c) {
    attention_config *a = &c->attention;
    TRY(get_int(r, "attention.head_count", true, 1, 1024, &a->heads));
    a->kv_heads = a->heads;
    TRY(get_int(r, "attention.head_count_kv", false, 1, 1024, &a->kv_heads));
    TRY(get_int(r, "attention.key_length", false, 1, 65536, &a->head_dim));
    int value_length = a->head_dim;
    TRY(get_int(r, "attention.value_length", false, 1, 65536, &value_length));
    if (value_length != a->head_dim)
        return fail("%s: expected values as long as keys, %d, found %d", r->g->path, a->head_dim, value_length);
    a->qkv_bias = has_tensor(r->g, "blk.0.attn_q.bias");
    a->proj_bias = has_tensor(r->g, "blk.0.attn_output.bias");
    if (has_tensor(r->g, "blk.0.attn_q_norm.weight")) a->qk_norm = QK_NORM_WEIGHT;
    return STATUS_OK;
}

static bool is_mixture(const gguf *g, int layer) {
    char name[64];
    snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.weight", layer);
    return has_tensor(g, name);
}

/* Empty where it cannot be one. */
static void copy_name(char text[LABEL_BYTES], gguf_string name) {
    const bool fits = name.bytes < LABEL_BYTES && !memchr(name.text, '\0', name.bytes) &&
                      utf8_valid_prefix(name.text, name.bytes) == name.bytes;
    snprintf(text, LABEL_BYTES, "%.*s", fits ? (int)name.bytes : 0, name.text);
}

static status read_names(const reader *r, label_list *names) {
    const gguf_value *list;
    TRY(gguf_array(r->g, GGUF_EXPERT_NAMES, false, GGUF_STRING, &list));
    const uint8_t *at = list ? list->data : NULL;
    for (uint64_t i = 0; list && i < list->count; i++) {
        char text[LABEL_BYTES];
        copy_name(text, gguf_next_string(&at));
        if (!labels_add(names, text))
            return fail("%s: %s: expected at most %d different names of 1 to %d bytes, found others", r->g->path,
                        GGUF_EXPERT_NAMES, LABELS_MOST, LABEL_BYTES - 1);
    }
    return STATUS_OK;
}

/* Which gate it is follows from the architecture, as in llama.cpp's build_moe_ffn. */
static status read_mixture(const reader *r, model_config *c) {
    char key[96];
    int64_t normalized = r->family->mixture != MIXTURE_QWEN2;
    c->moe.expert_hidden = c->mlp.hidden;
    TRY(get_int(r, "expert_count", true, 1, MODEL_MAX_EXPERTS, &c->moe.experts));
    TRY(get_int(r, "expert_used_count", true, 1, MODEL_MAX_EXPERTS, &c->moe.top_k));
    TRY(get_int(r, "expert_feed_forward_length", false, 1, 1 << 24, &c->moe.expert_hidden));
    TRY(gguf_integer(r->g, key_of(r, "expert_weights_norm", key), false, 0, 1, &normalized));
    c->moe.gate = normalized ? GATE_NORMALIZED : GATE_PROBABILITY;
    if (r->family->mixture == MIXTURE_QWEN2) {
        TRY(get_int(r, "expert_shared_feed_forward_length", true, 1, 1 << 24, &c->moe.shared_hidden));
        c->moe.shared_gate = true;
    }
    c->moe.aux_weight = 0.001f;
    TRY(read_names(r, &c->moe.names));
    for (int i = 0; i < c->num_layers; i++) c->moe.layers[i] = is_mixture(r->g, i);
    return STATUS_OK;
}

/* The vocabulary's size is the embedding's: older files do not say it. */
static status read_vocabulary(const reader *r, model_config *c) {
    const stored_tensor *t = tensor_set_find(&r->g->tensors, "token_embd.weight");
    if (!t || t->ndim != 2 || t->shape[0] < 2 || t->shape[0] > 1 << 24)
        return fail("%s: tensor token_embd.weight: expected a matrix of at least two rows, found none", r->g->path);
    c->vocab_size = (int)t->shape[0];
    c->head.tied = !has_tensor(r->g, "output.weight");
    return STATUS_OK;
}

static status read_family(reader *r) {
    char *architecture, list[256];
    int64_t experts = 0;
    TRY(gguf_text(r->g, "general.architecture", true, &architecture));
    snprintf(r->prefix, sizeof r->prefix, "%s", architecture);
    char key[96];
    status s = gguf_integer(r->g, key_of(r, "expert_count", key), false, 0, INT32_MAX, &experts);
    r->family = family_of_architecture(architecture, experts > 0);
    if (s == STATUS_OK && !r->family)
        s = fail("%s: general.architecture: expected that of one of %s, found %s%s", r->g->path,
                 family_list(list, sizeof list), architecture, experts > 0 ? " with experts" : "");
    free(architecture);
    return s;
}

status gguf_config_read(const gguf *g, const family **f, model_config *c, int *context_tokens, int *window) {
    reader r = {.g = g};
    TRY(read_family(&r));
    *f = r.family;
    *c = family_base();
    *context_tokens = 2048;
    TRY(get_int(&r, "block_count", true, 1, MODEL_MAX_LAYERS, &c->num_layers));
    TRY(get_int(&r, "embedding_length", true, 1, 65536, &c->model_dim));
    TRY(get_int(&r, "context_length", false, 1, INT32_MAX, context_tokens));
    c->residual.parallel_start_layer = c->num_layers;
    TRY(read_vocabulary(&r, c));
    TRY(read_attention(&r, c));
    /* Where every layer is a mixture, qwen3moe's files leave the dense width out or at 0. */
    TRY(get_int(&r, "feed_forward_length", r.family->mixture == MIXTURE_NONE, 0, 1 << 24, &c->mlp.hidden));
    c->mlp.bias = has_tensor(g, "blk.0.ffn_down.bias");
    TRY(get_float(&r, "attention.layer_norm_rms_epsilon", &c->norm.eps));
    TRY(read_rope(&r, c, *context_tokens));
    if (r.family->mixture != MIXTURE_NONE) TRY(read_mixture(&r, c));
    *window = 0;
    TRY(get_int(&r, "attention.sliding_window", false, 0, INT32_MAX, window));
    return fail_in(model_config_check(c), "%s", g->path);
}

#include "formats/gguf_write.h"

#include "base/memory.h"
#include "formats/foreign_tensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 32, VERSION = 3 };

/* ---- what kind of file it is ---- */

static uint32_t type_number(storage s) {
    switch (s) {
    case STORAGE_F16:
        return 1;
    case STORAGE_Q8_0:
        return 8;
    case STORAGE_BF16:
        return 30;
    default:
        return 0;
    }
}

/* general.file_type, llama.cpp's LLAMA_FTYPE */
static uint32_t file_type(storage s) {
    return s == STORAGE_F16 ? 1 : s == STORAGE_Q8_0 ? 7 : s == STORAGE_BF16 ? 32 : 0;
}

/* ---- the architecture's keys ---- */

typedef struct keys {
    gguf_builder *b;
    const char *prefix;
} keys;

static void add_number(const keys *k, const char *name, int64_t value) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", k->prefix, name);
    gguf_add_uint32(k->b, key, (uint32_t)value);
}
static void add_float(const keys *k, const char *name, float value) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", k->prefix, name);
    gguf_add_float(k->b, key, value);
}

static void add_rope(const keys *k, const model_config *c) {
    const rotary_config *r = &c->rotary;
    char key[96];
    add_float(k, "rope.freq_base", r->base);
    add_number(k, "rope.dimension_count", r->dims ? r->dims : model_config_head_dim(c));
    if (r->scaling == ROTARY_LLAMA3) add_number(k, "rope.scaling.original_context_length", r->original_context);
    if (r->scaling != ROTARY_LINEAR && r->scaling != ROTARY_YARN) return;
    snprintf(key, sizeof key, "%s.rope.scaling.type", k->prefix);
    gguf_add_text(k->b, key, r->scaling == ROTARY_YARN ? "yarn" : "linear");
    add_float(k, "rope.scaling.factor", r->factor);
    if (r->scaling == ROTARY_LINEAR) return;
    add_number(k, "rope.scaling.original_context_length", r->original_context);
    add_float(k, "rope.scaling.yarn_beta_fast", r->beta_fast);
    add_float(k, "rope.scaling.yarn_beta_slow", r->beta_slow);
    if (r->attention_factor > 0)
        add_float(k, "rope.scaling.attn_factor", r->attention_factor / rotary_yarn_amplitude(r->factor));
}

static void add_mixture(const keys *k, const family *f, const model_config *c) {
    if (f->mixture == MIXTURE_NONE) return;
    add_number(k, "expert_count", c->moe.experts);
    add_number(k, "expert_used_count", c->moe.top_k);
    add_number(k, "expert_feed_forward_length", c->moe.expert_hidden);
    if (f->mixture == MIXTURE_QWEN2) add_number(k, "expert_shared_feed_forward_length", c->moe.shared_hidden);
    const label_list *names = &c->moe.names;
    if (names->count == 0) return;
    gguf_begin_array(k->b, GGUF_EXPERT_NAMES, GGUF_STRING, (uint64_t)names->count);
    for (int e = 0; e < names->count; e++) gguf_put_text(k->b, names->label[e], strlen(names->label[e]));
}

static void add_architecture(gguf_builder *b, const gguf_write_options *o, const model_config *c) {
    const keys k = {b, o->family->gguf};
    const int hidden = o->family->mixture == MIXTURE_NONE || c->mlp.hidden > 0 ? c->mlp.hidden : c->moe.expert_hidden;
    gguf_add_text(b, "general.architecture", o->family->gguf);
    if (o->name) gguf_add_text(b, "general.name", o->name);
    gguf_add_uint32(b, "general.file_type", file_type(o->type));
    gguf_add_uint32(b, "general.quantization_version", 2);
    gguf_add_uint32(b, "general.alignment", ALIGNMENT);
    add_number(&k, "vocab_size", c->vocab_size);
    add_number(&k, "context_length", o->context_tokens);
    add_number(&k, "embedding_length", c->model_dim);
    add_number(&k, "block_count", c->num_layers);
    add_number(&k, "feed_forward_length", hidden);
    add_number(&k, "attention.head_count", c->attention.heads);
    add_number(&k, "attention.head_count_kv", c->attention.kv_heads);
    add_number(&k, "attention.key_length", model_config_head_dim(c));
    add_number(&k, "attention.value_length", model_config_head_dim(c));
    add_float(&k, "attention.layer_norm_rms_epsilon", c->norm.eps);
    add_rope(&k, c);
    add_mixture(&k, o->family, c);
}

/* ---- tensors ---- */

typedef struct writing {
    const weight_source *w;
    const naming *naming;
    storage type;
    foreign_tensor *tensors;
    int count;
    file_writer file;
    foreign_writer out; /* into it */
} writing;

static storage storage_of(const writing *w, const foreign_tensor *t) {
    const bool vector = t->spec.ndim < 2 || t->spec.role == ROLE_ROUTER || t->spec.role == ROLE_SHARED_GATE;
    return vector || t->shape[t->ndim - 1] % storage_block(w->type) != 0 ? STORAGE_F32 : w->type;
}

static size_t padded(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t bytes_of(const writing *w, const foreign_tensor *t) {
    return storage_bytes(storage_of(w, t), foreign_count(t));
}

static void put_number(gguf_builder *b, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) gguf_put_byte(b, (uint8_t)(value >> 8 * i));
}

/* Dimensions go innermost first. A scalar has one of 1; a gate of one row is a vector. */
static void put_info(gguf_builder *b, const char *name, int ndim, const int64_t *shape, storage type, uint64_t offset) {
    gguf_put_text(b, name, strlen(name));
    put_number(b, (uint64_t)(ndim ? ndim : 1), 4);
    if (ndim == 0) put_number(b, 1, 8);
    for (int i = ndim - 1; i >= 0; i--) put_number(b, (uint64_t)shape[i], 8);
    put_number(b, type_number(type), 4);
    put_number(b, offset, 8);
}

static void pad(file_writer *f) {
    static const uint8_t zeros[ALIGNMENT];
    file_write(f, zeros, padded(f->bytes) - f->bytes);
}

/* What each frequency is divided by (Llama 3.1), as llama.cpp has it. */
static float *rope_factors(const model_config *c, int *count) {
    const int dims = c->rotary.dims ? c->rotary.dims : model_config_head_dim(c);
    rotary_config plain = c->rotary;
    plain.scaling = ROTARY_UNSCALED;
    *count = c->rotary.scaling == ROTARY_LLAMA3 ? dims / 2 : 0;
    float *factors = xmalloc((size_t)(*count + 1) * sizeof *factors);
    for (int i = 0; i < *count; i++)
        factors[i] = rotary_frequency(&plain, dims, i) / rotary_frequency(&c->rotary, dims, i);
    return factors;
}

static void put_infos(writing *w, gguf_builder *b, int factors) {
    uint64_t offset = 0;
    if (factors) {
        put_info(b, "rope_freqs.weight", 1, (int64_t[]){factors}, STORAGE_F32, 0);
        offset = padded((size_t)factors * sizeof(float));
    }
    for (int i = 0; i < w->count; i++) {
        const foreign_tensor *t = &w->tensors[i];
        const bool row = t->spec.role == ROLE_SHARED_GATE;
        put_info(b, t->name, row ? 1 : t->ndim, row ? t->shape + 1 : t->shape, storage_of(w, t), offset);
        offset += padded(bytes_of(w, t));
    }
}

static status put_tensors(writing *w, const float *factors, int factor_count) {
    if (factor_count) {
        file_write(&w->file, factors, (size_t)factor_count * sizeof *factors);
        pad(&w->file);
    }
    for (int i = 0; i < w->count; i++) {
        w->out.type = storage_of(w, &w->tensors[i]);
        TRY(foreign_read(&w->tensors[i], w->w, w->naming, foreign_put, &w->out));
        pad(&w->file);
    }
    return STATUS_OK;
}

/* ---- the file ---- */

static void put_header(file_writer *f, uint64_t tensors, uint64_t values) {
    const uint32_t version = VERSION;
    file_write(f, "GGUF", 4);
    file_write(f, &version, sizeof version);
    file_write(f, &tensors, sizeof tensors);
    file_write(f, &values, sizeof values);
}

static status write_file(writing *w, const char *path, const gguf_builder *metadata, const gguf_write_options *o) {
    gguf_builder architecture = {0}, infos = {0};
    int factor_count;
    float *factors = rope_factors(&w->w->config, &factor_count);
    add_architecture(&architecture, o, &w->w->config);
    if (metadata->values == 0) gguf_add_text(&architecture, "tokenizer.ggml.model", "none"); /* else it does not load */
    put_infos(w, &infos, factor_count);
    status s = file_create(&w->file, path);
    if (s == STATUS_OK) {
        put_header(&w->file, (uint64_t)w->count + (factor_count > 0), architecture.values + metadata->values);
        file_write(&w->file, architecture.bytes, architecture.count);
        file_write(&w->file, metadata->bytes, metadata->count);
        file_write(&w->file, infos.bytes, infos.count);
        pad(&w->file);
        s = put_tensors(w, factors, factor_count);
        if (s == STATUS_OK)
            s = file_commit(&w->file);
        else
            file_abandon(&w->file);
    }
    gguf_builder_free(&architecture);
    gguf_builder_free(&infos);
    free(factors);
    return s;
}

status gguf_write(const char *path, const weight_source *from, const gguf_builder *metadata,
                  const gguf_write_options *o) {
    adapted a;
    if (!storage_can_write(o->type))
        return fail_usage("type: expected f32, f16, bf16 or q8_0, found %s", storage_name(o->type));
    TRY(adapt_to_gguf(&a, from, o->family));
    writing w = {.w = &a.weights, .naming = o->family->gguf_names, .type = o->type};
    status s = foreign_tensors(&a.weights.config, w.naming, &w.tensors, &w.count);
    for (int i = 0; i < w.count; i++) w.out.all += foreign_count(&w.tensors[i]);
    w.out.shown = progress_start("write");
    w.out.file = &w.file;
    if (s == STATUS_OK) s = write_file(&w, path, metadata, o);
    progress_end(&w.out.shown, s == STATUS_OK ? NULL : "stopped");
    free(w.tensors);
    free(w.out.bytes);
    return s;
}

/* A model's life: parameters by name, initial values, counting. The forward pass is in forward.c. */
#include "nn/model.h"

#include "base/memory.h"
#include "nn/forward.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum param_kind { VECTOR, MATRIX } param_kind;

/* Collects the first failure, so that the list of parameters reads as a list. */
typedef struct builder {
    model *m;
    status result;
} builder;

static void add(builder *b, param_kind kind, int64_t rows, int64_t cols, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* rows == 0: a vector of cols elements. */
static void add(builder *b, param_kind kind, int64_t rows, int64_t cols, const char *format, ...) {
    if (b->result != STATUS_OK) return;
    char name[128];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    int64_t shape[2] = {rows, cols};
    param *p;
    b->result = rows ? param_create(&p, b->m->k, name, 2, shape, kind == MATRIX)
                     : param_create(&p, b->m->k, name, 1, shape + 1, false);
    if (b->result == STATUS_OK) model_insert(b->m, p, b->m->param_count);
}

static void add_dense_mlp(builder *b, int layer) {
    const model_config *c = &b->m->config;
    int64_t d = c->model_dim, h = model_config_hidden(c);
    add(b, MATRIX, c->activation == ACTIVATION_SWIGLU ? 2 * h : h, d, "blocks.%d.mlp.fc.weight", layer);
    add(b, MATRIX, d, h, "blocks.%d.mlp.proj.weight", layer);
}

static void add_moe(builder *b, int layer) {
    const model_config *c = &b->m->config;
    int64_t d = c->model_dim, h = model_config_hidden(c);
    add(b, VECTOR, c->moe_num_experts, d, "blocks.%d.mlp.router.weight", layer);
    for (int e = 0; e < c->moe_num_experts; e++)
        add(b, MATRIX, c->activation == ACTIVATION_SWIGLU ? 2 * h : h, d, "blocks.%d.mlp.experts_fc.%d.weight", layer,
            e);
    for (int e = 0; e < c->moe_num_experts; e++) add(b, MATRIX, d, h, "blocks.%d.mlp.experts_proj.%d.weight", layer, e);
}

static void add_block(builder *b, int layer) {
    const model_config *c = &b->m->config;
    int64_t d = c->model_dim, kv = d / c->num_heads * c->num_kv_heads;
    add(b, MATRIX, d, d, "blocks.%d.attn.c_q.weight", layer);
    add(b, MATRIX, kv, d, "blocks.%d.attn.c_k.weight", layer);
    add(b, MATRIX, kv, d, "blocks.%d.attn.c_v.weight", layer);
    add(b, MATRIX, d, d, "blocks.%d.attn.proj.weight", layer);
    add(b, VECTOR, 0, c->num_heads, "blocks.%d.attn.q_gain", layer);
    add(b, VECTOR, 0, d, "blocks.%d.attn_scale", layer);
    if (c->moe_layers[layer])
        add_moe(b, layer);
    else
        add_dense_mlp(b, layer);
    add(b, VECTOR, 0, d, "blocks.%d.mlp_scale", layer);
    add(b, VECTOR, 2, d, "blocks.%d.resid_mix", layer);
    if (c->smear_width > 0) add(b, VECTOR, 0, c->smear_width, "blocks.%d.smear_w", layer);
}

static status add_all(model *m) {
    const model_config *c = &m->config;
    builder b = {.m = m};
    add(&b, MATRIX, c->vocab_size, c->model_dim, "tok_emb.weight");
    if (c->bigram_buckets > 0) {
        add(&b, MATRIX, c->bigram_buckets, c->bigram_dim, "bigram_emb.weight");
        add(&b, MATRIX, c->model_dim, c->bigram_dim, "bigram_proj.weight");
    }
    for (int i = 0; i < c->num_layers; i++) add_block(&b, i);
    add(&b, VECTOR, model_config_skips(c), c->model_dim, "skip_weights");
    if (c->gated_skips) add(&b, VECTOR, model_config_skips(c), c->model_dim, "skip_gates");
    if (!c->tie_embeddings) add(&b, MATRIX, c->vocab_size, c->model_dim, "lm_head.weight");
    return b.result;
}

void model_insert(model *m, param *p, int at) {
    m->params = xrealloc(m->params, (size_t)(m->param_count + 1) * sizeof *m->params);
    memmove(m->params + at + 1, m->params + at, (size_t)(m->param_count - at) * sizeof *m->params);
    m->params[at] = p;
    m->param_count++;
}

status model_create(model **out, const model_config *config, const kernels *k) {
    TRY(model_config_check(config));
    model *m = xcalloc(1, sizeof *m);
    m->config = *config;
    m->k = k;
    status s = tape_create(&m->tape, k);
    if (s == STATUS_OK) s = add_all(m);
    if (s == STATUS_OK) s = model_bind(m);
    if (s != STATUS_OK) {
        model_destroy(m);
        return s;
    }
    *out = m;
    return STATUS_OK;
}

void model_destroy(model *m) {
    if (!m) return;
    for (int i = 0; i < m->param_count; i++) param_destroy(m->params[i], m->k);
    free(m->params);
    model_unbind(m);
    tape_destroy(m->tape);
    free(m);
}

param *model_find(const model *m, const char *name) {
    for (int i = 0; i < m->param_count; i++)
        if (strcmp(m->params[i]->name, name) == 0) return m->params[i];
    return NULL;
}

int64_t model_param_total(const model *m) {
    int64_t total = 0;
    for (int i = 0; i < m->param_count; i++) total += param_count(m->params[i]);
    return total;
}

status model_refresh(model *m) {
    for (int i = 0; i < m->param_count; i++) {
        /* QAT covers what pack quantises: the matrices of blocks (embeddings are packed at more bits). */
        bool quantize = strncmp(m->params[i]->name, "blocks.", 7) == 0;
        TRY(param_refresh(m->params[i], m->k, quantize ? m->qat_levels : 0));
    }
    return STATUS_OK;
}

void model_zero_grad(model *m) {
    for (int i = 0; i < m->param_count; i++) param_zero_grad(m->params[i], m->k);
}

status model_set_looping(model *m, bool on) {
    model_config changed = m->config;
    changed.looping = on;
    TRY(model_config_check(&changed));
    m->config = changed;
    return STATUS_OK;
}

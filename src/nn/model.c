/* A model's life: its parameters, created from the list of specs, found by name, counted. The forward pass is in forward.c. */
#include "nn/model.h"

#include "base/memory.h"
#include "nn/forward.h"
#include <stdlib.h>
#include <string.h>

status model_param_create(param **out, const model *m, const param_spec *spec) {
    char name[PARAM_NAME_BYTES];
    param_spec_name(spec, name);
    TRY(param_create(out, m->k, name, spec->ndim, spec->shape, role_is_matrix(spec->role)));
    param *p = *out;
    p->role = (int)spec->role;
    p->layer = spec->layer;
    p->expert = spec->expert;
    p->derived = role_is_derived(spec->role);
    if (role_is_frozen(spec->role)) param_freeze(p, m->k);
    return STATUS_OK;
}

/* Keeps the first failure. */
typedef struct builder {
    model *m;
    status result;
} builder;

static void add(void *context, const param_spec *spec) {
    builder *b = context;
    param *p;
    if (b->result == STATUS_OK) b->result = model_param_create(&p, b->m, spec);
    if (b->result == STATUS_OK) model_insert(b->m, p, b->m->param_count);
}

static status add_all(model *m) {
    builder b = {.m = m};
    model_specs_visit(&m->config, add, &b);
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
    if (s == STATUS_OK) s = model_derive(m);
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

param *model_param(const model *m, int role, int layer, int expert) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (p->role == role && p->layer == layer && p->expert == expert) return p;
    }
    return NULL;
}

int64_t model_param_total(const model *m) {
    int64_t total = 0;
    for (int i = 0; i < m->param_count; i++)
        if (!m->params[i]->derived) total += param_count(m->params[i]);
    return total;
}

/* QAT covers what pack quantises: the matrices of blocks. Embeddings are packed at more bits, random weights not at all, and
 * low-rank corrections are small enough to stay floats. */
static bool sees_grid(const param *p) {
    return p->layer >= 0 && p->is_matrix && !p->derived && role_component(p->role) != COMPONENT_ADAPTERS;
}

status model_refresh(model *m) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        TRY(param_refresh(p, m->k, m->qat_levels > 0 && sees_grid(p) ? m->qat_levels : 0));
    }
    return STATUS_OK;
}

void model_zero_grad(model *m) {
    for (int i = 0; i < m->param_count; i++) param_zero_grad(m->params[i], m->k);
}

/* ---- settings that may change ---- */

status model_set_looping(model *m, bool on) {
    model_config changed = m->config;
    changed.loop.on = on;
    TRY(model_config_check(&changed));
    m->config = changed;
    return STATUS_OK;
}

status model_set_top_k(model *m, int top_k) {
    model_config changed = m->config;
    changed.moe.top_k = top_k;
    TRY(model_config_check(&changed));
    m->config = changed;
    return STATUS_OK;
}

/* ---- balancing without a loss ---- */

static void nudge(model *m, param *bias, float *load) {
    int E = m->config.moe.experts;
    float values[MODEL_MAX_EXPERTS], mean = 0, rate = m->config.moe.bias_rate;
    tensor_read(m->k, &bias->value, values);
    for (int e = 0; e < E; e++) mean += load[e] / (float)E;
    float rounding = 1e-5f * mean; /* of the shares' sum: an expert within it has its part */
    for (int e = 0; e < E; e++) values[e] += load[e] < mean - rounding ? rate : load[e] > mean + rounding ? -rate : 0;
    tensor_write(m->k, &bias->value, values);
    memset(load, 0, (size_t)E * sizeof *load);
}

void model_balance_experts(model *m) {
    for (int layer = 0; layer < m->config.num_layers; layer++) {
        param *bias = m->scratch->blocks[layer].router_bias;
        if (bias) nudge(m, bias, m->scratch->load[layer]);
    }
}

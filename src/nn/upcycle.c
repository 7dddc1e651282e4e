/* Upcycling (#2102; Komatsuzaki et al. 2023): a dense layer's MLP becomes E experts that start as its copies, and a router
 * that starts near indifference. */
#include "base/memory.h"
#include "base/random.h"
#include "nn/forward.h"
#include <stdio.h>
#include <stdlib.h>

static int index_of(const model *m, const param *p) {
    for (int i = 0; i < m->param_count; i++)
        if (m->params[i] == p) return i;
    return -1;
}

static status insert_copy(model *m, const char *name, const param *old, int at, model_replaced replaced,
                          void *context) {
    param *p;
    TRY(param_create(&p, m->k, name, old->value.ndim, old->value.shape, old->is_matrix));
    m->k->copy(p->value.data, old->value.data, tensor_bytes(&old->value));
    model_insert(m, p, at);
    if (replaced) replaced(context, p, old);
    return STATUS_OK;
}

static status insert_router(model *m, int layer, int experts, int at, uint64_t seed, model_replaced replaced,
                            void *context) {
    char name[128];
    snprintf(name, sizeof name, "blocks.%d.mlp.router.weight", layer);
    int64_t shape[2] = {experts, m->config.model_dim};
    param *p;
    TRY(param_create(&p, m->k, name, 2, shape, false));
    float *values = xmalloc(tensor_bytes(&p->value));
    rng r = rng_named(seed, name);
    rng_normal(&r, values, (size_t)param_count(p), 0.01f);
    m->k->upload(p->value.data, values, tensor_bytes(&p->value));
    free(values);
    model_insert(m, p, at);
    if (replaced) replaced(context, p, NULL);
    return STATUS_OK;
}

static void remove_param(model *m, param *p) {
    int at = index_of(m, p);
    for (int i = at; i + 1 < m->param_count; i++) m->params[i] = m->params[i + 1];
    m->param_count--;
    param_destroy(p, m->k);
}

static status upcycle_layer(model *m, int layer, int experts, uint64_t seed, model_replaced replaced, void *context) {
    const block *b = &m->scratch->blocks[layer];
    param *parts[2] = {b->mlp_fc, b->mlp_proj};
    const char *names[2] = {"experts_fc", "experts_proj"};
    int at = index_of(m, b->mlp_fc);
    TRY(insert_router(m, layer, experts, at++, seed, replaced, context));
    for (int i = 0; i < 2; i++) {
        for (int e = 0; e < experts; e++) {
            char name[128];
            snprintf(name, sizeof name, "blocks.%d.mlp.%s.%d.weight", layer, names[i], e);
            TRY(insert_copy(m, name, parts[i], at++, replaced, context));
        }
    }
    remove_param(m, parts[0]);
    remove_param(m, parts[1]);
    m->config.moe_layers[layer] = true;
    return STATUS_OK;
}

status model_upcycle(model *m, const bool *layers, int experts, int top_k, uint64_t seed, model_replaced replaced,
                     void *context) {
    model_config changed = m->config;
    changed.moe_num_experts = experts;
    changed.moe_top_k = top_k;
    for (int i = 0; i < m->config.num_layers; i++) {
        if (layers[i] && m->config.moe_layers[i]) return fail("upcycle: layer %d already is a mixture of experts", i);
        if (!layers[i] && m->config.moe_layers[i] && m->config.moe_num_experts != experts)
            return fail("upcycle: layer %d already has %d experts, and all mixtures of a model have the same number; "
                        "found experts %d",
                        i, m->config.moe_num_experts, experts);
        changed.moe_layers[i] = changed.moe_layers[i] || layers[i];
    }
    TRY(model_config_check(&changed));
    m->config.moe_num_experts = experts;
    m->config.moe_top_k = top_k;
    for (int i = 0; i < m->config.num_layers; i++)
        if (layers[i]) TRY(upcycle_layer(m, i, experts, seed, replaced, context));
    TRY(model_bind(m));
    return model_refresh(m);
}

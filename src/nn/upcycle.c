/* Upcycling (#2102; Komatsuzaki et al. 2023): a dense layer's MLP becomes E experts that start as its copies, and a router
 * that starts near indifference. */
#include "base/memory.h"
#include "base/random.h"
#include "nn/forward.h"
#include <stdlib.h>
#include <string.h>

/* The list of parameters as it will be, made from the new config's specs: what stays is taken over, what is new is created. */
typedef struct rebuild {
    model *m;
    param **old; /* the dense MLPs leave NULL where they were taken over or replaced */
    int old_count;
    uint64_t seed;
    model_replaced replaced;
    void *context;
    status result;
} rebuild;

static param *take_over(rebuild *r, const param_spec *spec) {
    for (int i = 0; i < r->old_count; i++) {
        param *p = r->old[i];
        if (!p || p->role != (int)spec->role || p->layer != spec->layer || p->expert != spec->expert) continue;
        r->old[i] = NULL;
        return p;
    }
    return NULL;
}

static void draw_router(const model *m, param *p, uint64_t seed) {
    float *values = xcalloc((size_t)param_count(p), sizeof *values);
    rng r = rng_named(seed, p->name);
    rng_normal(&r, values, (size_t)param_count(p), m->config.init.router_std);
    m->k->upload(p->value.data, values, tensor_bytes(&p->value));
    free(values);
}

/* The parameter that a new one starts as a copy of, or NULL. */
static const param *origin_of(const rebuild *r, const param_spec *spec) {
    const block *b = &r->m->scratch->blocks[spec->layer]; /* still bound to the dense model */
    if (spec->role == ROLE_EXPERT_FC) return b->mlp_fc;
    return spec->role == ROLE_EXPERT_PROJ ? b->mlp_proj : NULL;
}

static status create_new(rebuild *r, const param_spec *spec, param **out) {
    TRY(model_param_create(out, r->m, spec));
    const param *origin = origin_of(r, spec);
    if (origin) r->m->k->copy((*out)->value.data, origin->value.data, tensor_bytes(&origin->value));
    if (spec->role == ROLE_ROUTER) draw_router(r->m, *out, r->seed);
    if (r->replaced) r->replaced(r->context, *out, origin);
    return STATUS_OK;
}

static void rebuild_one(void *context, const param_spec *spec) {
    rebuild *r = context;
    if (r->result != STATUS_OK) return;
    param *p = take_over(r, spec);
    if (!p) r->result = create_new(r, spec, &p);
    if (r->result == STATUS_OK) model_insert(r->m, p, r->m->param_count);
}

/* On failure some layers' parameters are gone: the model can only be destroyed. */
static status rebuild_params(model *m, uint64_t seed, model_replaced replaced, void *context) {
    rebuild r = {
        .m = m, .old = m->params, .old_count = m->param_count, .seed = seed, .replaced = replaced, .context = context};
    m->params = NULL;
    m->param_count = 0;
    model_specs_visit(&m->config, rebuild_one, &r);
    for (int i = 0; i < r.old_count; i++) param_destroy(r.old[i], m->k);
    free(r.old);
    return r.result;
}

static status check_layer(const model_config *c, int layer, int experts) {
    if (model_config_is_moe(c, layer)) return fail("upcycle: layer %d already is a mixture of experts", layer);
    if (c->random_up.layers[layer])
        return fail("upcycle: layer %d has a random up-projection, which cannot be copied into experts", layer);
    if (c->moe.shared_mult > 0 || c->moe.split || c->moe.expert_mult > 0)
        return fail("upcycle: experts are copies of the MLP: expected moe_shared_mult, moe_split and moe_expert_mult "
                    "unset, found experts of %d hidden units beside %d shared",
                    model_config_expert_hidden(c), model_config_shared_hidden(c));
    for (int i = 0; i < c->num_layers; i++)
        if (model_config_is_moe(c, i) && c->moe.experts != experts)
            return fail("upcycle: layer %d already has %d experts, and all mixtures of a model have the same number; "
                        "found experts %d",
                        i, c->moe.experts, experts);
    return STATUS_OK;
}

status model_upcycle(model *m, const bool *layers, int experts, int top_k, uint64_t seed, model_replaced replaced,
                     void *context) {
    model_config changed = m->config;
    changed.moe.experts = experts;
    changed.moe.top_k = top_k;
    for (int i = 0; i < m->config.num_layers; i++) {
        if (!layers[i]) continue;
        TRY(check_layer(&m->config, i, experts));
        changed.moe.layers[i] = true;
    }
    TRY(model_config_check(&changed));
    m->config = changed;
    TRY(rebuild_params(m, seed, replaced, context));
    TRY(model_bind(m));
    return model_refresh(m);
}

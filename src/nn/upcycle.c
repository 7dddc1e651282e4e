/* Upcycling (#2102; Komatsuzaki et al. 2023): a dense layer's MLP becomes E experts that start as its copies, and a router
 * that starts near indifference. */
#include "base/memory.h"
#include "base/random.h"
#include "nn/parts.h"
#include <stdlib.h>
#include <string.h>

/* The list of parameters as it will be, made from the new config's specs: what stays is taken over, what is new is created. */
typedef struct rebuild {
    model *m;
    param **old; /* NULL where it was taken over */
    int old_count;
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

static void rebuild_one(void *context, const param_spec *spec) {
    rebuild *r = context;
    if (r->result != STATUS_OK) return;
    param *p = take_over(r, spec);
    if (!p) r->result = model_param_create(&p, r->m, spec);
    if (r->result == STATUS_OK) model_append(r->m, p);
}

/* The parameter that a new one starts as a copy of, or NULL; `old` has the dense MLPs still. */
static const param *origin_of(const rebuild *r, const param *p) {
    int role = p->role == ROLE_EXPERT_FC ? ROLE_MLP_FC : p->role == ROLE_EXPERT_PROJ ? ROLE_MLP_PROJ : ROLES;
    for (int i = 0; i < r->old_count; i++)
        if (r->old[i] && r->old[i]->role == role && r->old[i]->layer == p->layer) return r->old[i];
    return NULL;
}

static void draw_router(const model *m, param *p, uint64_t seed) {
    float *values = xcalloc((size_t)param_count(p), sizeof *values);
    rng r = rng_named(seed, p->name);
    rng_normal(&r, values, (size_t)param_count(p), m->config.init.router_std);
    tensor_write(m->k, &p->value, values);
    free(values);
}

/* Values of what is new; those of the old MLPs are still in the arena from before. */
static void fill_new(const rebuild *r, const bool *is_new, uint64_t seed, model_replaced replaced, void *context) {
    for (int i = 0; i < r->m->param_count; i++) {
        param *p = r->m->params[i];
        if (!is_new[i]) continue;
        const param *origin = origin_of(r, p);
        if (origin && !p->away) r->m->k->copy(p->value.data, origin->value.data, tensor_bytes(&origin->value));
        if (p->role == ROLE_ROUTER) draw_router(r->m, p, seed);
        if (replaced) replaced(context, p, origin);
    }
}

/* The new list in new arenas. The old arenas stay until what is new was copied out of them. */
static status rebuild_params(model *m, uint64_t seed, model_replaced replaced, void *context) {
    rebuild r = {.m = m, .old = m->params, .old_count = m->param_count};
    arena values = m->values, gradients = m->gradients;
    m->params = NULL;
    m->param_count = 0;
    model_specs_visit(&m->config, rebuild_one, &r);
    bool *is_new = xcalloc((size_t)m->param_count + 1, sizeof *is_new);
    for (int i = 0; i < m->param_count; i++) is_new[i] = m->params[i]->offset < 0;
    m->values = m->gradients = (arena){0};
    if (r.result == STATUS_OK) r.result = model_place(m);
    if (r.result == STATUS_OK) fill_new(&r, is_new, seed, replaced, context);
    for (int i = 0; i < r.old_count; i++) param_destroy(r.old[i], m->k);
    arena_destroy(&values);
    arena_destroy(&gradients);
    free(is_new);
    free(r.old);
    return r.result;
}

static status check_layer(const model_config *c, int layer, int experts) {
    if (model_config_is_moe(c, layer)) return fail("upcycle: layer %d already is a mixture of experts", layer);
    if (c->random_up.layers[layer])
        return fail("upcycle: layer %d has a random up-projection, which cannot be copied into experts", layer);
    if (!model_config_experts_are_copies(c))
        return fail(
            "upcycle: experts are copies of the MLP: expected them of its %d hidden units, unsplit and beside 0 "
            "shared ones, found %d%s beside %d",
            model_config_hidden(c), model_config_expert_hidden(c), c->moe.split ? " (moe_split)" : "",
            model_config_shared_hidden(c));
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

/* The list of specs to pointers: the forward pass finds its parameters here instead of searching for them. */
#include "base/memory.h"
#include "nn/parts.h"
#include <stdlib.h>
#include <string.h>

/* Where a role's pointer lives in a block; the roles outside of blocks and of experts are in slot_of. */
static const size_t block_slots[ROLES] = {
    [ROLE_ATTN_NORM] = offsetof(block, attn_norm),
    [ROLE_C_Q] = offsetof(block, q.weight),
    [ROLE_C_K] = offsetof(block, k.weight),
    [ROLE_C_V] = offsetof(block, v.weight),
    [ROLE_C_Q_BIAS] = offsetof(block, q.bias),
    [ROLE_C_K_BIAS] = offsetof(block, k.bias),
    [ROLE_C_V_BIAS] = offsetof(block, v.bias),
    [ROLE_ATTENTION_PROJ] = offsetof(block, proj.weight),
    [ROLE_ATTENTION_PROJ_BIAS] = offsetof(block, proj.bias),
    [ROLE_Q_NORM] = offsetof(block, q_norm),
    [ROLE_K_NORM] = offsetof(block, k_norm),
    [ROLE_Q_GAIN] = offsetof(block, q_gain),
    [ROLE_ATTN_SCALE] = offsetof(block, attn_scale),
    [ROLE_MLP_NORM] = offsetof(block, mlp_norm),
    [ROLE_MLP_SCALE] = offsetof(block, mlp_scale),
    [ROLE_RESID_MIX] = offsetof(block, resid_mix),
    [ROLE_SMEAR_W] = offsetof(block, smear_w),
    [ROLE_MLP_FC] = offsetof(block, dense.fc.weight),
    [ROLE_MLP_PROJ] = offsetof(block, dense.proj.weight),
    [ROLE_MLP_FC_BIAS] = offsetof(block, dense.fc.bias),
    [ROLE_MLP_PROJ_BIAS] = offsetof(block, dense.proj.bias),
    [ROLE_ROUTER] = offsetof(block, router),
    [ROLE_ROUTER_BIAS] = offsetof(block, router_bias),
    [ROLE_SHARED_FC] = offsetof(block, shared.fc.weight),
    [ROLE_SHARED_PROJ] = offsetof(block, shared.proj.weight),
    [ROLE_SHARED_GATE] = offsetof(block, shared_gate),
    [ROLE_RANDOM_WEIGHT] = offsetof(block, random.weight),
    [ROLE_ADAPTER_GAIN] = offsetof(block, adapter_gain),
    [ROLE_ADAPTER_ROUTER] = offsetof(block, adapter_router),
    [ROLE_ADAPTER_DOWN] = offsetof(block, adapter_down.weight),
    [ROLE_ADAPTER_UP] = offsetof(block, adapter_up.weight),
};

static param **slot_of(model_parts *s, const param_spec *spec) {
    switch (spec->role) {
    case ROLE_TOK_EMB:
        return &s->tok_emb;
    case ROLE_BIGRAM_TABLE:
        return &s->bigram.table;
    case ROLE_BIGRAM_PROJ:
        return &s->bigram.proj.weight;
    case ROLE_BIGRAM_SCALE:
        return &s->bigram.scale;
    case ROLE_TRIGRAM_TABLE:
        return &s->trigram.table;
    case ROLE_TRIGRAM_PROJ:
        return &s->trigram.proj.weight;
    case ROLE_TRIGRAM_SCALE:
        return &s->trigram.scale;
    case ROLE_SKIP_WEIGHTS:
        return &s->skip_weights;
    case ROLE_SKIP_GATES:
        return &s->skip_gates;
    case ROLE_SMEAR_GATE:
        return &s->smear_gate;
    case ROLE_FINAL_NORM:
        return &s->final_norm;
    case ROLE_HEAD:
        return &s->head.weight;
    case ROLE_EXPERT_FC:
        return &s->blocks[spec->layer].experts[spec->expert].fc.weight;
    case ROLE_EXPERT_PROJ:
        return &s->blocks[spec->layer].experts[spec->expert].proj.weight;
    default:
        return (param **)((char *)&s->blocks[spec->layer] + block_slots[spec->role]);
    }
}

typedef struct binder {
    model *m;
    int next; /* index of the parameter that the next spec describes */
    status result;
} binder;

static void bind_one(void *context, const param_spec *spec) {
    binder *b = context;
    if (b->result != STATUS_OK) return;
    param *p = b->next < b->m->param_count ? b->m->params[b->next++] : NULL;
    if (!p || p->role != (int)spec->role || p->layer != spec->layer || p->expert != spec->expert)
        b->result = fail("the model's parameters are out of order: expected %s, found %s", role_pattern(spec->role),
                         p ? p->name : "the list's end");
    else
        *slot_of(b->m->parts, spec) = p;
}

static void plan_block(block *b, const model_config *c, int layer) {
    b->plan = model_plan(c, layer);
    const mlp_plan *p = &b->plan.mlp;
    b->dense.f = b->shared.f = p->activation;
    if (p->kind != MLP_EXPERTS) return;
    b->experts = xcalloc((size_t)p->experts, sizeof *b->experts);
    for (int e = 0; e < p->experts; e++) b->experts[e].f = p->activation;
}

static void free_blocks(model_parts *s) {
    for (int i = 0; i < s->layers; i++) free(s->blocks[i].experts);
    free(s->blocks);
}

status model_bind(model *m) {
    const model_config *c = &m->config;
    rotary *turns = m->parts ? m->parts->rotary : NULL; /* no event changes it */
    if (!turns) TRY(rotary_create(&turns, m->k, &c->rotary, model_config_head_dim(c)));
    if (m->parts) free_blocks(m->parts);
    free(m->parts);
    model_parts *s = m->parts = xcalloc(1, sizeof *s);
    s->rotary = turns;
    s->layers = c->num_layers;
    s->blocks = xcalloc((size_t)c->num_layers, sizeof *s->blocks);
    s->path = model_path(c);
    for (int i = 0; i < c->num_layers; i++) plan_block(&s->blocks[i], c, i);
    binder b = {.m = m};
    model_specs_visit(c, bind_one, &b);
    if (c->head.tied) s->head.weight = s->tok_emb;
    return b.result;
}

void model_unbind(model *m) {
    if (!m->parts) return;
    free_blocks(m->parts);
    rotary_destroy(m->parts->rotary);
    free(m->parts);
    m->parts = NULL;
}

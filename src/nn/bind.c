/* The list of specs to pointers: the forward pass finds its parameters here instead of searching for them. */
#include "base/memory.h"
#include "nn/forward.h"
#include <stdlib.h>
#include <string.h>

/* Where a role's pointer lives in a block; the roles outside of blocks are in slot_of. */
static const size_t block_slots[ROLES] = {
    [ROLE_C_Q] = offsetof(block, c_q),
    [ROLE_C_K] = offsetof(block, c_k),
    [ROLE_C_V] = offsetof(block, c_v),
    [ROLE_ATTENTION_PROJ] = offsetof(block, proj),
    [ROLE_Q_GAIN] = offsetof(block, q_gain),
    [ROLE_ATTN_SCALE] = offsetof(block, attn_scale),
    [ROLE_MLP_SCALE] = offsetof(block, mlp_scale),
    [ROLE_RESID_MIX] = offsetof(block, resid_mix),
    [ROLE_SMEAR_W] = offsetof(block, smear_w),
    [ROLE_MLP_FC] = offsetof(block, mlp_fc),
    [ROLE_MLP_PROJ] = offsetof(block, mlp_proj),
    [ROLE_ROUTER] = offsetof(block, router),
    [ROLE_ROUTER_BIAS] = offsetof(block, router_bias),
    [ROLE_EXPERT_FC] = offsetof(block, experts_fc),
    [ROLE_EXPERT_PROJ] = offsetof(block, experts_proj),
    [ROLE_SHARED_FC] = offsetof(block, shared_fc),
    [ROLE_SHARED_PROJ] = offsetof(block, shared_proj),
    [ROLE_RANDOM_WEIGHT] = offsetof(block, random_weight),
    [ROLE_ADAPTER_GAIN] = offsetof(block, adapter_gain),
    [ROLE_ADAPTER_ROUTER] = offsetof(block, adapter_router),
    [ROLE_ADAPTER_DOWN] = offsetof(block, adapter_down),
    [ROLE_ADAPTER_UP] = offsetof(block, adapter_up),
};

static param **slot_of(struct model_scratch *s, const param_spec *spec) {
    switch (spec->role) {
    case ROLE_TOK_EMB:
        return &s->tok_emb;
    case ROLE_BIGRAM_TABLE:
        return &s->bigram.table;
    case ROLE_BIGRAM_PROJ:
        return &s->bigram.proj;
    case ROLE_BIGRAM_SCALE:
        return &s->bigram.scale;
    case ROLE_TRIGRAM_TABLE:
        return &s->trigram.table;
    case ROLE_TRIGRAM_PROJ:
        return &s->trigram.proj;
    case ROLE_TRIGRAM_SCALE:
        return &s->trigram.scale;
    case ROLE_SKIP_WEIGHTS:
        return &s->skip_weights;
    case ROLE_SKIP_GATES:
        return &s->skip_gates;
    case ROLE_SMEAR_GATE:
        return &s->smear_gate;
    case ROLE_HEAD:
        return &s->head;
    default: {
        param **first = (param **)((char *)&s->blocks[spec->layer] + block_slots[spec->role]);
        return first + (spec->expert < 0 ? 0 : spec->expert);
    }
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
        *slot_of(b->m->scratch, spec) = p;
}

status model_bind(model *m) {
    if (!m->scratch) m->scratch = xcalloc(1, sizeof *m->scratch);
    struct model_scratch *s = m->scratch;
    memset(s->blocks, 0, sizeof s->blocks);
    binder b = {.m = m};
    model_specs_visit(&m->config, bind_one, &b);
    if (m->config.head.tied) s->head = s->tok_emb;
    return b.result;
}

void model_unbind(model *m) {
    if (!m->scratch) return;
    struct model_scratch *s = m->scratch;
    int32_t *arrays[] = {s->ids, s->bigram.ids, s->trigram.ids, s->targets, s->first};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) m->k->release(arrays[i]);
    free(s->host);
    free(s);
    m->scratch = NULL;
}

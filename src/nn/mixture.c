/* The kinds of MLP that a block can have: dense, experts (with or without a shared MLP beside them), and a frozen random
 * up-projection. */
#include "base/memory.h"
#include "nn/pass_state.h"
#include <math.h>
#include <stdlib.h>

/* Noise is a function of the tokens (FNV-1a) and the place in the path: a resumed run draws the same without any state to
 * keep. */
static uint64_t noise_seed(const pass *p, const pass_input *in) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (int64_t n = 0; n < in->batch * in->length; n++) hash = (hash ^ (uint32_t)in->ids[n]) * 0x100000001b3u;
    return hash + (uint64_t)p->entry;
}

static void show_choice(void *context, const moe_choice *choice) {
    const pass *p = context;
    const forward_path *path = &p->m->parts->path;
    p->routing_observer(p->routing_context, path->layer[p->entry], path->pass[p->entry], choice);
}

static moe_args args_of(pass *p, const block *b, const pass_input *in) {
    const moe_config *c = &p->m->config.moe;
    const int top_k = b->plan.mlp.top_k;
    float weight = in->loss_weight * pass_router_weight(p, p->entry);
    return (moe_args){.experts = b->plan.mlp.experts,
                      .top_k = p->mask && p->most_allowed < top_k ? p->most_allowed : top_k,
                      .gate = c->gate,
                      .pass = p->m->parts->path.pass[p->entry],
                      .aux_weight = c->aux_weight * weight,
                      .z_weight = c->z_weight * weight,
                      .noise_std = c->noise_std,
                      .noise_seed = c->noise_std > 0 ? noise_seed(p, in) : 0,
                      .bias = b->router_bias,
                      .labels = p->labelled ? p->labels : NULL,
                      .label_weight = in->loss_weight * pass_label_weight(p, p->entry),
                      .by_label = p->label.overrule,
                      .label_sums = pass_label_sums(p, p->entry),
                      .mask = p->mask,
                      .rows_a_mask = p->mask_rows == 1 ? in->batch * in->length : in->length,
                      .sums = pass_sums(p, p->entry),
                      .observer = p->routing_observer ? show_choice : NULL,
                      .observer_context = p};
}

/* y = Σ_e gate_e · expert_e(n) [+ shared(n), or its gated value] */
static var *experts(pass *p, const block *b, var *n, const pass_input *in) {
    moe_args args = args_of(p, b, in);
    var *y = op_moe(p->tape, n, b->router, b->experts, &args);
    if (!b->shared.fc.weight) return y;
    var *shared = op_mlp(p->tape, n, &b->shared, args.pass);
    if (b->shared_gate) shared = op_sigmoid_gate(p->tape, shared, n, b->shared_gate);
    return op_add(p->tape, y, shared);
}

/* #1692: u = R n, u ← a ⊙ u, chunk e × softmax(W_r n)_e, u ← u + U(V n); y = f(u) projᵀ */
static var *random_up(const pass *p, const block *b, var *n, int number) {
    tape *t = p->tape;
    var *u = op_linear(t, n, &b->random, number);
    if (b->adapter_gain || b->adapter_router) u = op_chunk_gate(t, u, b->adapter_gain, n, b->adapter_router);
    if (b->adapter_down.weight)
        u = op_add(t, u, op_linear(t, op_linear(t, n, &b->adapter_down, number), &b->adapter_up, number));
    return op_linear(t, op_activate(t, u, b->plan.mlp.activation), &b->dense.proj, number);
}

status pass_allow_experts(pass *p, const bool *allowed, int64_t sequences) {
    const kernels *k = p->m->k;
    const int E = p->m->config.moe.experts;
    k->release(p->mask);
    p->mask = NULL;
    if (!allowed) return STATUS_OK;
    float *mask = xmalloc((size_t)(sequences * E) * sizeof *mask);
    p->mask_rows = sequences;
    p->most_allowed = 0;
    bool whole = true;
    for (int64_t s = 0; s < sequences; s++) {
        int count = 0;
        for (int e = 0; e < E; e++) {
            mask[s * E + e] = allowed[s * E + e] ? 0 : -INFINITY;
            count += allowed[s * E + e];
        }
        whole = whole && count > 0;
        if (count > p->most_allowed) p->most_allowed = count;
    }
    status result = whole ? k->alloc((void **)&p->mask, (size_t)(sequences * E) * sizeof *mask)
                          : fail_usage("experts: expected at least one that may be chosen, found none");
    if (result == STATUS_OK) k->upload(p->mask, mask, (size_t)(sequences * E) * sizeof *mask);
    free(mask);
    return result;
}

var *pass_mlp(pass *p, const block *b, var *n, const pass_input *in) {
    int number = p->m->parts->path.pass[p->entry];
    switch (b->plan.mlp.kind) {
    case MLP_EXPERTS:
        return experts(p, b, n, in);
    case MLP_RANDOM_UP:
        return random_up(p, b, n, number);
    default:
        return op_mlp(p->tape, n, &b->dense, number);
    }
}

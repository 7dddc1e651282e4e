/* The kinds of MLP that a block can have: dense, experts (with or without a shared MLP beside them), and a frozen random
 * up-projection. */
#include "base/memory.h"
#include "nn/hot_experts.h"
#include "nn/pass_state.h"
#include "nn/spread.h"
#include <math.h>
#include <stdlib.h>

/* Noise is a function of the tokens (FNV-1a) and the place in the path: a resumed run draws the same without any state to
 * keep. */
static uint64_t noise_seed(const pass *p, const pass_input *in) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (int64_t n = 0; n < input_rows(in); n++) hash = (hash ^ (uint32_t)in->ids[n]) * 0x100000001b3u;
    return hash + (uint64_t)p->entry;
}

static void show_choice(void *context, const moe_choice *choice) {
    const pass *p = context;
    const forward_path *path = &p->m->parts->path;
    p->routing_observer(p->routing_context, path->layer[p->entry], path->pass[p->entry], choice);
}

/* Token by token. */
static void take_control(moe_args *args, const controlled_experts *c, int layer) {
    args->mask = c->mask;
    args->rows_a_mask = 1;
    args->most = c->most + layer * c->rows;
    args->top_k = c->most_of_any[layer];
}

static moe_args args_of(pass *p, const block *b, const pass_input *in) {
    const moe_config *c = &p->m->config.moe;
    const int top_k = b->plan.mlp.top_k;
    float weight = in->loss_weight * pass_router_weight(p, p->entry);
    moe_args args = {.experts = b->plan.mlp.experts,
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
                     .rows_a_mask = p->mask_rows == 1 ? input_rows(in) : in->length,
                     .sums = pass_sums(p, p->entry),
                     .residency = hot_experts_of(p->m, b->plan.layer),
                     .observer = p->routing_observer ? show_choice : NULL,
                     .observer_context = p,
                     .ranks = spread_is_on(p->m) ? &p->m->spread : NULL};
    if (p->controlled.on) take_control(&args, &p->controlled, b->plan.layer);
    return args;
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

/* ---- a control for each sequence ---- */

static status reserve_control(controlled_experts *c, const model *m, int64_t rows) {
    const kernels *k = m->k;
    if (rows <= c->capacity) return STATUS_OK;
    k->release(c->mask);
    k->release(c->most);
    c->mask = NULL;
    c->most = NULL;
    c->capacity = 0;
    TRY(k->alloc((void **)&c->mask, (size_t)(rows * m->config.moe.experts) * sizeof *c->mask));
    TRY(k->alloc((void **)&c->most, (size_t)(rows * m->config.num_layers) * sizeof *c->most));
    if (!c->most_of_any) c->most_of_any = xcalloc((size_t)m->config.num_layers, sizeof *c->most_of_any);
    c->capacity = rows;
    return STATUS_OK;
}

int expert_control_top_k(const expert_control *c, int layer, int usual, int experts) {
    int allowed = experts, k = c && c->layer_top_k ? c->layer_top_k[layer] : 0;
    if (!c) return usual;
    if (k <= 0) k = c->top_k > 0 ? c->top_k : usual;
    if (c->allowed)
        for (int e = 0; e < experts; e++) allowed -= !c->allowed[e];
    return k < allowed ? k : allowed;
}

/* What sequence b's tokens may do, into host arrays of the same shape as the device's. */
static void put_control(const pass *p, const pass_input *in, int64_t b, float *mask, int32_t *most) {
    const model_config *config = &p->m->config;
    const int E = config->moe.experts;
    const expert_control *c = in->experts[b];
    const int64_t from = input_start(in, b), end = input_start(in, b + 1), rows = input_rows(in);
    for (int64_t n = from; n < end; n++)
        for (int e = 0; e < E; e++) mask[n * E + e] = c && c->allowed && !c->allowed[e] ? -INFINITY : 0;
    for (int layer = 0; layer < config->num_layers; layer++) {
        const mlp_plan *plan = &p->m->parts->blocks[layer].plan.mlp;
        const int k = plan->kind == MLP_EXPERTS ? expert_control_top_k(c, layer, plan->top_k, E) : 0;
        for (int64_t n = from; n < end; n++) most[layer * rows + n] = k;
        if (k > p->controlled.most_of_any[layer]) p->controlled.most_of_any[layer] = k;
    }
}

status pass_control_experts(pass *p, const pass_input *in) {
    const model_config *config = &p->m->config;
    const int64_t rows = input_rows(in);
    controlled_experts *c = &p->controlled;
    c->on = false;
    for (int64_t b = 0; in->experts && b < in->batch; b++) c->on = c->on || in->experts[b];
    if (!c->on) return STATUS_OK;
    TRY(reserve_control(c, p->m, rows));
    c->rows = rows;
    for (int layer = 0; layer < config->num_layers; layer++) c->most_of_any[layer] = 0;
    const size_t masks = (size_t)(rows * config->moe.experts), counts = (size_t)(rows * config->num_layers);
    float *mask = xmalloc(masks * sizeof *mask);
    int32_t *most = xmalloc(counts * sizeof *most);
    for (int64_t b = 0; b < in->batch; b++) put_control(p, in, b, mask, most);
    p->m->k->upload(c->mask, mask, masks * sizeof *mask);
    p->m->k->upload(c->most, most, counts * sizeof *most);
    free(mask);
    free(most);
    return STATUS_OK;
}

void pass_free_control(pass *p) {
    p->m->k->release(p->controlled.mask);
    p->m->k->release(p->controlled.most);
    free(p->controlled.most_of_any);
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

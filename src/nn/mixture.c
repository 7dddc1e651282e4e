/* The kinds of MLP that a block can have: dense, experts (with or without a shared MLP beside them), and a frozen random
 * up-projection. */
#include "nn/forward.h"

static moe_args args_of(const model *m, const block *p, const routing_pass *pass) {
    const model_config *c = &m->config;
    return (moe_args){.experts = c->moe.experts,
                      .top_k = c->moe.top_k,
                      .gate = c->moe.gate,
                      .f = c->mlp.activation,
                      .aux_weight = c->moe.aux_weight * pass->loss_weight,
                      .z_weight = c->moe.z_weight * pass->loss_weight,
                      .noise_std = c->moe.noise_std,
                      .noise_seed = pass->noise_seed,
                      .bias = p->router_bias,
                      .observer = m->observer,
                      .observer_context = m->observer_context};
}

/* y = Σ_e gate_e · expert_e(n) [+ shared(n)] */
static var *experts(model *m, int layer, var *n, const routing_pass *pass) {
    const model_config *c = &m->config;
    const block *p = &m->scratch->blocks[layer];
    moe_args args = args_of(m, p, pass);
    moe_stats *stats = &m->routing[m->routing_count];
    m->routing_layer[m->routing_count++] = layer;
    var *y = op_moe(m->tape, n, p->router, p->experts_fc, p->experts_proj, &args, stats);
    if (!y) return NULL;
    m->aux += (double)c->moe.aux_weight * stats->aux * (double)pass->loss_weight;
    m->aux += (double)c->moe.z_weight * stats->z * (double)pass->loss_weight;
    for (int e = 0; tape_recording(m->tape) && e < c->moe.experts; e++) m->scratch->load[layer][e] += stats->share[e];
    if (!p->shared_fc) return y;
    return op_add(m->tape, y, op_mlp(m->tape, n, p->shared_fc, p->shared_proj, c->mlp.activation));
}

/* #1692: u = R n, u ← a ⊙ u, chunk e × softmax(W_r n)_e, u ← u + U(V n); y = f(u) projᵀ */
static var *random_up(model *m, const block *p, var *n) {
    tape *t = m->tape;
    var *u = op_linear(t, n, p->random_weight);
    if (p->adapter_gain || p->adapter_router) u = op_chunk_gate(t, u, p->adapter_gain, n, p->adapter_router);
    if (p->adapter_down) u = op_add(t, u, op_linear(t, op_linear(t, n, p->adapter_down), p->adapter_up));
    return op_linear(t, op_activate(t, u, m->config.mlp.activation), p->mlp_proj);
}

var *model_mlp(model *m, int layer, var *n, const routing_pass *pass) {
    const block *p = &m->scratch->blocks[layer];
    if (p->router) return experts(m, layer, n, pass);
    if (p->random_weight) return random_up(m, p, n);
    return op_mlp(m->tape, n, p->mlp_fc, p->mlp_proj, m->config.mlp.activation);
}

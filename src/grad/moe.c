/* A mixture of experts. Tokens are grouped by expert, so that each expert multiplies only its own rows, forward and
 * backward. Soft MoE is the same with top_k = experts and probability gates. */
#include "grad/mlp.h"

#include <string.h>

/* A group's row count is rounded up, so that few distinct product shapes occur; not where there are but a few rows. */
static int64_t group_align(int64_t pairs) {
    return pairs < 64 ? 1 : 16;
}

typedef struct moe_op {
    var *x, *y;
    param *router;
    param *fc[64], *proj[64];
    moe_args args;
    float *probs;           /* [N, E] */
    float *gates;           /* [N, k] */
    int32_t *chosen, *slot; /* [N, k] */
    int32_t *source;        /* [R] */
    void *rows, *u, *out;   /* [R, d], [R, fc's outputs], [R, d]: the experts' inputs, hidden values and outputs */
    int64_t start[65];
    float dprobs[64]; /* d balance loss / d probs[n, e], the same for every n */
} moe_op;

static int64_t group_rows(const moe_op *op, int64_t e) {
    return op->start[e + 1] - op->start[e];
}

static mlp expert(const moe_op *op, int64_t e) {
    return (mlp){.fc = op->fc[e], .proj = op->proj[e], .f = op->args.f};
}

/* Router, choice, gates and the grouping of rows. Returns false when memory is out. */
static bool route(tape *t, moe_op *op, int64_t N, int64_t d, int64_t *counts) {
    const kernels *k = tape_kernels(t);
    int64_t E = op->args.experts, pairs = N * op->args.top_k, align = group_align(pairs);
    op->probs = tape_alloc(t, (size_t)(N * E) * sizeof(float));
    op->gates = tape_alloc(t, (size_t)pairs * sizeof(float));
    op->chosen = tape_alloc(t, (size_t)pairs * sizeof(int32_t));
    op->slot = tape_alloc(t, (size_t)pairs * sizeof(int32_t));
    op->source = tape_alloc(t, (size_t)(pairs + E * align) * sizeof(int32_t));
    if (!op->probs || !op->gates || !op->chosen || !op->slot || !op->source) return false;
    k->router(NULL, op->probs, op->x->value.data, param_values(op->router), N, d, E);
    k->top_k(op->chosen, op->probs, NULL, N, E, op->args.top_k);
    k->gate(op->gates, op->probs, op->chosen, op->args.gate == GATE_RENORMALIZED, N, E, op->args.top_k);
    k->group(op->slot, op->source, counts, op->start, op->chosen, N, op->args.top_k, E, align);
    return true;
}

/* Balance loss of the Switch Transformer (Fedus et al. 2021): E · Σ_e f_e p̄_e; only p̄ has a gradient: E f_e / N. */
static void balance(tape *t, moe_op *op, const int64_t *counts, int64_t N, moe_stats *stats) {
    int64_t E = op->args.experts;
    double mean_probs[64], entropy, aux = 0;
    tape_kernels(t)->routing_statistics(mean_probs, &entropy, op->probs, N, E);
    for (int64_t e = 0; e < E; e++) {
        double share = N > 0 ? (double)counts[e] / (double)(N * op->args.top_k) : 0;
        aux += (double)E * share * mean_probs[e];
        op->dprobs[e] = N > 0 ? (float)(op->args.aux_weight * (double)E * share / (double)N) : 0;
        if (stats) stats->share[e] = (float)share;
    }
    if (!stats) return;
    stats->experts = (int)E;
    stats->entropy = (float)entropy;
    stats->aux = aux;
}

static void run_experts(tape *t, moe_op *op, int64_t d) {
    int64_t wide = op->fc[0]->matrix.rows;
    for (int64_t e = 0; e < op->args.experts; e++) {
        mlp m = expert(op, e);
        int64_t at = op->start[e], n = group_rows(op, e);
        if (n == 0) continue;
        mlp_forward(t, &m, act_at(t, op->out, at * d), op->u ? act_at(t, op->u, at * wide) : NULL,
                    act_at(t, op->rows, at * d), n);
    }
}

static void free_saved(tape *t, moe_op *op) {
    void *saved[] = {op->probs, op->gates, op->chosen, op->slot, op->source, op->rows, op->u, op->out};
    for (size_t i = 0; i < sizeof saved / sizeof *saved; i++) tape_free(t, saved[i]);
}

static void moe_backward(tape *t, void *record) {
    moe_op *op = record;
    const kernels *k = tape_kernels(t);
    int64_t E = op->args.experts, N = tensor_rows(&op->x->value), d = tensor_cols(&op->x->value), R = op->start[E];
    int64_t wide = op->fc[0]->matrix.rows;
    void *drows = tape_alloc(t, act_bytes(t, R * d));
    float *dgates = tape_alloc(t, (size_t)(N * op->args.top_k) * sizeof(float));
    float *dlogits = tape_alloc(t, (size_t)(N * E) * sizeof(float));
    if (!drows || !dgates || !dlogits) return;
    k->combine_backward(drows, dgates, op->y->grad, op->out, op->gates, op->slot, op->source, op->args.top_k, N, R, d);
    /* d rows overwrites d out, expert by expert: mlp_backward reads its dy chunk before it writes the dx chunk. */
    for (int64_t e = 0; e < E; e++) {
        int64_t at = op->start[e], n = group_rows(op, e);
        if (n == 0) continue;
        mlp m = expert(op, e);
        void *dy = act_at(t, drows, at * d);
        mlp_backward(t, &m, (grad_out){.data = dy}, dy, act_at(t, op->rows, at * d), act_at(t, op->u, at * wide), n);
    }
    k->gather_backward(tape_grad(t, op->x), drows, op->slot, op->args.top_k, N, d);
    k->gate_backward(dlogits, dgates, op->dprobs, op->probs, op->chosen, op->args.gate == GATE_RENORMALIZED, N, E,
                     op->args.top_k);
    k->router_backward(tape_grad(t, op->x), param_grad(op->router), dlogits, op->x->value.data,
                       param_values(op->router), N, d, E);
    tape_free(t, drows);
    tape_free(t, dgates);
    tape_free(t, dlogits);
    free_saved(t, op);
}

var *op_moe(tape *t, var *x, param *router, param *const *fc, param *const *proj, const moe_args *args,
            moe_stats *stats) {
    if (!x) return NULL;
    const kernels *k = tape_kernels(t);
    int64_t N = tensor_rows(&x->value), d = tensor_cols(&x->value), counts[64] = {0};
    moe_op op = {.x = x, .router = router, .args = *args};
    memcpy(op.fc, fc, (size_t)args->experts * sizeof *fc);
    memcpy(op.proj, proj, (size_t)args->experts * sizeof *proj);
    op.y = new_matrix(t, N, d);
    if (!op.y || !route(t, &op, N, d, counts)) return NULL;
    int64_t R = op.start[args->experts];
    op.rows = tape_alloc(t, act_bytes(t, R * d));
    op.out = tape_alloc(t, act_bytes(t, R * d));
    if (tape_recording(t)) op.u = tape_alloc(t, act_bytes(t, R * fc[0]->matrix.rows));
    if (!op.rows || !op.out || (tape_recording(t) && !op.u)) return NULL;
    k->gather(op.rows, x->value.data, op.source, args->top_k, R, d);
    balance(t, &op, counts, N, stats);
    run_experts(t, &op, d);
    k->combine(op.y->value.data, op.out, op.gates, op.slot, args->top_k, N, d);
    moe_op *saved = tape_record(t, sizeof op, moe_backward, op.y);
    if (saved)
        *saved = op;
    else
        free_saved(t, &op);
    return op.y;
}

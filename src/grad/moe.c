/* A mixture of experts. Tokens are grouped by expert, so that each expert multiplies only its own rows, forward and
 * backward. Where every token goes to every expert (soft gates; straight-through ones while recording, whose router learns
 * from all outputs) the groups are the tokens themselves, and nothing is gathered. */
#include "grad/mlp.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_EXPERTS = 64 };

/* A group's row count is rounded up, so that few distinct product shapes occur; not where there are but a few rows. */
static int64_t group_align(int64_t pairs) {
    return pairs < 64 ? 1 : 16;
}

typedef struct moe_op {
    var *x, *y;
    param *router;
    param *fc[MOST_EXPERTS], *proj[MOST_EXPERTS];
    moe_args args;
    bool all;               /* every token to every expert */
    int k;                  /* experts a token goes to */
    float *logits, *probs;  /* [N, E]; logits only where something needs them */
    float *gates;           /* [N, k] */
    int32_t *chosen, *slot; /* [N, k] */
    int32_t *source;        /* [R] */
    void *rows, *u, *out; /* [R, d], [R, fc's outputs], [R, d]: the experts' inputs (NULL: x), hidden values, outputs */
    int64_t start[MOST_EXPERTS + 1];
    float dprobs[MOST_EXPERTS]; /* d balance loss / d probs[n, e], the same for every n */
} moe_op;

/* How often an expert was chosen at all, and how often first. */
typedef struct choice_counts {
    int64_t pairs[MOST_EXPERTS], first[MOST_EXPERTS];
} choice_counts;

static int64_t group_rows(const moe_op *op, int64_t e) {
    return op->start[e + 1] - op->start[e];
}

static mlp expert(const moe_op *op, int64_t e) {
    return (mlp){.fc = op->fc[e], .proj = op->proj[e], .f = op->args.f};
}

/* The rows that expert e reads. */
static void *expert_rows(tape *t, const moe_op *op, int64_t e) {
    if (!op->rows) return tape_value(t, op->x);
    return act_at(t, op->rows, op->start[e] * tensor_cols(&op->x->value));
}

/* Top-1 keeps its probability: divided by itself it would be 1, and the router would learn nothing. */
static bool renormalizes(const moe_op *op) {
    return op->args.gate == GATE_RENORMALIZED && op->k > 1;
}

/* ---- forward ---- */

static bool alloc_routing(tape *t, moe_op *op, int64_t N, int64_t E) {
    int64_t pairs = N * op->k;
    bool logits = op->args.z_weight > 0 || (op->args.noise_std > 0 && tape_recording(t));
    op->logits = logits ? tape_alloc(t, (size_t)(N * E) * sizeof(float)) : NULL;
    op->probs = tape_alloc(t, (size_t)(N * E) * sizeof(float));
    op->gates = tape_alloc(t, (size_t)pairs * sizeof(float));
    op->chosen = tape_alloc(t, (size_t)pairs * sizeof(int32_t));
    op->slot = tape_alloc(t, (size_t)pairs * sizeof(int32_t));
    op->source = tape_alloc(t, (size_t)(pairs + E * group_align(pairs)) * sizeof(int32_t));
    return (op->logits || !logits) && op->probs && op->gates && op->chosen && op->slot && op->source;
}

static void score(tape *t, moe_op *op, int64_t N, int64_t d) {
    const kernels *k = tape_kernels(t);
    int64_t E = op->args.experts;
    k->router(op->logits, op->probs, tape_value(t, op->x), param_values(op->router), N, d, E);
    if (op->args.noise_std > 0 && tape_recording(t))
        k->router_noise(op->logits, op->probs, op->args.noise_std, op->args.noise_seed, N, E);
}

static void choose_some(tape *t, moe_op *op, int64_t N, choice_counts *counts) {
    const kernels *k = tape_kernels(t);
    int64_t E = op->args.experts;
    /* A straight-through gate is p / p. */
    bool renormalize = renormalizes(op) || op->args.gate == GATE_STRAIGHT_THROUGH;
    k->top_k(op->chosen, op->probs, param_values(op->args.bias), N, E, op->k);
    k->gate(op->gates, op->probs, op->chosen, renormalize, N, E, op->k);
    k->count_first(counts->first, op->chosen, N, E, op->k);
}

/* Returns false when memory is out. */
static bool choose_all(tape *t, moe_op *op, int64_t N, choice_counts *counts) {
    const kernels *k = tape_kernels(t);
    int64_t E = op->args.experts;
    int32_t *first = tape_alloc(t, (size_t)N * sizeof(int32_t));
    if (!first) return false;
    k->choose_all(op->chosen, N, E);
    k->top_k(first, op->probs, NULL, N, E, 1);
    k->count_first(counts->first, first, N, E, 1);
    if (op->args.gate == GATE_STRAIGHT_THROUGH)
        k->gate_one_hot(op->gates, first, N, E);
    else
        k->gate(op->gates, op->probs, op->chosen, false, N, E, op->k);
    tape_free(t, first);
    return true;
}

/* Router, choice, gates and the grouping of rows. Returns false when memory is out. */
static bool route(tape *t, moe_op *op, int64_t N, int64_t d, choice_counts *counts) {
    int64_t E = op->args.experts;
    bool through = op->args.gate == GATE_STRAIGHT_THROUGH;
    op->all = op->args.gate == GATE_SOFT || (through && tape_recording(t));
    op->k = op->all ? op->args.experts : through ? 1 : op->args.top_k;
    if (!alloc_routing(t, op, N, E)) return false;
    score(t, op, N, d);
    if (op->all && !choose_all(t, op, N, counts)) return false;
    if (!op->all) choose_some(t, op, N, counts);
    tape_kernels(t)->group(op->slot, op->source, counts->pairs, op->start, op->chosen, N, op->k, E,
                           op->all ? 1 : group_align(N * op->k));
    return true;
}

/* Copy the choice to the host for whoever wants to see it. Returns false when memory is out. */
static bool show_choice(tape *t, const moe_op *op, int64_t N) {
    const kernels *k = tape_kernels(t);
    size_t pairs = (size_t)(N * op->k), scores = (size_t)(N * op->args.experts);
    int32_t *chosen = malloc(pairs * sizeof *chosen);
    float *gates = malloc(pairs * sizeof *gates), *probs = malloc(scores * sizeof *probs);
    bool room = chosen && gates && probs;
    if (room) {
        k->download(chosen, op->chosen, pairs * sizeof *chosen);
        k->download(gates, op->gates, pairs * sizeof *gates);
        k->download(probs, op->probs, scores * sizeof *probs);
        const moe_choice choice = {
            .tokens = N, .experts = op->args.experts, .k = op->k, .chosen = chosen, .gates = gates, .probs = probs};
        op->args.observer(op->args.observer_context, &choice);
    } else {
        tape_fail(t, fail("experts: no memory to show the choices of %lld tokens", (long long)N));
    }
    free(chosen);
    free(gates);
    free(probs);
    return room;
}

/* Balance loss of the Switch Transformer (Fedus et al. 2021): E · Σ_e f_e p̄_e; only p̄ has a gradient: E f_e / N. */
static void balance(tape *t, moe_op *op, const choice_counts *counts, int64_t N, moe_stats *stats) {
    int64_t E = op->args.experts;
    double mean_probs[MOST_EXPERTS], entropy, aux = 0, tokens = N > 0 ? (double)N : 1;
    tape_kernels(t)->routing_statistics(mean_probs, &entropy, op->probs, N, E);
    for (int64_t e = 0; e < E; e++) {
        double first = (double)counts->first[e] / tokens;
        double share = op->all ? first : (double)counts->pairs[e] / (tokens * op->k);
        aux += (double)E * first * mean_probs[e];
        op->dprobs[e] = (float)(op->args.aux_weight * (double)E * first / tokens);
        if (stats) stats->share[e] = (float)share;
    }
    if (!stats) return;
    stats->experts = (int)E;
    stats->entropy = (float)entropy;
    stats->aux = aux;
    stats->z = op->args.z_weight > 0 ? tape_kernels(t)->router_z(op->logits, N, E) : 0;
}

static void run_experts(tape *t, moe_op *op, int64_t d) {
    int64_t wide = op->fc[0]->matrix.rows;
    for (int64_t e = 0; e < op->args.experts; e++) {
        mlp m = expert(op, e);
        int64_t at = op->start[e], n = group_rows(op, e);
        if (n == 0) continue;
        mlp_forward(t, &m, act_at(t, op->out, at * d), op->u ? act_at(t, op->u, at * wide) : NULL,
                    expert_rows(t, op, e), n);
    }
}

static void free_saved(tape *t, moe_op *op) {
    void *saved[] = {op->logits, op->probs, op->gates, op->chosen, op->slot, op->source, op->rows, op->u, op->out};
    for (size_t i = 0; i < sizeof saved / sizeof *saved; i++) tape_free(t, saved[i]);
}

/* ---- backward ---- */

/* d rows overwrites d out, expert by expert: mlp_backward reads its dy chunk before it writes the dx chunk. */
static void experts_backward(tape *t, moe_op *op, void *drows, int64_t d) {
    int64_t wide = op->fc[0]->matrix.rows;
    for (int64_t e = 0; e < op->args.experts; e++) {
        int64_t at = op->start[e], n = group_rows(op, e);
        if (n == 0) continue;
        mlp m = expert(op, e);
        void *dy = act_at(t, drows, at * d);
        mlp_backward(t, &m, (grad_out){.data = dy}, dy, expert_rows(t, op, e), act_at(t, op->u, at * wide), n);
    }
}

static void moe_backward(tape *t, void *record) {
    moe_op *op = record;
    const kernels *k = tape_kernels(t);
    int64_t E = op->args.experts, N = tensor_rows(&op->x->value), d = tensor_cols(&op->x->value), R = op->start[E];
    void *drows = tape_alloc(t, act_bytes(t, R * d));
    float *dgates = tape_alloc(t, (size_t)(N * op->k) * sizeof(float));
    float *dlogits = tape_alloc(t, (size_t)(N * E) * sizeof(float));
    if (!drows || !dgates || !dlogits) return;
    k->combine_backward(drows, dgates, op->y->grad, op->out, op->gates, op->slot, op->source, op->k, N, R, d);
    experts_backward(t, op, drows, d);
    k->gather_backward(tape_grad(t, op->x), drows, op->slot, op->k, N, d);
    k->gate_backward(dlogits, dgates, op->dprobs, op->probs, op->chosen, renormalizes(op), N, E, op->k);
    if (op->args.z_weight > 0) k->router_z_backward(dlogits, op->logits, op->probs, op->args.z_weight, N, E);
    k->router_backward(tape_grad(t, op->x), param_grad(op->router), dlogits, tape_value(t, op->x),
                       param_values(op->router), N, d, E);
    tape_free(t, drows);
    tape_free(t, dgates);
    tape_free(t, dlogits);
    free_saved(t, op);
}

/* ---- the op ---- */

/* Returns false when memory is out. */
static bool alloc_rows(tape *t, moe_op *op, int64_t d) {
    int64_t R = op->start[op->args.experts];
    bool recording = tape_recording(t);
    if (!op->all) op->rows = tape_alloc(t, act_bytes(t, R * d));
    op->out = tape_alloc(t, act_bytes(t, R * d));
    if (recording) op->u = tape_alloc(t, act_bytes(t, R * op->fc[0]->matrix.rows));
    return (op->rows || op->all) && op->out && (op->u || !recording);
}

var *op_moe(tape *t, var *x, param *router, param *const *fc, param *const *proj, const moe_args *args,
            moe_stats *stats) {
    if (!x) return NULL;
    const kernels *k = tape_kernels(t);
    int64_t N = tensor_rows(&x->value), d = tensor_cols(&x->value);
    choice_counts counts;
    moe_op op = {.x = x, .router = router, .args = *args};
    memcpy(op.fc, fc, (size_t)args->experts * sizeof *fc);
    memcpy(op.proj, proj, (size_t)args->experts * sizeof *proj);
    op.y = new_matrix(t, N, d);
    if (!op.y || !route(t, &op, N, d, &counts) || !alloc_rows(t, &op, d)) return NULL;
    if (args->observer && !show_choice(t, &op, N)) return NULL;
    if (op.rows) k->gather(op.rows, x->value.data, op.source, op.k, op.start[args->experts], d);
    balance(t, &op, &counts, N, stats);
    run_experts(t, &op, d);
    k->combine(op.y->value.data, op.out, op.gates, op.slot, op.k, N, d);
    moe_op *saved = tape_record(t, sizeof op, moe_backward, op.y);
    if (saved)
        *saved = op;
    else
        free_saved(t, &op);
    return op.y;
}

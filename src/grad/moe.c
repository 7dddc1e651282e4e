/* A mixture of experts. Tokens are grouped by expert, so that each expert multiplies only its own rows, forward and
 * backward; how many rows an expert has stays on the device, where no other rank has to know it. Where every token goes to every
 * expert (soft gates; straight-through ones in training, whose router learns from all outputs) the groups are the tokens
 * themselves, and nothing is gathered. */
#include "grad/expert_trade.h"
#include "grad/mlp.h"

#include <stdlib.h>
#include <string.h>

/* A group's row count is rounded up, so that few distinct product shapes occur; not where there are but a few rows. */
static int64_t group_align(int64_t pairs) {
    return pairs < 64 ? 1 : 16;
}

typedef struct moe_op {
    var *x, *y;
    param *router;
    const mlp *experts; /* [E], the caller's */
    moe_args args;
    bool all;               /* every token to every expert */
    int k;                  /* experts a token goes to */
    int64_t most_rows;      /* of the own tokens' groups together, at most */
    float *logits, *probs;  /* [N, E]; logits only where something needs them */
    float *taught;          /* [N, E]: what the router said before labels overruled it; else it is probs */
    float *scores;          /* [N, E]: what experts are compared by where there are a mask and a bias */
    float *gates;           /* [N, k] */
    int32_t *chosen, *slot; /* [N, k] */
    int32_t *source;        /* [most_rows] */
    int32_t *pairs, *first; /* [E]: how often an expert was chosen at all, and how often first */
    int32_t *start;         /* [E + 1]: where the groups begin */
    void *out, *u;        /* [most_rows, d]: what the experts make of the own tokens; u: of all experts on all tokens */
    expert_groups groups; /* what the experts here multiply: the own tokens' groups, or also those of other ranks */
    expert_trade trade;
} moe_op;

static const int32_t *row_count(const moe_op *op) {
    return op->start + op->args.experts;
}

/* Top-1 keeps its probability: divided by itself it would be 1, and the router would learn nothing. */
static bool renormalizes(const moe_op *op) {
    return op->args.gate == GATE_NORMALIZED || (op->args.gate == GATE_RENORMALIZED && op->k > 1);
}

/* The same as the number of choices from which on a row's gates are divided, 0: never. A straight-through gate is p / p. */
static int renormalizes_from(const moe_op *op) {
    if (op->args.gate == GATE_NORMALIZED || op->args.gate == GATE_STRAIGHT_THROUGH) return 1;
    return op->args.gate == GATE_RENORMALIZED ? 2 : 0;
}

/* ---- routing ---- */

static bool overrules(const moe_op *op) {
    return op->args.labels && op->args.by_label;
}

/* Experts are compared by their logits, which tell apart what the probabilities round to the same: a router next to nothing,
 * as surgery makes it, still sends tokens to different experts. A bias is one of probabilities. */
static bool chooses_by_logits(const moe_op *op) {
    return !op->all && !op->args.bias;
}

static bool alloc_routing(tape *t, moe_op *op, int64_t N, int64_t E) {
    int64_t pairs = N * op->k;
    bool logits = op->args.z_weight > 0 || (op->args.noise_std > 0 && tape_training(t)) || chooses_by_logits(op) ||
                  op->args.mask || overrules(op);
    op->most_rows = pairs + (op->all ? 0 : E * (group_align(pairs) - 1));
    op->logits = logits ? tape_alloc(t, (size_t)(N * E) * sizeof(float)) : NULL;
    op->probs = tape_alloc(t, (size_t)(N * E) * sizeof(float));
    op->taught = overrules(op) ? tape_alloc(t, (size_t)(N * E) * sizeof(float)) : op->probs;
    op->scores = op->args.mask && op->args.bias ? tape_alloc(t, (size_t)(N * E) * sizeof(float)) : NULL;
    op->gates = tape_alloc(t, (size_t)pairs * sizeof(float));
    op->chosen = tape_alloc(t, (size_t)pairs * sizeof(int32_t));
    op->slot = tape_alloc(t, (size_t)pairs * sizeof(int32_t));
    op->source = tape_alloc(t, (size_t)(op->most_rows + 1) * sizeof(int32_t));
    op->pairs = tape_alloc(t, (size_t)E * sizeof(int32_t));
    op->first = tape_alloc(t, (size_t)E * sizeof(int32_t));
    op->start = tape_alloc(t, (size_t)(E + 1) * sizeof(int32_t));
    return tape_status(t) == STATUS_OK;
}

static void score(tape *t, moe_op *op, int64_t N, int64_t d) {
    const kernels *k = tape_kernels(t);
    int64_t E = op->args.experts;
    k->router(op->logits, op->probs, op->x->value.data, param_values(op->router), N, d, E);
    if (op->args.noise_std > 0 && tape_training(t))
        k->router_noise(op->logits, op->probs, op->args.noise_std, op->args.noise_seed, N, E);
    if (op->args.mask)
        k->router_mask(op->logits, op->probs, op->scores, op->args.mask, param_values(op->args.bias),
                       op->args.rows_a_mask, N, E);
    if (!overrules(op)) return;
    k->copy(op->taught, op->probs, (size_t)(N * E) * sizeof(float));
    k->router_force(op->logits, op->probs, op->args.labels, N, E);
}

static void choose_some(tape *t, moe_op *op, int64_t N) {
    const kernels *k = tape_kernels(t);
    int64_t E = op->args.experts;
    k->top_k(op->chosen,
             op->scores              ? op->scores
             : chooses_by_logits(op) ? op->logits
                                     : op->probs,
             op->scores ? NULL : param_values(op->args.bias), N, E, op->k);
    if (op->args.most) k->limit_choices(op->chosen, op->args.most, N, op->k);
    k->gate(op->gates, op->probs, op->chosen, renormalizes_from(op), N, E, op->k);
    k->count_first(op->first, op->chosen, N, E, op->k);
}

/* Returns false when memory is out. */
static bool choose_all(tape *t, moe_op *op, int64_t N) {
    const kernels *k = tape_kernels(t);
    int64_t E = op->args.experts;
    int32_t *first = tape_alloc(t, (size_t)N * sizeof(int32_t));
    if (!first) return false;
    k->choose_all(op->chosen, N, E);
    k->top_k(first, op->probs, NULL, N, E, 1);
    k->count_first(op->first, first, N, E, 1);
    if (op->args.gate == GATE_STRAIGHT_THROUGH)
        k->gate_one_hot(op->gates, first, N, E);
    else
        k->gate(op->gates, op->probs, op->chosen, 0, N, E, op->k);
    tape_free(t, first);
    return true;
}

/* Router, choice, gates and the grouping of rows. Returns false when memory is out. */
static bool route(tape *t, moe_op *op, int64_t N, int64_t d) {
    int64_t E = op->args.experts;
    bool through = op->args.gate == GATE_STRAIGHT_THROUGH;
    op->all = op->args.gate == GATE_SOFT || (through && tape_training(t));
    op->k = op->all ? op->args.experts : through ? 1 : op->args.top_k;
    if (!alloc_routing(t, op, N, E)) return false;
    score(t, op, N, d);
    if (op->all && !choose_all(t, op, N)) return false;
    if (!op->all) choose_some(t, op, N);
    tape_kernels(t)->group(op->slot, op->source, op->pairs, op->start, op->chosen, N, op->k, E,
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

/* Soft gates prefer an expert: where all take part in every token, its share is that of first choices. */
static void add_statistics(tape *t, const moe_op *op, int64_t N) {
    if (op->args.sums)
        tape_kernels(t)->routing_statistics(op->args.sums, op->args.z_weight > 0 ? op->logits : NULL, op->probs,
                                            op->all ? op->first : op->pairs, op->first, N, op->args.experts,
                                            op->all ? 1 : op->k);
    if (op->args.labels && op->args.label_sums)
        tape_kernels(t)->label_statistics(op->args.label_sums, op->taught, op->args.labels, N, op->args.experts);
}

/* ---- the experts ---- */

static bool are_spread(const moe_op *op) {
    return op->args.ranks && !op->all;
}

/* The experts here, and for how many micro-batches. Returns false when memory is out. */
static bool take_experts(tape *t, moe_op *op) {
    if (!are_spread(op)) return expert_groups_take(t, &op->groups, op->experts, op->args.experts, 1);
    const int64_t X = op->args.ranks->count, each = op->args.experts / X;
    return expert_groups_take(t, &op->groups, op->experts + comm_group_position(op->args.ranks) * each, each, X);
}

/* Returns false when memory is out. */
static bool alloc_all(tape *t, moe_op *op, int64_t d) {
    op->out = tape_alloc(t, act_bytes(t, op->most_rows * d));
    if (tape_recording(t)) op->u = tape_alloc(t, act_bytes(t, op->most_rows * linear_out(&op->experts->fc)));
    return tape_status(t) == STATUS_OK;
}

/* ---- experts that come and go ---- */

typedef struct all_job {
    tape *t;
    moe_op *op;
    int64_t e, N, d;
} all_job;

static void run_one_of_all(void *context) {
    const all_job *j = context;
    moe_op *op = j->op;
    void *u = op->u ? act_at(j->t, op->u, j->e * j->N * linear_out(&op->experts->fc)) : NULL;
    mlp_forward(j->t, &op->experts[j->e], op->args.pass, act_at(j->t, op->out, j->e * j->N * j->d), u,
                op->x->value.data, j->N);
}

/* Calls products(job) while the wanted experts are there; without a residency all are. */
static bool with_experts(tape *t, const moe_op *op, const bool *wanted, void (*products)(void *job), void *job) {
    const expert_residency *r = op->args.residency;
    if (!r) products(job);
    const status s = r ? r->with(r->context, wanted, products, job) : STATUS_OK;
    if (s != STATUS_OK) tape_fail(t, s);
    return s == STATUS_OK;
}

/* Every expert on all tokens, one after another. */
static void run_all(tape *t, moe_op *op, int64_t N, int64_t d) {
    all_job job = {.t = t, .op = op, .N = N, .d = d};
    bool *wanted = tape_host_alloc(t, (size_t)op->args.experts);
    for (; wanted && job.e < op->args.experts; job.e++) {
        memset(wanted, 0, (size_t)op->args.experts);
        wanted[job.e] = true;
        if (!with_experts(t, op, wanted, run_one_of_all, &job)) return;
    }
}

static bool alloc_groups(tape *t, expert_groups *g, int64_t d) {
    g->rows = tape_alloc(t, act_bytes(t, g->most_rows * d));
    g->u = tape_alloc(t, act_bytes(t, g->most_rows * linear_out(&g->experts[0]->fc)));
    g->out = tape_alloc(t, act_bytes(t, g->most_rows * d));
    return tape_status(t) == STATUS_OK;
}

/* Every expert on its own rows, all in one grouped product. */
static void run_groups(tape *t, moe_op *op, int64_t d) {
    expert_groups *g = &op->groups;
    g->start = op->start;
    g->most_rows = op->most_rows;
    if (!alloc_groups(t, g, d)) return;
    tape_kernels(t)->gather(g->rows, op->x->value.data, op->source, op->k, row_count(op), d);
    expert_groups_forward(t, g);
    op->out = g->out;
}

/* The same where ranks have the experts between them: the own tokens' rows go there, what becomes of them comes back. */
static void run_spread(tape *t, moe_op *op, int64_t d) {
    expert_groups *g = &op->groups;
    void *own = tape_alloc(t, act_bytes(t, op->most_rows * d));
    op->out = tape_alloc(t, act_bytes(t, op->most_rows * d));
    if (!own || !op->out) return;
    tape_kernels(t)->gather(own, op->x->value.data, op->source, op->k, row_count(op), d);
    if (!expert_trade_counts(t, &op->trade, op->args.ranks, op->start, op->args.experts, g)) return;
    if (!alloc_groups(t, g, d) || !expert_trade_there(t, &op->trade, g->rows, own, d)) return;
    expert_groups_forward(t, g);
    if (tape_status(t) == STATUS_OK) expert_trade_back(t, &op->trade, op->out, g->out, d);
    tape_free(t, own);
    tape_free(t, g->out);
    g->out = NULL;
}

/* The next experts from *e on that have rows, as many as there may be; *e is behind them then. Returns the first of them, E: none. */
static int64_t next_round(const moe_op *op, const int32_t *start, bool *wanted, int64_t *e) {
    const int64_t E = op->args.experts;
    int64_t first = E;
    memset(wanted, 0, (size_t)E);
    for (int count = 0; *e < E && count < op->args.residency->most; (*e)++) {
        wanted[*e] = start[*e + 1] > start[*e];
        if (wanted[*e] && count++ == 0) first = *e;
    }
    return first;
}

typedef struct round_job {
    tape *t;
    const expert_groups *g;
    const int32_t *start; /* [E + 1] */
    int64_t first, end;
    void *h; /* [rows, hidden] */
} round_job;

/* The products of the experts first … end; those without rows may not be there, and another one's weights take their place. */
static void run_round(void *context) {
    const round_job *j = context;
    const expert_groups *g = j->g;
    const kernels *k = tape_kernels(j->t);
    const int64_t hidden = linear_in(&g->experts[0]->proj), wide = linear_out(&g->experts[0]->fc);
    const int64_t from = j->start[j->first], rows = j->start[j->end] - from, count = j->end - j->first;
    for (int64_t e = j->first; e < j->end; e++) {
        const mlp *one = g->experts[j->start[e + 1] > j->start[e] ? e : j->first];
        g->fc[e] = &one->fc.weight->matrix;
        g->proj[e] = &one->proj.weight->matrix;
    }
    k->grouped_linear(g->u, g->rows, g->fc + j->first, g->start + j->first, count, g->most_rows);
    k->activate(act_at(j->t, j->h, from * hidden), act_at(j->t, g->u, from * wide), g->experts[0]->f, NULL, rows,
                hidden);
    k->grouped_linear(g->out, j->h, g->proj + j->first, g->start + j->first, count, g->most_rows);
}

/* As run_groups, in rounds of as many experts as may be there at a time. */
static void run_rounds(tape *t, moe_op *op, int64_t d) {
    const kernels *k = tape_kernels(t);
    const int64_t E = op->args.experts;
    expert_groups *g = &op->groups;
    g->start = op->start;
    g->most_rows = op->most_rows;
    if (!alloc_groups(t, g, d)) return;
    void *h = tape_alloc(t, act_bytes(t, g->most_rows * linear_in(&op->experts->proj)));
    int32_t *start = tape_host_alloc(t, (size_t)(E + 1) * sizeof *start);
    bool *wanted = tape_host_alloc(t, (size_t)E);
    if (!h || !start || !wanted) return;
    k->gather(g->rows, op->x->value.data, op->source, op->k, row_count(op), d);
    k->download(start, op->start, (size_t)(E + 1) * sizeof *start);
    round_job job = {.t = t, .g = g, .start = start, .h = h};
    while ((job.first = next_round(op, start, wanted, &job.end)) < E)
        if (!with_experts(t, op, wanted, run_round, &job)) return;
    op->out = g->out;
    tape_free(t, h);
}

/* Forward, once tokens are grouped. */
static void run(tape *t, moe_op *op, int64_t N, int64_t d) {
    if (op->all && alloc_all(t, op, d)) run_all(t, op, N, d);
    if (!op->all && op->args.residency) run_rounds(t, op, d);
    if (!op->all && !op->args.residency && !are_spread(op)) run_groups(t, op, d);
    if (are_spread(op)) run_spread(t, op, d);
}

static void free_saved(tape *t, moe_op *op) {
    if (op->taught != op->probs) tape_free(t, op->taught);
    if (op->groups.start != op->start) tape_free(t, op->groups.start);
    void *saved[] = {op->logits, op->probs, op->scores, op->gates, op->chosen,      op->slot,     op->source,
                     op->pairs,  op->first, op->start,  op->out,   op->groups.rows, op->groups.u, op->u};
    for (size_t i = 0; i < sizeof saved / sizeof *saved; i++) tape_free(t, saved[i]);
}

/* ---- backward ---- */

/* d rows overwrites d out, expert by expert: mlp_backward reads its dy chunk before it writes the dx chunk. */
static void all_backward(tape *t, moe_op *op, void *drows, void *x, int64_t N, int64_t d) {
    int64_t wide = linear_out(&op->experts->fc);
    for (int64_t e = 0; e < op->args.experts; e++) {
        void *dy = act_at(t, drows, e * N * d);
        mlp_backward(t, &op->experts[e], op->args.pass, (grad_out){.data = dy}, dy, x, act_at(t, op->u, e * N * wide),
                     N);
    }
}

/* The same of spread experts' rows: d out goes there, d rows comes back in its place. */
static void spread_backward(tape *t, moe_op *op, void *drows, int64_t d) {
    void *here = tape_alloc(t, act_bytes(t, op->trade.here * d));
    if (!here || !expert_trade_there(t, &op->trade, here, drows, d)) return;
    expert_groups_backward(t, &op->groups, here);
    if (tape_status(t) == STATUS_OK) expert_trade_back(t, &op->trade, drows, here, d);
    tape_free(t, here);
}

static void moe_backward(tape *t, void *record) {
    moe_op *op = record;
    const kernels *k = tape_kernels(t);
    int64_t E = op->args.experts, N = tensor_rows(&op->x->value), d = tensor_cols(&op->x->value);
    void *x = tape_value(t, op->x), *drows = tape_alloc(t, act_bytes(t, op->most_rows * d));
    float *dgates = tape_alloc(t, (size_t)(N * op->k) * sizeof(float));
    float *dlogits = tape_alloc(t, (size_t)(N * E) * sizeof(float));
    if (!x || !drows || !dgates || !dlogits) return;
    k->combine_backward(drows, dgates, op->y->grad, op->out, op->gates, op->slot, op->source, op->k, N, row_count(op),
                        d);
    if (op->all)
        all_backward(t, op, drows, x, N, d);
    else if (are_spread(op))
        spread_backward(t, op, drows, d);
    else
        expert_groups_backward(t, &op->groups, drows);
    grad_out dx = tape_grad(t, op->x);
    if (!dx.data || tape_status(t) != STATUS_OK) return;
    k->gather_backward(dx, drows, op->slot, op->k, N, d);
    k->gate_backward(dlogits, dgates, op->first, op->args.aux_weight, op->probs, op->chosen, renormalizes(op), N, E,
                     op->k);
    if (op->args.z_weight > 0) k->router_z_backward(dlogits, op->logits, op->probs, op->args.z_weight, N, E);
    if (op->args.labels && op->args.label_weight > 0)
        k->router_label_backward(dlogits, op->taught, op->args.labels, op->args.label_weight, N, E);
    k->router_backward((grad_out){.data = dx.data, .add = true}, param_grad(op->router), dlogits, x,
                       param_values(op->router), N, d, E);
    tape_free(t, drows);
    tape_free(t, dgates);
    tape_free(t, dlogits);
    free_saved(t, op);
}

/* ---- the op ---- */

var *op_moe(tape *t, var *x, param *router, const mlp *experts, const moe_args *args) {
    if (!x) return NULL;
    const kernels *k = tape_kernels(t);
    int64_t N = tensor_rows(&x->value), d = tensor_cols(&x->value);
    moe_op op = {.x = x, .router = router, .experts = experts, .args = *args, .y = new_matrix(t, N, d)};
    if (!op.y || !route(t, &op, N, d) || !take_experts(t, &op)) return NULL;
    if (args->observer && !show_choice(t, &op, N)) return NULL;
    add_statistics(t, &op, N);
    run(t, &op, N, d);
    if (tape_status(t) != STATUS_OK) return NULL;
    k->combine(op.y->value.data, op.out, op.gates, op.slot, op.k, N, d);
    moe_op *saved = tape_record(t, sizeof op, moe_backward, op.y);
    if (saved)
        *saved = op;
    else
        free_saved(t, &op);
    return op.y;
}

/* A mixture whose experts live on different ranks: outputs and gradients of every micro-batch have the bits that they have where each rank
 * has all experts. Ranks are threads that send each other letters. */
#include "comm/ranks.h"

#include "base/random.h"
#include "grad/op.h"
#include <stdlib.h>

enum { RANKS = 4, E = 4, D = 16, HIDDEN = 24, MOST_TOKENS = 70 };

typedef struct moe_case {
    dtype act;
    int top_k, tokens;
    gate_kind gate;
    activation f;
    bool skewed;    /* all tokens to one expert */
    bool recompute; /* backward runs the op again */
} moe_case;

/* Of one micro-batch. */
typedef struct found {
    float y[MOST_TOKENS * D], dx[MOST_TOKENS * D], router[E * D], fc[E][2 * HIDDEN * D], proj[E][HIDDEN * D];
} found;

typedef struct study {
    const moe_case *c;
    int expert_ranks;
    found *found; /* [RANKS] */
} study;

/* ---- one rank ---- */

typedef struct part {
    param *router, *bias;
    mlp *experts;
    moe_args args;
} part;

static void need(bool done) {
    if (!done) abort(); /* cmocka's asserts are the main thread's */
}

static float *device_floats(const kernels *k, int64_t count) {
    void *pointer;
    need(k->alloc(&pointer, (size_t)count * sizeof(float)) == STATUS_OK);
    k->zero(pointer, (size_t)count * sizeof(float));
    return pointer;
}

static void fill(const kernels *k, float *device, const char *name, int64_t count, float std) {
    float *values = xmalloc((size_t)count * sizeof *values);
    rng r = rng_named(5, name);
    rng_normal(&r, values, (size_t)count, std);
    k->upload(device, values, (size_t)count * sizeof *values);
    free(values);
}

static param *make(const kernels *k, const char *kind, int e, int64_t rows, int64_t cols, bool here, int others) {
    char name[32];
    snprintf(name, sizeof name, "%s%d", kind, e);
    param *p = param_create(name, 2, (int64_t[]){rows, cols});
    p->away = !here;
    if (!here) return p;
    p->value.data = device_floats(k, rows * cols);
    p->grad = device_floats(k, rows * cols);
    if (others > 0) p->more_grads = device_floats(k, others * rows * cols);
    fill(k, p->value.data, name, rows * cols, 0.3f);
    p->is_matrix = strcmp(kind, "router") != 0;
    if (!p->is_matrix) return p;
    need(k->weight_create(&p->matrix, rows, cols, NULL) == STATUS_OK);
    need(param_refresh(p, k, 0) == STATUS_OK);
    return p;
}

static void destroy(const kernels *k, param *p) {
    k->release(p->value.data);
    k->release(p->grad);
    k->release(p->more_grads);
    param_destroy(p, k);
}

static var *run_part(tape *t, void *context, var *const *inputs) {
    const part *p = context;
    return op_moe(t, inputs[0], p->router, p->experts, &p->args);
}

static void keep(const kernels *k, float *host, const void *act_values, int64_t count) {
    float *device = device_floats(k, count);
    k->to_float(device, act_values, count);
    k->download(host, device, (size_t)count * sizeof *host);
    k->release(device);
}

static var *leaf(tape *t, const char *name, int rank, int64_t tokens) {
    const kernels *k = tape_kernels(t);
    char own[32];
    snprintf(own, sizeof own, "%s%d", name, rank);
    var *x = new_matrix(t, tokens, D);
    float *values = device_floats(k, tokens * D);
    fill(k, values, own, tokens * D, 1);
    k->to_act(x->value.data, values, tokens * D);
    k->release(values);
    return x;
}

/* Forward and backward of the rank's own tokens. */
static void run_op(tape *t, const study *s, part *p, int rank) {
    const kernels *k = tape_kernels(t);
    const int64_t tokens = s->c->tokens;
    found *f = &s->found[rank];
    tape_reset(t, true);
    var *x = leaf(t, "x", rank, tokens);
    var *y = s->c->recompute ? tape_recompute(t, run_part, p, sizeof *p, &x, 1) : run_part(t, p, &x);
    need(y != NULL);
    keep(k, f->y, y->value.data, tokens * D);
    var *dy = leaf(t, "dy", rank, tokens);
    k->copy(tape_grad(t, y).data, dy->value.data, act_bytes(t, tokens * D));
    tape_backward(t);
    need(tape_status(t) == STATUS_OK);
    keep(k, f->dx, x->grad, tokens * D);
    k->download(f->router, p->router->grad, sizeof f->router);
}

/* The op as a rank of the group has it. */
static part make_part(const kernels *k, const moe_case *c, const comm_group *g, mlp experts[E]) {
    const int wide = c->f == ACTIVATION_SWIGLU ? 2 * HIDDEN : HIDDEN, X = g->count;
    const float far[E] = {0, 0, 5, 0};
    part p = {.router = make(k, "router", 0, E, D, true, 0), .experts = experts};
    for (int e = 0; e < E; e++) {
        const bool here = e / (E / X) == comm_group_position(g);
        experts[e] = (mlp){.fc = {.weight = make(k, "fc", e, wide, D, here, X - 1)},
                           .proj = {.weight = make(k, "proj", e, D, HIDDEN, here, X - 1)},
                           .f = c->f};
    }
    p.bias = param_create("bias", 1, (int64_t[]){E});
    p.bias->value.data = device_floats(k, E);
    k->upload(p.bias->value.data, far, sizeof far);
    p.args = (moe_args){.experts = E,
                        .top_k = c->top_k,
                        .gate = c->gate,
                        .aux_weight = 0.1f,
                        .bias = c->skewed ? p.bias : NULL,
                        .ranks = X > 1 ? g : NULL};
    return p;
}

static void destroy_part(const kernels *k, part *p) {
    for (int e = 0; e < E; e++) {
        destroy(k, p->experts[e].fc.weight);
        destroy(k, p->experts[e].proj.weight);
    }
    destroy(k, p->router);
    destroy(k, p->bias);
}

static void run_rank(comm *c, void *context) {
    study *s = context;
    const kernels *k = kernels_for(s->c->act);
    const comm_group g = {c, s->expert_ranks};
    mlp experts[E];
    part p = make_part(k, s->c, &g, experts);
    tape *t;
    need(tape_create(&t, k) == STATUS_OK);
    run_op(t, s, &p, c->rank);
    for (int e = 0; e < E; e++) {
        const param *fc = experts[e].fc.weight, *proj = experts[e].proj.weight;
        for (int place = 0; place < g.count && fc->grad; place++) {
            found *f = &s->found[comm_group_rank(&g, place)];
            k->download(f->fc[e], param_grad_of(fc, place), tensor_bytes(&fc->value));
            k->download(f->proj[e], param_grad_of(proj, place), tensor_bytes(&proj->value));
        }
    }
    tape_destroy(t);
    destroy_part(k, &p);
}

/* ---- all of them ---- */

static float largest(const float *x, int count) {
    float most = 0;
    for (int i = 0; i < count; i++) most = x[i] > most ? x[i] : -x[i] > most ? -x[i] : most;
    return most;
}

static void check(moe_case c) {
    if (!kernels_for(c.act)) return;
    found *whole = xcalloc(RANKS, sizeof *whole);
    study s = {.c = &c, .expert_ranks = 1, .found = whole};
    run_ranks(RANKS, run_rank, &s);
    assert_true(largest(whole[1].fc[2], HIDDEN * D) > 0 && largest(whole[1].dx, c.tokens * D) > 0);
    if (!c.skewed) assert_memory_not_equal(whole[0].fc[0], whole[1].fc[0], sizeof whole[0].fc[0]);
    for (int X = 2; X <= RANKS; X *= 2) {
        s.expert_ranks = X;
        s.found = xcalloc(RANKS, sizeof *s.found);
        run_ranks(RANKS, run_rank, &s);
        for (int r = 0; r < RANKS; r++) assert_memory_equal(&s.found[r], &whole[r], sizeof *whole);
        free(s.found);
    }
    free(whole);
}

/* Both types, with few tokens (whose groups are not rounded up) and with more. */
static void check_all(moe_case c) {
    for (int i = 0; i < 4; i++) {
        c.act = i % 2 == 0 ? DTYPE_F32 : DTYPE_BF16;
        c.tokens = i < 2 ? 9 : MOST_TOKENS;
        check(c);
    }
}

static void one_expert_a_token(void **state) {
    (void)state;
    check_all((moe_case){.top_k = 1, .gate = GATE_PROBABILITY, .f = ACTIVATION_LEAKY_RELU2});
}
static void two_experts_a_token(void **state) {
    (void)state;
    check_all((moe_case){.top_k = 2, .gate = GATE_RENORMALIZED, .f = ACTIVATION_SWIGLU});
}
static void run_again_in_backward(void **state) {
    (void)state;
    check_all((moe_case){.top_k = 2, .gate = GATE_RENORMALIZED, .f = ACTIVATION_LEAKY_RELU2, .recompute = true});
}
/* One rank gets every token of all, the others none. */
static void all_tokens_to_one_expert(void **state) {
    (void)state;
    check_all((moe_case){.top_k = 1, .gate = GATE_PROBABILITY, .f = ACTIVATION_SWIGLU, .skewed = true});
}

/* ---- messages that do not come ---- */

static int exchanges_left;

/* Of one rank of two whose other one is silent from the n-th exchange on; before, it has no tokens. */
static status fall_silent(comm *c, const comm_message *send, int sends, const comm_message *receive, int receives) {
    (void)c;
    (void)send;
    (void)sends;
    if (exchanges_left-- == 0) return fail("rank 1: not heard from");
    for (int i = 0; i < receives; i++) memset(receive[i].data, 0, receive[i].bytes);
    return STATUS_OK;
}

/* Counts, rows, what became of them; and in backward twice more. */
static void a_silent_rank_is_a_failure(void **state) {
    (void)state;
    const moe_case all = {.act = DTYPE_F32, .top_k = 1, .tokens = 9, .gate = GATE_PROBABILITY, .f = ACTIVATION_SWIGLU};
    const kernels *k = kernels_for(DTYPE_F32);
    comm c = {.rank = 0, .ranks = 2, .exchange = fall_silent};
    const comm_group g = {&c, 2};
    mlp experts[E];
    part p = make_part(k, &all, &g, experts);
    tape *t;
    assert_ok(tape_create(&t, k));
    for (int after = 0; after <= 5; after++) {
        exchanges_left = after;
        tape_reset(t, true);
        var *x = leaf(t, "x", 0, all.tokens), *y = run_part(t, &p, &x);
        assert_true((y != NULL) == (after >= 3));
        if (y) {
            k->zero(tape_grad(t, y).data, act_bytes(t, all.tokens * D));
            tape_backward(t);
        }
        assert_int_equal(tape_status(t), after < 5 ? STATUS_FAILED : STATUS_OK);
        if (after < 5) assert_string_equal(error_message(), "rank 1: not heard from");
    }
    tape_destroy(t);
    destroy_part(k, &p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_rank_is_a_failure), cmocka_unit_test(one_expert_a_token),
        cmocka_unit_test(two_experts_a_token),        cmocka_unit_test(run_again_in_backward),
        cmocka_unit_test(all_tokens_to_one_expert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

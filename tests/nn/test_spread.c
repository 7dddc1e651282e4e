/* Experts that live on different ranks: who has what, also after an upcycle, and a whole model at one rank for a while. Ranks are threads
 * that send each other letters. */
#include "comm/ranks.h"

#include "nn/freeze.h"
#include "nn/pass.h"
#include "nn/spread.h"

enum { RANKS = 4, VOCAB = 60, EXPERTS = 4, LENGTH = 40 };

static model_config mixture(void) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB;
    c.num_layers = 3;
    c.model_dim = 32;
    c.attention.heads = 2;
    c.attention.kv_heads = 1;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.stem.bigram_buckets = 0;
    c.loop = (loop_config){0};
    c.residual.parallel_start_layer = 3;
    c.moe.layers[1] = true;
    c.moe.experts = EXPERTS;
    c.moe.top_k = 2;
    c.moe.gate = GATE_RENORMALIZED;
    return c;
}

static void need(bool done) {
    if (!done) abort(); /* cmocka's asserts are the main thread's */
}

/* ---- what can be spread ---- */

static void what_does_not_divide_is_refused(void **state) {
    (void)state;
    const comm four = {.ranks = 4}, alone = {.ranks = 1};
    model_config c = mixture();
    for (int n = 1; n <= 4; n *= 2) assert_ok(spread_check(&four, n, &c));
    assert_ok(spread_check(&alone, 1, &c));
    assert_fails(spread_check(&four, 3, &c), "expert_ranks: expected a number that divides the 4 ranks, found 3");
    assert_fails(spread_check(&alone, 2, &c), "expert_ranks: expected a number that divides the 1 rank, found 2");
    c.moe.experts = 2;
    assert_fails(spread_check(&four, 4, &c), "expert_ranks: expected a number that divides the 2 experts, found 4");
    c.moe.experts = 6;
    assert_fails(spread_check(&four, 4, &c), "divides the 6 experts, found 4");
    c.moe.gate = GATE_SOFT;
    assert_fails(spread_check(&four, 2, &c), "every token goes to every expert (moe_gate soft), found 2");
    c.moe.gate = GATE_STRAIGHT_THROUGH;
    assert_fails(spread_check(&four, 2, &c), "(moe_gate straight_through), found 2");
    c.moe.layers[1] = false;
    assert_fails(spread_check(&four, 2, &c), "expert_ranks: expected 1 for a model without experts, found 2");
    assert_ok(spread_check(&four, 1, &c));
}

/* ---- who has what ---- */

typedef struct study {
    int expert_ranks;
    bool upcycles;
    float nll[LENGTH]; /* of the whole model, by rank `root` */
    float sum;         /* of all its values */
    int root;
} study;

/* A model whose second layer's MLP is a mixture from the start, or becomes one. */
static model *make(const study *s, comm *c) {
    model_config config = mixture();
    const bool layers[MODEL_MAX_LAYERS] = {[1] = true};
    model *m;
    config.moe.layers[1] = !s->upcycles;
    need(model_create_spread(&m, &config, kernels_for(DTYPE_F32), NULL, (comm_group){c, s->expert_ranks}) == STATUS_OK);
    need(model_init(m, 7) == STATUS_OK);
    if (s->upcycles) need(model_upcycle(m, layers, EXPERTS, 2, 7, NULL, NULL) == STATUS_OK);
    return m;
}

static void check_places(const study *s, const model *m, int rank) {
    const int each = EXPERTS / s->expert_ranks, position = rank % s->expert_ranks;
    int here = 0;
    for (int i = 0; i < m->param_count; i++) {
        const param *p = m->params[i];
        const bool own = p->expert < 0 || p->expert / each == position;
        need(p->away == !own && (p->value.data != NULL) == own && (p->grad != NULL) == own && param_is_trained(p));
        need((p->more_grads != NULL) == (own && p->expert >= 0 && s->expert_ranks > 1));
        need(!p->is_matrix || (p->matrix.rows > 0) == own);
        here += own && p->expert >= 0;
    }
    need(here == 2 * each);
}

static float sum_values(const model *m) {
    float sum = 0;
    for (int i = 0; i < m->param_count; i++) {
        const int64_t count = param_count(m->params[i]);
        float *values = xmalloc((size_t)count * sizeof *values);
        m->k->download(values, m->params[i]->value.data, (size_t)count * sizeof *values);
        for (int64_t j = 0; j < count; j++) sum += values[j];
        free(values);
    }
    return sum;
}

static void evaluate(model *m, float *nll) {
    int32_t ids[LENGTH + 1];
    for (int i = 0; i <= LENGTH; i++) ids[i] = i * 7 % VOCAB;
    pass *p;
    need(pass_create(&p, m) == STATUS_OK);
    pass_clear(p);
    need(pass_evaluate(p, &(batch){.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids + 1}, nll) ==
         STATUS_OK);
    pass_destroy(p);
}

static void collect(comm *c, void *context) {
    study *s = context;
    model *m = make(s, c);
    check_places(s, m, c->rank);
    for (int again = 0; again < 2; again++) {
        need(spread_is_on(m) == (s->expert_ranks > 1));
        need(spread_collect(m, s->root, true) == STATUS_OK);
        if (c->rank == s->root) {
            need(!spread_is_on(m));
            evaluate(m, s->nll);
            s->sum = sum_values(m);
        }
        spread_release(m);
        check_places(s, m, c->rank);
    }
    model_destroy(m);
}

/* Whichever rank it is has the model of a single process then, and no longer. */
static void one_rank_has_all_for_a_while(void **state) {
    (void)state;
    for (int upcycles = 0; upcycles < 2; upcycles++) {
        study alone = {.expert_ranks = 1, .upcycles = upcycles};
        run_ranks(1, collect, &alone);
        assert_true(alone.nll[3] > 0);
        for (int i = 0; i < 3; i++) {
            study s = {.expert_ranks = i == 0 ? 2 : 4, .root = i == 2 ? 3 : 0, .upcycles = upcycles};
            run_ranks(RANKS, collect, &s);
            assert_memory_equal(s.nll, alone.nll, sizeof s.nll);
            assert_true(s.sum == alone.sum);
        }
    }
}

/* ---- what accompanies them ---- */

static float *companion(const void *context, int i) {
    float *const *arrays = context;
    return arrays[i];
}

static void gather(comm *c, void *context) {
    const study *s = context;
    model *m = make(s, c);
    float **arrays = xcalloc((size_t)m->param_count, sizeof *arrays);
    for (int i = 0; i < m->param_count; i++) {
        const int64_t count = param_count(m->params[i]);
        if (m->params[i]->away) continue;
        arrays[i] = xcalloc((size_t)count, sizeof **arrays);
        for (int64_t j = 0; j < count; j++) arrays[i][j] = (float)(1000 * i + (int)(j % 100));
    }
    arena out;
    need(spread_gather(m, 1, companion, arrays, &out) == STATUS_OK);
    need((out.data != NULL) == (c->rank == 1));
    int64_t at = 0;
    for (int i = 0; i < m->param_count; i++) {
        const int64_t count = m->params[i]->away ? param_count(m->params[i]) : 0;
        for (int64_t j = 0; j < count && out.data; j++) need(out.data[at++] == (float)(1000 * i + (int)(j % 100)));
        free(arrays[i]);
    }
    need(at == out.count);
    arena_destroy(&out);
    free(arrays);
    model_destroy(m);
}

static void companions_are_gathered(void **state) {
    (void)state;
    study s = {.expert_ranks = 2};
    run_ranks(RANKS, gather, &s);
    s.expert_ranks = 4;
    run_ranks(RANKS, gather, &s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_divide_is_refused),
        cmocka_unit_test(one_rank_has_all_for_a_while),
        cmocka_unit_test(companions_are_gathered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Which experts tokens go to beside what routers say: labels, with blocks that backward runs again, and masks of experts. */
#include "test.h"

#include "base/random.h"
#include "nn/pass.h"
#include <math.h>

enum { VOCAB = 80, BATCH = 2, LENGTH = 24, TOKENS = BATCH * LENGTH, EXPERTS = 4 };

/* Three layers of experts, two of which run twice. */
static model *make(float bias_rate) {
    model_config c = model_config_default();
    model *m;
    c.vocab_size = VOCAB;
    c.num_layers = 4;
    c.model_dim = 32;
    c.attention.heads = 2;
    c.attention.kv_heads = 1;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.residual.parallel_start_layer = 4;
    c.loop.on = true;
    c.loop.extra_passes = 1;
    c.loop.first = 1;
    c.loop.last = 2;
    for (int i = 1; i < 4; i++) c.moe.layers[i] = true;
    c.moe.experts = EXPERTS;
    c.moe.top_k = 1;
    c.moe.bias_rate = bias_rate;
    assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN));
    assert_ok(model_init(m, 5));
    return m;
}

typedef struct text {
    int32_t ids[TOKENS + 1], domain[TOKENS];
} text;

/* In every row the second half is of another domain than the first; some tokens have none. */
static batch make_batch(text *t) {
    rng r = rng_seed(9);
    for (int i = 0; i <= TOKENS; i++) t->ids[i] = (int32_t)rng_below(&r, VOCAB);
    for (int i = 0; i < TOKENS; i++) t->domain[i] = i % LENGTH < 3 ? NO_DOMAIN : i % LENGTH < LENGTH / 2 ? 0 : 1;
    return (batch){
        .batch = BATCH, .length = LENGTH, .input_ids = t->ids, .target_ids = t->ids + 1, .domain = t->domain};
}

/* ---- labels ---- */

static const int expert_of[] = {2, 1};

typedef struct found {
    float *gradients;
    int64_t count;
    double aux, ce[8], hits[8], labelled[8];
    int routed;
} found;

/* Two micro-batches, of which one has labels. */
static found train(bool overrule, bool recompute) {
    const label_args labels = {.expert_of = expert_of, .domains = 2, .weight = 0.5f, .overrule = overrule};
    text t;
    const batch with = make_batch(&t);
    batch without = with;
    model *m = make(0);
    pass *p;
    found f = {0};
    without.domain = NULL;
    assert_ok(pass_create(&p, m));
    pass_set_recompute(p, recompute);
    pass_use_labels(p, &labels);
    model_zero_grad(m);
    pass_clear(p);
    assert_ok(pass_train(p, &with, 0.5f));
    assert_ok(pass_train(p, &without, 0.5f));
    const pass_statistics *s = pass_read(p);
    f.aux = s->aux;
    f.routed = s->routed;
    for (int i = 0; i < s->routed; i++) {
        f.ce[i] = s->routing[i].label_ce;
        f.hits[i] = s->routing[i].label_hits;
        f.labelled[i] = s->routing[i].labelled;
    }
    for (int i = 0; i < m->param_count; i++) {
        const param *w = m->params[i];
        if (!w->grad) continue;
        f.gradients = xrealloc(f.gradients, (size_t)(f.count + param_count(w)) * sizeof(float));
        m->k->download(f.gradients + f.count, w->grad, tensor_bytes(&w->value));
        f.count += param_count(w);
    }
    pass_destroy(p);
    model_destroy(m);
    return f;
}

static void assert_same(const found *a, const found *b) {
    double difference = 0, size = 0;
    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        difference += pow((double)a->gradients[i] - b->gradients[i], 2);
        size += pow(a->gradients[i], 2);
    }
    assert_true(size > 0 && sqrt(difference / size) < 1e-6);
    assert_true(a->aux == b->aux);
    for (int i = 0; i < a->routed; i++)
        assert_true(a->ce[i] == b->ce[i] && a->hits[i] == b->hits[i] && a->labelled[i] == b->labelled[i]);
}

/* The tokens with a label are half of half the tokens' rows but a few; the mean is over those. */
static void labels_are_the_same_where_backward_runs_blocks_again(void **state) {
    (void)state;
    for (int overrule = 0; overrule < 2; overrule++) {
        found kept = train(overrule, false), again = train(overrule, true);
        assert_same(&kept, &again);
        assert_int_equal(kept.routed, 5);
        for (int i = 0; i < kept.routed; i++) {
            assert_float_equal(kept.labelled[i], 0.5 * (LENGTH - 4) / LENGTH, 1e-9);
            assert_true(kept.ce[i] > 0.1 && kept.ce[i] < 5);
        }
        free(kept.gradients);
        free(again.gradients);
    }
}

/* ---- masks ---- */

typedef struct watch {
    const bool *allowed; /* [sequences, E] */
    int64_t rows_a_mask;
    int seen, others; /* choices; of experts that are not allowed */
} watch;

static void look(void *context, int layer, int number, const moe_choice *c) {
    watch *w = context;
    (void)layer;
    (void)number;
    for (int64_t n = 0; n < c->tokens; n++, w->seen++)
        w->others += !w->allowed[n / w->rows_a_mask * EXPERTS + c->chosen[n]];
}

static int disallowed(pass *p, const batch *b, const bool *allowed, int64_t rows_a_mask) {
    watch w = {.allowed = allowed, .rows_a_mask = rows_a_mask};
    float nll[TOKENS];
    pass_watch_routing(p, look, &w);
    assert_ok(pass_evaluate(p, b, nll));
    pass_watch_routing(p, NULL, NULL);
    for (int64_t n = 0; n < b->batch * b->length; n++) assert_true(isfinite(nll[n]));
    assert_int_equal(w.seen, 5 * b->batch * b->length);
    return w.others;
}

static void only_allowed_experts_are_chosen(void **state) {
    static const bool one[EXPERTS] = {true, false, true, false};
    static const bool each[BATCH * EXPERTS] = {[1] = true, [EXPERTS] = true, [EXPERTS + 3] = true};
    (void)state;
    for (int biased = 0; biased < 2; biased++) {
        text t;
        batch b = make_batch(&t);
        model *m = make(biased ? 0.01f : 0);
        pass *p;
        assert_ok(pass_create(&p, m));
        assert_true(disallowed(p, &b, one, TOKENS) > 0);
        assert_ok(pass_allow_experts(p, one, 1));
        assert_int_equal(disallowed(p, &b, one, TOKENS), 0);
        assert_ok(pass_allow_experts(p, each, BATCH));
        assert_int_equal(disallowed(p, &b, each, LENGTH), 0);
        b.batch = 1;
        assert_fails(pass_evaluate(p, &b, NULL), "expected the 2 sequences that they are said of, found 1");
        assert_fails(pass_allow_experts(p, (bool[EXPERTS]){false}, 1), "expected at least one");
        assert_ok(pass_allow_experts(p, NULL, 0));
        b.batch = BATCH;
        assert_true(disallowed(p, &b, one, TOKENS) > 0);
        pass_destroy(p);
        model_destroy(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_the_same_where_backward_runs_blocks_again),
        cmocka_unit_test(only_allowed_experts_are_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The count from a config is the count of the tensors that such a model has. */
#include "test.h"

#include "nn/budget.h"
#include "nn/model.h"

static void assert_counts(const model_config *c) {
    model *m;
    assert_ok(model_create(&m, c, kernels_for(DTYPE_F32), MODEL_RUN));
    model_budget b = model_budget_count(c);
    assert_int_equal(b.total, model_param_total(m));
    int64_t experts = 0, sum = 0;
    for (int i = 0; i < m->param_count; i++)
        if (strstr(m->params[i]->name, ".experts")) experts += param_count(m->params[i]);
    assert_int_equal(b.of[COMPONENT_EXPERTS], experts);
    for (int i = 0; i < COMPONENTS; i++) sum += b.of[i];
    assert_int_equal(sum, b.total);
    int active = model_config_active_experts(c);
    assert_int_equal(b.total - b.active, experts / c->moe.experts * (c->moe.experts - active));
    for (int i = 0; i < m->param_count; i++) { /* the role, layer and expert write the name, and are found by it */
        const param *p = m->params[i];
        int layer, expert;
        assert_true(name_matches(role_pattern(p->role), p->name, &layer, &expert));
        assert_int_equal(layer, p->layer);
        assert_int_equal(expert, p->expert);
        assert_ptr_equal(model_param(m, p->role, layer, expert), p);
    }
    model_destroy(m);
}

static model_config small(void) {
    model_config c = model_config_default();
    c.vocab_size = 128, c.model_dim = 64, c.attention.heads = 4, c.attention.kv_heads = 2, c.stem.bigram_buckets = 32,
    c.stem.bigram_dim = 8;
    return c;
}

static void like_the_model(void **state) {
    (void)state;
    model_config c = small();
    assert_counts(&c);
    c.moe.layers[4] = c.moe.layers[5] = true;
    assert_counts(&c);
    c.moe.experts = 3, c.moe.top_k = 2;
    assert_counts(&c);
    c.head.tied = false, c.residual.gated_skips = false, c.residual.smear_width = 0, c.stem.bigram_buckets = 0,
    c.loop.extra_passes = 0;
    assert_counts(&c);
    c.mlp.activation = ACTIVATION_SWIGLU;
    assert_counts(&c);
}

static void every_kind(void **state) {
    (void)state;
    model_config c = small();
    c.stem.hash_projection = false, c.loop.extra_passes = 0, c.stem.smear = true, c.stem.hash_scale = 0.05f;
    c.stem.trigram_buckets = 16, c.stem.trigram_dim = 64, c.moe.start_layer = 6, c.moe.experts = 5, c.moe.split = true;
    c.moe.shared_mult = 2, c.moe.bias_rate = 0.001f, c.mlp.activation = ACTIVATION_RELU2;
    c.random_up.layers[0] = c.random_up.layers[2] = true, c.random_up.rank = 8, c.random_up.experts = 3;
    assert_counts(&c);
    assert_int_equal(model_budget_count(&c).derived, 2 * 256 * 64);
    c.moe.bias_rate = 0, c.moe.gate = GATE_SOFT, c.random_up.gain = false, c.random_up.rank = 0;
    assert_counts(&c);
    c.num_layers = 1, c.residual.parallel_start_layer = 1, c.moe.start_layer = 0; /* no skips at all */
    c.random_up.layers[0] = c.random_up.layers[2] = false, c.random_up.gain = true, c.random_up.experts = 1;
    assert_counts(&c);
}

/* #2102's own size, by hand: the published 30.5 M is the dense model. */
static void published_size(void **state) {
    (void)state;
    model_config c = model_config_default();
    int64_t mlp = 2 * 2048 * 512, attention = 2 * 512 * 512 + 2 * 256 * 512;
    int64_t vectors = 9 * (8 + 512 * 4 + 12) + 2 * 7 * 512;
    int64_t dense = 8192 * 512 + 2048 * 128 + 512 * 128 + 9 * (attention + mlp) + vectors;
    assert_int_equal(dense, 30500020);
    assert_int_equal(model_budget_count(&c).total, dense);
    c.moe.layers[4] = c.moe.layers[5] = true;
    assert_int_equal(model_budget_count(&c).total, dense + 2 * (mlp + 2 * 512));
    assert_int_equal(model_budget_count(&c).active, dense + 2 * 2 * 512);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(like_the_model), cmocka_unit_test(published_size),
                                       cmocka_unit_test(every_kind)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

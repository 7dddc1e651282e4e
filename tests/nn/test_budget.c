/* The count from a config is the count of the tensors that such a model has. */
#include "test.h"

#include "nn/budget.h"
#include "nn/model.h"

static void assert_counts(const model_config *c) {
    model *m;
    assert_ok(model_create(&m, c, kernels_for(DTYPE_F32)));
    model_budget b = model_budget_count(c);
    assert_int_equal(b.total, model_param_total(m));
    int64_t experts = 0, sum = 0;
    for (int i = 0; i < m->param_count; i++)
        if (strstr(m->params[i]->name, ".experts_")) experts += param_count(m->params[i]);
    assert_int_equal(b.of[COMPONENT_EXPERTS], experts);
    for (int i = 0; i < COMPONENTS; i++) sum += b.of[i];
    assert_int_equal(sum, b.total);
    assert_int_equal(b.total - b.active, experts / c->moe_num_experts * (c->moe_num_experts - c->moe_top_k));
    model_destroy(m);
}

static model_config small(void) {
    model_config c = model_config_default();
    c.vocab_size = 128, c.model_dim = 64, c.num_heads = 4, c.num_kv_heads = 2, c.bigram_buckets = 32, c.bigram_dim = 8;
    return c;
}

static void like_the_model(void **state) {
    (void)state;
    model_config c = small();
    assert_counts(&c);
    c.moe_layers[4] = c.moe_layers[5] = true;
    assert_counts(&c);
    c.moe_num_experts = 3, c.moe_top_k = 2;
    assert_counts(&c);
    c.tie_embeddings = false, c.gated_skips = false, c.smear_width = 0, c.bigram_buckets = 0, c.num_loops = 0;
    assert_counts(&c);
    c.activation = ACTIVATION_SWIGLU;
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
    c.moe_layers[4] = c.moe_layers[5] = true;
    assert_int_equal(model_budget_count(&c).total, dense + 2 * (mlp + 2 * 512));
    assert_int_equal(model_budget_count(&c).active, dense + 2 * 2 * 512);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(like_the_model), cmocka_unit_test(published_size)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

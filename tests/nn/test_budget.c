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
        if (strstr(m->params[i]->name, ".experts")) experts += param_count(m->params[i]);
    assert_int_equal(b.of[COMPONENT_EXPERTS], experts);
    for (int i = 0; i < COMPONENTS; i++) sum += b.of[i];
    assert_int_equal(sum, b.total);
    int active = model_config_active_experts(c);
    assert_int_equal(b.total - b.active, experts / c->moe_num_experts * (c->moe_num_experts - active));
    for (int i = 0; i < m->param_count; i++) assert_int_not_equal(param_role_of(m->params[i]->name), ROLES);
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

static void every_kind(void **state) {
    (void)state;
    model_config c = small();
    c.naming = NAMING_MODULES, c.num_loops = 0, c.smear_embedding = true, c.hash_scale = 0.05f;
    c.trigram_buckets = 16, c.trigram_dim = 64, c.moe_start_layer = 6, c.moe_num_experts = 5, c.moe_split = true;
    c.moe_shared_mult = 2, c.moe_bias_rate = 0.001f, c.activation = ACTIVATION_RELU2;
    c.random_up_layers[0] = c.random_up_layers[2] = true, c.random_up_rank = 8, c.random_up_experts = 3;
    assert_counts(&c);
    assert_int_equal(model_budget_count(&c).derived, 2 * 256 * 64);
    c.moe_bias_rate = 0, c.moe_gate = GATE_SOFT, c.random_up_gain = false, c.random_up_rank = 0;
    assert_counts(&c);
    c.num_layers = 1, c.parallel_start_layer = 1, c.moe_start_layer = 0; /* no skips at all */
    c.random_up_layers[0] = c.random_up_layers[2] = false, c.random_up_gain = true, c.random_up_experts = 1;
    assert_counts(&c);
}

static void names_of_both_kinds(void **state) {
    (void)state;
    assert_int_equal(param_role_of("blocks.12.mlp.experts_fc.3.weight"), ROLE_EXPERT_FC);
    assert_int_equal(param_role_of("blocks.0.mlp.experts.63.proj.weight"), ROLE_EXPERT_PROJ);
    assert_int_equal(param_role_of("blocks.0.mlp.gate.weight"), ROLE_ROUTER);
    assert_int_equal(param_role_of("bigram.scale"), ROLE_BIGRAM_SCALE);
    assert_int_equal(param_role_of("blocks..mlp.fc.weight"), ROLES);
    assert_int_equal(param_role_of("blocks.0.mlp.fc.weight2"), ROLES);
    assert_int_equal(role_component(param_role_of("blocks.4.mlp.fc.adapter_up.weight")), COMPONENT_ADAPTERS);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(like_the_model), cmocka_unit_test(published_size),
                                       cmocka_unit_test(every_kind), cmocka_unit_test(names_of_both_kinds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

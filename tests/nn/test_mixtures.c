/* Mixtures: balancing without a loss, other numbers of experts at evaluation, noise, sums of balance losses, upcycling with a bias. */
#include "families.h"

#include <math.h>

/* Biases move towards balance by exactly one step a call. */
static void balancing_without_a_loss(void **state) {
    (void)state;
    model_config c = standard();
    c.moe.bias_rate = 0.125f, c.moe.top_k = 1;
    model *m = make(c);
    param *bias = model_find(m, "blocks.2.mlp.router_bias");
    assert_null(bias->grad);
    assert_false(bias->derived);
    float zero[4] = {0}, values[4];
    tensor_write(m->k, &bias->value, zero);
    int32_t ids[LENGTH];
    make_ids(ids, 2);
    batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids};
    pass *p = make_pass(m);
    pass_clear(p);
    model_balance_experts(m, pass_read(p)); /* no load, no step */
    tensor_read(m->k, &bias->value, values);
    for (int e = 0; e < 4; e++) assert_true(values[e] == 0);
    const pass_statistics *found = trained(p, &b);
    model_balance_experts(m, found);
    tensor_read(m->k, &bias->value, values);
    const routing_entry *router = &found->routing[0];
    assert_int_equal(router->layer, 2);
    for (int e = 0; e < 4; e++) {
        const double share = router->share[e];
        assert_true(values[e] == (float)(share > 0.25 ? -0.125 : share < 0.25 ? 0.125 : 0));
    }
    pass_destroy(p);
    model_destroy(m);
}

/* Over many steps the bias makes a skewed router's load even, without touching the router. */
static void bias_reaches_balance(void **state) {
    (void)state;
    model_config c = standard();
    c.moe.bias_rate = 0.02f, c.moe.top_k = 1, c.moe.start_layer = 4, c.moe.aux_weight = 0;
    model *m = make(c);
    int32_t ids[8 * LENGTH];
    for (int row = 0; row < 8; row++) make_ids(ids + row * LENGTH, 10 + (uint64_t)row);
    batch b = {.batch = 8, .length = LENGTH, .input_ids = ids, .target_ids = ids};
    pass *p = make_pass(m);
    double before = 0, after = 0;
    for (int step = 0; step < 60; step++) {
        const pass_statistics *found = trained(p, &b);
        double most = 0;
        for (int e = 0; e < 4; e++) most = fmax(most, found->routing[0].share[e]);
        if (step == 0) before = most;
        after = most;
        model_balance_experts(m, found);
    }
    assert_true(before > 0.33);
    assert_true(after < before && after < 0.33);
    pass_destroy(p);
    model_destroy(m);
}

static void another_top_k(void **state) {
    (void)state;
    model *m = make(standard());
    int32_t ids[LENGTH];
    float two[LENGTH * VOCAB], one[LENGTH * VOCAB], again[LENGTH * VOCAB];
    make_ids(ids, 2);
    logits_of(m, ids, NULL, two);
    assert_ok(model_set_top_k(m, 1));
    logits_of(m, ids, NULL, one);
    assert_memory_not_equal(one, two, sizeof one);
    assert_fails(model_set_top_k(m, 5), "moe_top_k: expected at most moe_num_experts 4, found 5");
    assert_ok(model_set_top_k(m, 2));
    logits_of(m, ids, NULL, again);
    assert_memory_equal(again, two, sizeof two);
    model_destroy(m);
}

/* The same batch gives the same noise, whatever was run before: a resumed run continues to the bit. */
static void noise_needs_no_state(void **state) {
    (void)state;
    model_config c = standard();
    c.moe.noise_std = 1;
    model *m = make(c);
    int32_t ids[LENGTH], others[LENGTH];
    make_ids(ids, 2);
    make_ids(others, 3);
    batch a = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids}, b = a;
    b.input_ids = others;
    pass *p = make_pass(m);
    const pass_statistics first = *trained(p, &a);
    trained(p, &b);
    const pass_statistics again = *trained(p, &a), quiet = *evaluated(p, &a);
    pass_destroy(p);
    assert_true(first.ce == again.ce && first.aux == again.aux);
    assert_true(first.aux != quiet.aux);
    model_destroy(m);
}

/* #480 averages its balance loss over the layers, #660 sums it. */
static void mean_and_sum(void **state) {
    (void)state;
    model_config c = soft();
    int32_t ids[LENGTH];
    make_ids(ids, 2);
    batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids};
    double aux[2];
    for (int i = 0; i < 2; i++) {
        c.moe.aux_mean = i == 0;
        model *m = make(c);
        pass *p = make_pass(m);
        aux[i] = evaluated(p, &b)->aux;
        pass_destroy(p);
        model_destroy(m);
    }
    assert_float_equal(aux[1], 5 * aux[0], 1e-6);
    assert_true(aux[0] >= 0.01 * 0.99);
}

/* Upcycled layers get a selection bias where the config has them, and copies of the MLP. */
static void upcycling_with_a_bias(void **state) {
    (void)state;
    model_config c = plain();
    c.moe.bias_rate = 0.001f;
    model *m = make(c);
    bool layers[MODEL_MAX_LAYERS] = {[1] = true};
    assert_ok(model_upcycle(m, layers, 3, 2, 5, NULL, NULL));
    assert_non_null(model_find(m, "blocks.1.mlp.experts_proj.2.weight"));
    assert_non_null(model_find(m, "blocks.1.mlp.router_bias"));
    assert_null(model_find(m, "blocks.1.mlp.fc.weight"));
    int32_t ids[LENGTH];
    float logits[LENGTH * VOCAB];
    make_ids(ids, 2);
    logits_of(m, ids, NULL, logits);
    model_destroy(m);
    c = standard();
    m = make(c);
    assert_fails(model_upcycle(m, layers, 3, 1, 5, NULL, NULL), "already has 4 experts");
    model_destroy(m);
    for (int i = 0; i < 3; i++) { /* experts of another width, shared ones, and those that are as wide */
        c = plain();
        c.moe.expert_hidden = i == 0 ? 16 : i == 2 ? model_config_hidden(&c) : 0;
        c.moe.shared_hidden = i == 1 ? 16 : 0;
        m = make(c);
        if (i < 2)
            assert_fails(model_upcycle(m, layers, 4, 1, 5, NULL, NULL), "copies of the MLP");
        else
            assert_ok(model_upcycle(m, layers, 4, 1, 5, NULL, NULL));
        if (i < 2) model_destroy(m);
    }
    model_destroy(m);
    c = shared_routed();
    m = make(c);
    assert_fails(model_upcycle(m, layers, 4, 1, 5, NULL, NULL), "copies of the MLP");
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(balancing_without_a_loss),
        cmocka_unit_test(bias_reaches_balance),
        cmocka_unit_test(another_top_k),
        cmocka_unit_test(noise_needs_no_state),
        cmocka_unit_test(mean_and_sum),
        cmocka_unit_test(upcycling_with_a_bias),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

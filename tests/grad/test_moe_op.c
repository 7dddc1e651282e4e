/* The mixture of experts, with every kind of gate, against finite differences. */
#include "grad/check.h"

static void prepare_moe(fixture *f) {
    add_leaf(f, D);
    add_param(f, EXPERTS, D, false, 1, 0);
    for (int e = 0; e < EXPERTS; e++) add_param(f, HIDDEN, D, true, 0.3f, 0);
    for (int e = 0; e < EXPERTS; e++) add_param(f, D, HIDDEN, true, 0.3f, 0);
    f->aux_weight = 0.5f;
}
static void prepare_moe_top1(fixture *f) {
    prepare_moe(f);
    f->top_k = 1;
}
static void prepare_moe_renormalized(fixture *f) {
    prepare_moe(f);
    f->gate = GATE_RENORMALIZED;
}
static void prepare_moe_every(fixture *f) {
    prepare_moe(f);
    f->top_k = EXPERTS;
}
static void prepare_moe_soft(fixture *f) {
    prepare_moe(f);
    f->gate = GATE_SOFT;
    f->top_k = 1;
}
static void prepare_moe_swiglu(fixture *f) {
    add_leaf(f, D);
    add_param(f, EXPERTS, D, false, 1, 0);
    for (int e = 0; e < EXPERTS; e++) add_param(f, 2 * HIDDEN, D, true, 0.3f, 0);
    for (int e = 0; e < EXPERTS; e++) add_param(f, D, HIDDEN, true, 0.3f, 0);
    f->f = ACTIVATION_SWIGLU;
    f->aux_weight = 0.5f;
}
static void prepare_moe_z(fixture *f) {
    prepare_moe(f);
    f->z_weight = 0.3f;
}
static void prepare_moe_bias(fixture *f) {
    prepare_moe(f);
    f->top_k = 1;
    float far[EXPERTS] = {0, 0, 2}; /* beyond any probability: expert 2 is everyone's choice */
    param *bias = add_param(f, 0, EXPERTS, false, 1, 0);
    f->k->upload(bias->value.data, far, sizeof far);
}
/* A quarter of the tokens has no label. */
static void label_tokens(fixture *f) {
    int32_t labels[N];
    for (int n = 0; n < N; n++) labels[n] = n % 4 == 3 ? -1 : n % EXPERTS;
    f->k->upload(f->ids, labels, sizeof labels);
    f->labels = f->ids;
}
static void prepare_moe_labels(fixture *f) {
    prepare_moe(f);
    label_tokens(f);
    f->label_weight = 0.7f;
}
static void prepare_moe_by_label(fixture *f) {
    prepare_moe_labels(f);
    f->top_k = 1;
    f->by_label = true;
    f->aux_weight = 0; /* of the router's own choice, which here is overruled */
}
/* The first sequence has no expert 0, the second one expert 2 alone. */
static void mask_experts(fixture *f) {
    const float mask[B * EXPERTS] = {-INFINITY, 0, 0, -INFINITY, -INFINITY, 0};
    f->mask = device_copy(f->k, mask, sizeof mask);
}
static void prepare_moe_mask(fixture *f) {
    prepare_moe(f);
    mask_experts(f);
    f->aux_weight = 0; /* its f_e are those of first choices, which a step of the differences may change */
}
static void prepare_moe_mask_and_bias(fixture *f) {
    prepare_moe_bias(f);
    mask_experts(f);
    f->aux_weight = 0;
}
static var *build_moe(fixture *f) {
    const param *bias = f->param_count > 1 + 2 * EXPERTS ? f->params[1 + 2 * EXPERTS] : NULL;
    const moe_args args = {.experts = EXPERTS,
                           .top_k = f->top_k,
                           .gate = f->gate,
                           .aux_weight = f->aux_weight,
                           .z_weight = f->z_weight,
                           .noise_std = f->noise_std,
                           .noise_seed = 3,
                           .bias = bias,
                           .labels = f->labels,
                           .label_weight = f->label_weight,
                           .by_label = f->by_label,
                           .label_sums = f->sums + ROUTING_SUMS(EXPERTS),
                           .mask = f->mask,
                           .rows_a_mask = T,
                           .sums = f->sums};
    for (int e = 0; e < EXPERTS; e++)
        f->experts[e] = (mlp){.fc = only(f->params[1 + e]), .proj = only(f->params[1 + EXPERTS + e]), .f = f->f};
    f->k->zero(f->sums, sizeof f->found);
    var *y = op_moe(f->t, f->leaf_vars[0], f->params[0], f->experts, &args);
    f->k->download(f->found, f->sums, sizeof f->found);
    if (bias && !f->mask) assert_float_equal(f->found[2], 1, 1e-6);
    if (f->mask) assert_float_equal(f->found[EXPERTS], 0, 1e-6); /* nobody's first choice */
    const double z = f->found[3 * EXPERTS + 1], balance = EXPERTS * f->found[3 * EXPERTS + 2];
    f->aux = (double)f->aux_weight * balance + (double)f->z_weight * z +
             (double)f->label_weight * f->found[ROUTING_SUMS(EXPERTS)];
    return y;
}

static var *build_dense(fixture *f) {
    const mlp m = {.fc = only(f->params[0]), .proj = only(f->params[1]), .f = f->f};
    return op_mlp(f->t, f->leaf_vars[0], &m, 0);
}

/* The straight-through gate's gradient is not that of its value: its own rule, by hand. With ȳ_e = the output of expert e and
 * one-hot gates, d/dp_e = dy · ȳ_e for every expert, so soft gates' gradient of the router is the same wherever soft
 * and hard outputs meet: at E = 1 copies. Here all experts are copies of the first, whose output y then is the same for
 * every gate: the router's gradient must vanish and the experts' must be that of one dense MLP, split by who was chosen. */
static void test_straight_through(void **state) {
    (void)state;
    fixture f, dense;
    int64_t total;
    start(&f, DTYPE_F32, false);
    prepare_moe(&f);
    f.aux_weight = 0;
    f.gate = GATE_STRAIGHT_THROUGH;
    for (int e = 1; e < EXPERTS; e++) {
        f.k->copy(f.params[1 + e]->value.data, f.params[1]->value.data, HIDDEN * D * sizeof(float));
        f.k->copy(f.params[1 + EXPERTS + e]->value.data, f.params[1 + EXPERTS]->value.data, HIDDEN * D * sizeof(float));
    }
    float *g = gradients(&f, build_moe, &total);
    start(&dense, DTYPE_F32, false);
    add_leaf(&dense, D);
    add_param(&dense, HIDDEN, D, true, 0.3f, 0);
    add_param(&dense, D, HIDDEN, true, 0.3f, 0);
    dense.k->copy(dense.params[0]->value.data, f.params[1]->value.data, HIDDEN * D * sizeof(float));
    dense.k->copy(dense.params[1]->value.data, f.params[1 + EXPERTS]->value.data, HIDDEN * D * sizeof(float));
    float *h = gradients(&dense, build_dense, &total);
    for (int i = 0; i < N * D; i++) assert_float_equal(g[i], h[i], 1e-4); /* of x */
    const float *router = g + N * D, *experts = router + EXPERTS * D, *one = h + N * D;
    for (int i = 0; i < EXPERTS * D; i++) assert_float_equal(router[i], 0, 1e-4);
    for (int i = 0; i < HIDDEN * D; i++) {
        float sum = 0;
        for (int e = 0; e < EXPERTS; e++) sum += experts[e * HIDDEN * D + i];
        assert_float_equal(sum, one[i], 1e-3);
    }
    free(g);
    free(h);
    finish(&f);
    finish(&dense);
}

/* Gates are one-hot forward, recording or not, and every expert's output reaches the router. */
static void test_straight_through_router(void **state) {
    (void)state;
    fixture f;
    int64_t total;
    start(&f, DTYPE_F32, false);
    prepare_moe(&f);
    f.aux_weight = 0;
    f.gate = GATE_STRAIGHT_THROUGH;
    var *y = forward(&f, build_moe, true);
    float *recorded = act_to_host(&f, y->value.data, N * D);
    y = forward(&f, build_moe, false);
    float *plain = act_to_host(&f, y->value.data, N * D);
    for (int i = 0; i < N * D; i++) assert_float_equal(recorded[i], plain[i], 1e-5);
    float *through = gradients(&f, build_moe, &total);
    f.gate = GATE_SOFT; /* d/dp_e = dy · ȳ_e is the soft gates' too: the router's gradients are equal */
    float *soft = gradients(&f, build_moe, &total);
    for (int i = N * D; i < N * D + EXPERTS * D; i++) assert_float_equal(through[i], soft[i], 1e-4);
    assert_true(largest(through + N * D, EXPERTS * D) > 0.01);
    free(recorded);
    free(plain);
    free(through);
    free(soft);
    finish(&f);
}

/* Noise is there only when recording, is the same for the same seed, and moves choices. */
static void test_noise(void **state) {
    (void)state;
    fixture f;
    start(&f, DTYPE_F32, false);
    prepare_moe(&f);
    f.top_k = 1;
    float *clean = act_to_host(&f, forward(&f, build_moe, false)->value.data, N * D);
    f.noise_std = 3;
    float *evaluated = act_to_host(&f, forward(&f, build_moe, false)->value.data, N * D);
    float *noisy = act_to_host(&f, forward(&f, build_moe, true)->value.data, N * D);
    float *again = act_to_host(&f, forward(&f, build_moe, true)->value.data, N * D);
    assert_memory_equal(clean, evaluated, N * D * sizeof *clean);
    assert_memory_equal(noisy, again, N * D * sizeof *noisy);
    assert_memory_not_equal(clean, noisy, N * D * sizeof *noisy);
    free(clean);
    free(evaluated);
    free(noisy);
    free(again);
    finish(&f);
}

/* Labelled tokens are run by their expert alone with a gate of 1, and how often the router would have said so is counted. */
static void test_labels_overrule(void **state) {
    (void)state;
    fixture f;
    start(&f, DTYPE_F32, false);
    prepare_moe_by_label(&f);
    float *y = act_to_host(&f, forward(&f, build_moe, false)->value.data, N * D);
    assert_float_equal(f.found[ROUTING_SUMS(EXPERTS) + 2], 11.0 / N, 1e-9); /* have a label */
    const double right = f.found[ROUTING_SUMS(EXPERTS) + 1];
    assert_true(right > 0 && right < 11.0 / N);
    for (int e = 0; e < EXPERTS; e++) {
        var *alone = op_mlp(f.t, f.leaf_vars[0], &f.experts[e], 0);
        float *z = act_to_host(&f, alone->value.data, N * D);
        for (int n = 0; n < N; n++)
            for (int c = 0; c < D && n % 4 != 3 && n % EXPERTS == e; c++)
                assert_float_equal(y[n * D + c], z[n * D + c], 1e-4);
        free(z);
    }
    free(y);
    finish(&f);
}

CASE(top1, prepare_moe_top1, build_moe)
CASE(top2, prepare_moe, build_moe)
CASE(renormalized, prepare_moe_renormalized, build_moe)
CASE(every, prepare_moe_every, build_moe)
CASE(soft, prepare_moe_soft, build_moe)
CASE(swiglu, prepare_moe_swiglu, build_moe)
CASE(z, prepare_moe_z, build_moe)
CASE(bias, prepare_moe_bias, build_moe)
CASE(labels, prepare_moe_labels, build_moe)
CASE(by_label, prepare_moe_by_label, build_moe)
CASE(mask, prepare_moe_mask, build_moe)
CASE(mask_and_bias, prepare_moe_mask_and_bias, build_moe)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top1),
        cmocka_unit_test(test_top2),
        cmocka_unit_test(test_renormalized),
        cmocka_unit_test(test_every),
        cmocka_unit_test(test_soft),
        cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_z),
        cmocka_unit_test(test_bias),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_by_label),
        cmocka_unit_test(test_mask),
        cmocka_unit_test(test_mask_and_bias),
        cmocka_unit_test(test_labels_overrule),
        cmocka_unit_test(test_straight_through),
        cmocka_unit_test(test_straight_through_router),
        cmocka_unit_test(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

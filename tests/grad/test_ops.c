/* Every op but the mixture (test_moe_op.c) against finite differences. */
#include "grad/check.h"

static void prepare_embed(fixture *f) {
    add_param(f, VOCAB, D, true, 1, 0);
}
static var *build_embed(fixture *f) {
    return op_embed(f->t, f->params[0], f->ids, N);
}

static void prepare_linear(fixture *f) {
    add_leaf(f, D);
    add_param(f, HIDDEN, D, true, 0.3f, 0);
}
static var *build_linear(fixture *f) {
    const linear l = only(f->params[0]);
    return op_linear(f->t, f->leaf_vars[0], &l, 0);
}
static void prepare_whole_linear(fixture *f) {
    prepare_linear(f);
    add_param(f, 0, HIDDEN, false, 1, 0);    /* bias */
    add_param(f, 3, D, true, 0.3f, 0);       /* V */
    add_param(f, HIDDEN, 3, true, 0.3f, 0);  /* U */
    add_param(f, 2, HIDDEN, false, 0.3f, 1); /* a scale for each of two passes */
}
/* Both passes, so that each row of the scales gets its own gradient. */
static var *build_whole_linear(fixture *f) {
    param **p = f->params;
    const linear l = {.weight = p[0], .bias = p[1], .down = p[2], .up = p[3], .pass_scale = p[4]};
    var *x = f->leaf_vars[0];
    return op_add(f->t, op_linear(f->t, x, &l, 0), op_linear(f->t, op_scale_add(f->t, x, x, NULL, 0), &l, 1));
}
static var *build_biased_linear(fixture *f) {
    const linear l = {.weight = f->params[0], .bias = f->params[1]};
    return op_linear(f->t, f->leaf_vars[0], &l, 0);
}
static var *build_low_rank_linear(fixture *f) {
    const linear l = {.weight = f->params[0], .down = f->params[2], .up = f->params[3]};
    return op_linear(f->t, f->leaf_vars[0], &l, 0);
}

/* The same layer twice: gradients of a recurrence add up. */
static void prepare_recurrence(fixture *f) {
    add_leaf(f, D);
    add_param(f, D, D, true, 0.3f, 0);
}
static var *build_recurrence(fixture *f) {
    const linear l = only(f->params[0]);
    return op_linear(f->t, op_linear(f->t, f->leaf_vars[0], &l, 0), &l, 1);
}

static var *build_rms_norm(fixture *f) {
    return op_rms_norm(f->t, f->leaf_vars[0], NULL, 0.7f, 1e-6f);
}
static void prepare_weighted_norm(fixture *f) {
    add_leaf(f, D);
    add_param(f, 0, D, false, 0.5f, 1);
}
static var *build_weighted_norm(fixture *f) {
    return op_rms_norm(f->t, f->leaf_vars[0], f->params[0], 1.3f, 1e-2f);
}

static var *build_add(fixture *f) {
    return op_add(f->t, f->leaf_vars[0], f->leaf_vars[1]);
}
static void prepare_scale_add(fixture *f) {
    two_leaves(f);
    add_param(f, 0, D, false, 1, 0);
}
static var *build_scale_add(fixture *f) {
    return op_scale_add(f->t, f->leaf_vars[0], f->leaf_vars[1], f->params[0], 0);
}
static var *build_scale_add_row(fixture *f) {
    return op_scale_add(f->t, f->leaf_vars[0], f->leaf_vars[1], f->params[0], 2);
}

static void prepare_mix(fixture *f) {
    two_leaves(f);
    add_param(f, 2, D, false, 1, 0);
}
static var *build_mix(fixture *f) {
    return op_mix(f->t, f->leaf_vars[0], f->leaf_vars[1], f->params[0]);
}
static var *build_mix_same(fixture *f) {
    var *x = op_add(f->t, f->leaf_vars[0], f->leaf_vars[1]);
    return op_mix(f->t, x, x, f->params[0]);
}

static void prepare_smear(fixture *f) {
    add_leaf(f, D);
    add_param(f, 0, 12, false, 1, 0);
}
static var *build_smear(fixture *f) {
    return op_smear(f->t, f->leaf_vars[0], f->params[0], &f->l, NULL);
}

static void prepare_skip(fixture *f) {
    two_leaves(f);
    add_param(f, 3, D, false, 1, 0);
    add_param(f, 3, D, false, 1, 0);
}
static var *build_gated_skip(fixture *f) {
    return op_skip(f->t, f->leaf_vars[0], f->leaf_vars[1], f->params[0], f->params[1], 1);
}
static var *build_plain_skip(fixture *f) {
    return op_skip(f->t, f->leaf_vars[0], f->leaf_vars[1], f->params[0], NULL, 2);
}
static var *build_skip_same(fixture *f) {
    var *x = op_add(f->t, f->leaf_vars[0], f->leaf_vars[1]);
    return op_skip(f->t, x, x, f->params[0], f->params[1], 0);
}

/* Heads of 8 channels with a gain each, and a weight of the norm that all share. */
static void prepare_heads(fixture *f) {
    add_leaf(f, HEADS * 8);
    add_param(f, 0, HEADS, false, 1, 2);
    add_param(f, 0, 8, false, 0.5f, 1);
}
static const head_args normed = {.heads = HEADS, .head_dim = 8, .norm = true, .eps = 1e-6f};
static void prepare_heads_record(fixture *f) {
    prepare_heads(f);
    set_rotary(f, 8, 4, ROTARY_RECORD);
}
static void prepare_heads_halves(fixture *f) {
    prepare_heads(f);
    set_rotary(f, 8, 8, ROTARY_HALVES);
}
static void prepare_heads_neighbours(fixture *f) {
    prepare_heads(f);
    set_rotary(f, 8, 6, ROTARY_NEIGHBOURS);
}
static var *build_heads_gain(fixture *f) {
    return op_head_rotate(f->t, f->leaf_vars[0], NULL, f->params[0], &f->l, &normed);
}
static var *build_heads_norm(fixture *f) {
    return op_head_rotate(f->t, f->leaf_vars[0], NULL, NULL, &f->l, &normed);
}
static var *build_heads_weight(fixture *f) {
    return op_head_rotate(f->t, f->leaf_vars[0], f->params[1], f->params[0], &f->l, &normed);
}
static var *build_heads_plain(fixture *f) {
    const head_args plain = {.heads = HEADS, .head_dim = 8};
    return op_head_rotate(f->t, f->leaf_vars[0], NULL, NULL, &f->l, &plain);
}

static void prepare_attention(fixture *f) {
    add_leaf(f, HEADS * 8);
    add_leaf(f, KV_HEADS * 8);
    add_leaf(f, KV_HEADS * 8);
}
static var *build_attention(fixture *f) {
    return op_attention(f->t, f->leaf_vars[0], f->leaf_vars[1], f->leaf_vars[2], &f->l, HEADS, KV_HEADS, NULL);
}
static var *build_xsa(fixture *f) {
    return op_xsa(f->t, f->leaf_vars[0], f->leaf_vars[1], HEADS, KV_HEADS);
}
static var *build_attention_xsa(fixture *f) {
    return op_xsa(f->t, build_attention(f), f->leaf_vars[2], HEADS, KV_HEADS);
}

static void prepare_mlp(fixture *f) {
    add_leaf(f, D);
    add_param(f, HIDDEN, D, true, 0.3f, 0);
    add_param(f, D, HIDDEN, true, 0.3f, 0);
}
static void prepare_relu2(fixture *f) {
    prepare_mlp(f);
    f->f = ACTIVATION_RELU2;
}
static void prepare_swiglu(fixture *f) {
    add_leaf(f, D);
    add_param(f, 2 * HIDDEN, D, true, 0.3f, 0);
    add_param(f, D, HIDDEN, true, 0.3f, 0);
    f->f = ACTIVATION_SWIGLU;
}
static var *build_mlp(fixture *f) {
    const mlp m = {.fc = only(f->params[0]), .proj = only(f->params[1]), .f = f->f};
    return op_mlp(f->t, f->leaf_vars[0], &m, 0);
}

static void prepare_biased_mlp(fixture *f) {
    prepare_mlp(f);
    add_param(f, 0, HIDDEN, false, 0.3f, 0);
    add_param(f, 0, D, false, 0.3f, 0);
}
static var *build_biased_mlp(fixture *f) {
    param **p = f->params;
    const mlp m = {.fc = {.weight = p[0], .bias = p[2]}, .proj = {.weight = p[1], .bias = p[3]}, .f = f->f};
    return op_mlp(f->t, f->leaf_vars[0], &m, 0);
}

static void prepare_sigmoid_gate(fixture *f) {
    two_leaves(f);
    add_param(f, 1, D, false, 0.5f, 0);
}
static var *build_sigmoid_gate(fixture *f) {
    return op_sigmoid_gate(f->t, f->leaf_vars[0], f->leaf_vars[1], f->params[0]);
}
static var *build_sigmoid_gate_same(fixture *f) {
    var *x = op_add(f->t, f->leaf_vars[0], f->leaf_vars[1]);
    return op_sigmoid_gate(f->t, x, x, f->params[0]);
}

static void prepare_scalar_add(fixture *f) {
    two_leaves(f);
    f->params[f->param_count++] = new_param(f, "scale", 0, NULL, false, 1, 0.5f);
}
static var *build_scalar_add(fixture *f) {
    return op_scalar_add(f->t, f->leaf_vars[0], f->leaf_vars[1], f->params[0]);
}

static var *build_activate(fixture *f) {
    return op_activate(f->t, f->leaf_vars[0], f->f);
}
static void prepare_activate_swiglu(fixture *f) {
    add_leaf(f, 2 * D);
    f->f = ACTIVATION_SWIGLU;
}

/* Chunks of 6, 6, 5 and 5 channels. */
static void prepare_chunk_gate(fixture *f) {
    add_leaf(f, 22);
    add_leaf(f, D);
    add_param(f, 0, 22, false, 1, 1);
    add_param(f, 4, D, false, 1, 0);
}
static var *build_chunk_gate(fixture *f) {
    return op_chunk_gate(f->t, f->leaf_vars[0], f->params[0], f->leaf_vars[1], f->params[1]);
}
static var *build_chunk_gain(fixture *f) {
    return op_chunk_gate(f->t, f->leaf_vars[0], f->params[0], f->leaf_vars[1], NULL);
}
static var *build_chunk_router(fixture *f) {
    return op_chunk_gate(f->t, f->leaf_vars[0], NULL, f->leaf_vars[1], f->params[1]);
}

/* The up-projection of #1692 as a whole, with R frozen: dx comes through it, but no gradient of its own. */
static void prepare_random_up(fixture *f) {
    add_leaf(f, D);
    add_param(f, 0, HIDDEN, false, 1, 1);
    add_param(f, 3, D, false, 1, 0);
    add_param(f, HIDDEN, D, true, 0.3f, 0);
    f->f = ACTIVATION_RELU2;
}
static var *build_random_up(fixture *f) {
    const linear up = only(f->params[2]);
    var *x = f->leaf_vars[0], *u = op_linear(f->t, x, &up, 0);
    return op_activate(f->t, op_chunk_gate(f->t, u, f->params[0], x, f->params[1]), f->f);
}
/* A parameter without a gradient array is passed by, and does not keep others from theirs. */
static void test_frozen(void **state) {
    (void)state;
    fixture f;
    int64_t total;
    start(&f, DTYPE_F32, false);
    prepare_random_up(&f);
    float *all = gradients(&f, build_random_up, &total);
    f.k->release(f.params[2]->grad);
    f.params[2]->grad = NULL;
    float *frozen = gradients(&f, build_random_up, &total);
    assert_memory_equal(all, frozen, (size_t)(total - HIDDEN * D) * sizeof *all);
    for (int64_t i = total - HIDDEN * D; i < total; i++) assert_true(frozen[i] == 0);
    free(all);
    free(frozen);
    finish(&f);
}

static void prepare_loss(fixture *f) {
    add_leaf(f, D);
    add_param(f, VOCAB, D, true, 1, 0);
}
/* The mean over all rows is added to what the device has summed so far. */
static var *build_cross_entropy(fixture *f) {
    const linear head = only(f->params[0]);
    f->k->zero(f->sums, sizeof *f->sums);
    assert_ok(op_cross_entropy(f->t, f->leaf_vars[0], &head, f->targets, 5, 1, f->sums, NULL));
    f->k->download(&f->aux, f->sums, sizeof f->aux);
    return NULL;
}
static void test_cross_entropy_adds_up(void **state) {
    (void)state;
    fixture f;
    double once, twice;
    start(&f, DTYPE_F32, false);
    prepare_loss(&f);
    build_fn build = build_cross_entropy;
    forward(&f, build, false);
    once = f.aux;
    const linear head = only(f.params[0]);
    assert_ok(op_cross_entropy(f.t, f.leaf_vars[0], &head, f.targets, 5, 1, f.sums, NULL));
    f.k->download(&twice, f.sums, sizeof twice);
    assert_float_equal(twice, 2 * once, 1e-9);
    finish(&f);
}

CASE(embed, prepare_embed, build_embed)
CASE(linear, prepare_linear, build_linear)
CASE(whole_linear, prepare_whole_linear, build_whole_linear)
CASE(biased_linear, prepare_whole_linear, build_biased_linear)
CASE(low_rank_linear, prepare_whole_linear, build_low_rank_linear)
CASE(recurrence, prepare_recurrence, build_recurrence)
CASE(rms_norm, one_leaf, build_rms_norm)
CASE(weighted_norm, prepare_weighted_norm, build_weighted_norm)
CASE(add, two_leaves, build_add)
CASE(scale_add, prepare_scale_add, build_scale_add)
CASE(scale_add_row, prepare_skip, build_scale_add_row)
CASE(mix, prepare_mix, build_mix)
CASE(mix_same, prepare_mix, build_mix_same)
CASE(smear, prepare_smear, build_smear)
CASE(gated_skip, prepare_skip, build_gated_skip)
CASE(plain_skip, prepare_skip, build_plain_skip)
CASE(skip_same, prepare_skip, build_skip_same)
CASE(heads_gain, prepare_heads_record, build_heads_gain)
CASE(heads_norm, prepare_heads_halves, build_heads_norm)
CASE(heads_weight, prepare_heads_halves, build_heads_weight)
CASE(heads_weight_neighbours, prepare_heads_neighbours, build_heads_weight)
CASE(heads_plain, prepare_heads_neighbours, build_heads_plain)
CASE(attention, prepare_attention, build_attention)
CASE(xsa, prepare_attention, build_xsa)
CASE(attention_xsa, prepare_attention, build_attention_xsa)
CASE(mlp, prepare_mlp, build_mlp)
CASE(mlp_relu2, prepare_relu2, build_mlp)
CASE(mlp_swiglu, prepare_swiglu, build_mlp)
CASE(mlp_biased, prepare_biased_mlp, build_biased_mlp)
CASE(sigmoid_gate, prepare_sigmoid_gate, build_sigmoid_gate)
CASE(sigmoid_gate_same, prepare_sigmoid_gate, build_sigmoid_gate_same)
CASE(scalar_add, prepare_scalar_add, build_scalar_add)
CASE(activate, one_leaf, build_activate)
CASE(activate_swiglu, prepare_activate_swiglu, build_activate)
CASE(chunk_gate, prepare_chunk_gate, build_chunk_gate)
CASE(chunk_gain, prepare_chunk_gate, build_chunk_gain)
CASE(chunk_router, prepare_chunk_gate, build_chunk_router)
CASE(random_up, prepare_random_up, build_random_up)
CASE(cross_entropy, prepare_loss, build_cross_entropy)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_whole_linear),
        cmocka_unit_test(test_biased_linear),
        cmocka_unit_test(test_low_rank_linear),
        cmocka_unit_test(test_recurrence),
        cmocka_unit_test(test_rms_norm),
        cmocka_unit_test(test_weighted_norm),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_scale_add),
        cmocka_unit_test(test_scale_add_row),
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_mix_same),
        cmocka_unit_test(test_smear),
        cmocka_unit_test(test_gated_skip),
        cmocka_unit_test(test_plain_skip),
        cmocka_unit_test(test_skip_same),
        cmocka_unit_test(test_heads_gain),
        cmocka_unit_test(test_heads_norm),
        cmocka_unit_test(test_heads_weight),
        cmocka_unit_test(test_heads_weight_neighbours),
        cmocka_unit_test(test_heads_plain),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_xsa),
        cmocka_unit_test(test_attention_xsa),
        cmocka_unit_test(test_mlp),
        cmocka_unit_test(test_mlp_relu2),
        cmocka_unit_test(test_mlp_swiglu),
        cmocka_unit_test(test_mlp_biased),
        cmocka_unit_test(test_sigmoid_gate),
        cmocka_unit_test(test_sigmoid_gate_same),
        cmocka_unit_test(test_scalar_add),
        cmocka_unit_test(test_activate),
        cmocka_unit_test(test_activate_swiglu),
        cmocka_unit_test(test_chunk_gate),
        cmocka_unit_test(test_chunk_gain),
        cmocka_unit_test(test_chunk_router),
        cmocka_unit_test(test_random_up),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_cross_entropy_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

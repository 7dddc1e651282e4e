/* What is frozen has no gradient, and the others have those that they have without it. */
#include "test.h"

#include "base/random.h"
#include "nn/freeze.h"
#include "nn/pass.h"
#include "nn/roles.h"

enum { VOCAB = 80, BATCH = 2, LENGTH = 24 };

/* Every component: looped layers, U-Net skips, hashes, shared experts, random up-projections with adapters, an own head. */
static model_config everything(void) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB;
    c.num_layers = 6;
    c.model_dim = 64;
    c.attention.heads = 4;
    c.attention.kv_heads = 2;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.stem.bigram_buckets = 32;
    c.stem.bigram_dim = 16;
    c.stem.trigram_buckets = 32;
    c.stem.trigram_dim = 16;
    c.loop.extra_passes = 1;
    c.loop.first = 1;
    c.loop.last = 2;
    c.loop.on = true;
    c.head.tied = false;
    c.moe.layers[1] = c.moe.layers[4] = true;
    c.moe.experts = 3;
    c.moe.top_k = 2;
    c.moe.gate = GATE_RENORMALIZED;
    c.moe.shared_mult = 1;
    c.norm.weight = true;
    c.init.projection = PROJECTION_ORTHOGONAL;
    c.residual.mix = false;
    c.random_up.layers[3] = true;
    c.random_up.rank = 4;
    return c;
}

static model *make_of(model_config c, char *const *patterns, int count) {
    const name_list frozen = {(char **)patterns, count};
    model *m;
    assert_ok(model_create_frozen(&m, &c, kernels_for(DTYPE_F32), &frozen));
    assert_ok(freeze_check(&frozen, m));
    assert_ok(model_init(m, 3));
    return m;
}

static model *make(char *const *patterns, int count) {
    return make_of(everything(), patterns, count);
}

static void train(model *m) {
    int32_t ids[BATCH * LENGTH + 1];
    rng r = rng_seed(9);
    for (int i = 0; i <= BATCH * LENGTH; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
    const batch b = {.batch = BATCH, .length = LENGTH, .input_ids = ids, .target_ids = ids + 1};
    pass *p;
    assert_ok(pass_create(&p, m));
    model_zero_grad(m);
    pass_clear(p);
    assert_ok(pass_train(p, &b, 1));
    pass_destroy(p);
}

/* How many parameters are frozen. */
static int assert_others_the_same(const model *all, const model *part) {
    int frozen = 0;
    for (int i = 0; i < all->param_count; i++) {
        const param *a = all->params[i], *p = part->params[i];
        assert_string_equal(a->name, p->name);
        if (p->grad)
            assert_memory_equal(a->grad, p->grad, tensor_bytes(&a->value));
        else if (a->grad)
            frozen++;
    }
    return frozen;
}

static void each_component(void **state) {
    (void)state;
    model *all = make(NULL, 0);
    train(all);
    for (int c = 0; c < COMPONENTS; c++) {
        char *patterns[] = {(char *)component_name((component)c)};
        model *m = make(patterns, 1);
        train(m);
        if (assert_others_the_same(all, m) == 0) fail_msg("nothing is frozen by %s", patterns[0]);
        assert_true(m->layout.trained < all->layout.trained);
        model_destroy(m);
    }
    model_destroy(all);
}

static void by_name(void **state) {
    (void)state;
    char *patterns[] = {(char *)"blocks.[0-2].*", (char *)"*.router.weight"};
    model *all = make(NULL, 0), *m = make(patterns, 2);
    train(all);
    train(m);
    assert_others_the_same(all, m);
    assert_null(model_find(m, "blocks.2.attn.c_q.weight")->grad);
    assert_null(model_find(m, "blocks.4.mlp.router.weight")->grad);
    assert_non_null(model_find(m, "blocks.3.attn.c_q.weight")->grad);
    model_destroy(all);
    model_destroy(m);
}

static void copies_follow(void *count, const param *new_param, const param *old_param) {
    (void)old_param;
    if (!new_param->frozen) ++*(int *)count;
}

/* The experts that an event makes of a frozen layer are frozen. */
static void upcycling(void **state) {
    (void)state;
    char *patterns[] = {(char *)"blocks.0.*"};
    model_config c = everything();
    c.moe.shared_mult = 0;
    model *m = make_of(c, patterns, 1);
    bool layers[MODEL_MAX_LAYERS] = {true};
    int trained = 0;
    assert_ok(model_upcycle(m, layers, 3, 2, 7, copies_follow, &trained));
    assert_int_equal(trained, 0);
    assert_true(model_find(m, "blocks.0.mlp.experts_fc.2.weight")->frozen);
    model_destroy(m);
}

static void what_means_nothing(void **state) {
    (void)state;
    model *m = make(NULL, 0);
    char *patterns[] = {(char *)"experts", (char *)"atention"};
    assert_fails(freeze_check(&(name_list){patterns, 2}, m), "atention");
    assert_ok(freeze_check(&(name_list){patterns, 1}, m));
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_component),
        cmocka_unit_test(by_name),
        cmocka_unit_test(upcycling),
        cmocka_unit_test(what_means_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

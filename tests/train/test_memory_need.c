/* What a training is said to need, beside what its tape and its optimisers take. */
#include "test.h"

#include "nn/freeze.h"
#include "nn/pass.h"
#include "train/memory.h"
#include "train/optimizer.h"

enum { BATCH = 2, LENGTH = 128 };

static model_config llama(void) {
    model_config c = model_config_default();
    c.vocab_size = 1000;
    c.num_layers = 6;
    c.model_dim = 128;
    c.attention = (attention_config){.heads = 8, .kv_heads = 2, .qk_norm = QK_NORM_NONE};
    c.mlp = (mlp_config){.mult = 3, .hidden = 384, .activation = ACTIVATION_SWIGLU};
    c.rotary.dims = 0;
    c.loop = (loop_config){0};
    c.stem.bigram_buckets = 0;
    c.stem.norm = false;
    c.residual = (residual_config){.parallel_start_layer = c.num_layers};
    c.norm = (norm_config){.eps = 1e-5f, .weight = true};
    c.head.softcap = 0;
    return c;
}

static model_config mixture(void) {
    model_config c = llama();
    for (int i = 0; i < c.num_layers; i++) c.moe.layers[i] = true;
    c.moe.experts = 4;
    c.moe.top_k = 2;
    c.moe.gate = GATE_RENORMALIZED;
    return c;
}

static model_config record(void) {
    model_config c = model_config_default();
    c.vocab_size = 1000;
    c.model_dim = 256;
    return c;
}

static size_t tape_peak(model *m, bool recompute) {
    int32_t ids[BATCH * LENGTH + 1];
    for (int i = 0; i <= BATCH * LENGTH; i++) ids[i] = i * 7 % m->config.vocab_size;
    pass *p;
    assert_ok(pass_create(&p, m));
    pass_set_recompute(p, recompute);
    pass_clear(p);
    assert_ok(pass_train(p, &(batch){.batch = BATCH, .length = LENGTH, .input_ids = ids, .target_ids = ids + 1}, 1));
    const size_t peak = pass_peak_bytes(p);
    pass_destroy(p);
    return peak;
}

static void assert_near(const char *what, int64_t said, double found) {
    if (!((double)said > 0.75 * found && (double)said < 1.35 * found))
        fail_msg("%s: said %lld bytes, found %.0f", what, (long long)said, found);
}

static void check(const char *what, model_config config) {
    run_config c = run_config_default();
    c.events.count = 0;
    c.model = config;
    c.train.batch = BATCH;
    c.train.seq = LENGTH;
    for (int recompute = 0; recompute < 2; recompute++) {
        c.train.recompute = recompute;
        const train_memory need = train_memory_of(&c, DTYPE_F32);
        model *m;
        assert_ok(model_create_frozen(&m, &config, kernels_for(DTYPE_F32), &c.train.freeze));
        assert_ok(model_init(m, 1));
        assert_near(what, need.activations, (double)tape_peak(m, recompute));
        assert_true(need.values <= m->values.count * 4 && need.values > m->values.count * 4 * 0.98);
        assert_true(need.gradients <= m->gradients.count * 4 && need.gradients > m->gradients.count * 4 * 0.98);
        model_destroy(m);
    }
    run_config_free(&c);
}

static void activations_are_about_right(void **state) {
    (void)state;
    check("llama", llama());
    check("mixture", mixture());
    check("record", record());
}

static void less_is_said_to_be_less(void **state) {
    (void)state;
    run_config c = run_config_default();
    c.events.count = 0;
    c.model = record();
    c.average.kind = AVERAGE_NONE;
    const train_memory all = train_memory_of(&c, DTYPE_F32);
    assert_int_equal(all.average, 0);
    c.optimizer.state_dtype = STATES_BF16;
    assert_int_equal(2 * train_memory_of(&c, DTYPE_F32).states, all.states);
    c.optimizer.matrix_optimizer = MATRIX_ADAMW;
    assert_true(2 * train_memory_of(&c, DTYPE_F32).states > all.states);
    char *names[] = {(char *)"attention", (char *)"mlp"};
    c.train.freeze = (name_list){names, 2};
    assert_true(2 * train_memory_of(&c, DTYPE_F32).gradients < all.gradients);
    c.train.freeze = (name_list){0};
    assert_ok(train_memory_check(&all, &c, (uint64_t)all.total));
    assert_fails(train_memory_check(&all, &c, (uint64_t)all.total - 1), "recompute=true");
    run_config_free(&c);
}

/* Forward only, with copies of what some layers get. */
static void a_teacher_is_counted(void **state) {
    (void)state;
    int32_t ids[BATCH * LENGTH] = {0};
    model_config configs[] = {llama(), mixture(), record()};
    for (int i = 0; i < 3; i++) {
        run_config c = run_config_default();
        const batch b = {.batch = BATCH, .length = LENGTH, .input_ids = ids};
        model *m;
        pass *p;
        c.events.count = 0;
        c.model = configs[i];
        c.train.batch = BATCH;
        c.train.seq = LENGTH;
        c.distill.hidden_layers[1] = c.distill.hidden_layers[3] = true;
        train_memory need = train_memory_of(&c, DTYPE_F32);
        const int64_t without = need.total;
        train_memory_add_teacher(&need, &c, &c.model, DTYPE_F32);
        assert_int_equal(need.total, without + need.teacher);
        char *text = train_memory_text(&need);
        assert_non_null(strstr(text, ", teacher about 0.0"));
        free(text);
        assert_ok(model_create(&m, &c.model, kernels_for(DTYPE_F32), MODEL_VALUES));
        assert_ok(pass_create(&p, m));
        assert_ok(pass_observe(p, &b, -1));
        const double copies = 2.0 * BATCH * LENGTH * c.model.model_dim * 4;
        assert_near("teacher", need.teacher - need.values, (double)pass_peak_bytes(p) + copies);
        pass_destroy(p);
        model_destroy(m);
        run_config_free(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_about_right),
        cmocka_unit_test(less_is_said_to_be_less),
        cmocka_unit_test(a_teacher_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

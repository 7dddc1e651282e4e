/* Scales for each pass of a loop: a model gets them without computing anything else, each pass then has its own, in training, decoding and
 * on disk. */
#include "test.h"

#include "base/random.h"
#include "nn/pass.h"
#include "nn/roles.h"
#include <math.h>

enum { LENGTH = 20, VOCAB = 50, D = 32 };

static model_config looped(void) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB;
    c.num_layers = 4;
    c.model_dim = D;
    c.attention.heads = 2;
    c.attention.kv_heads = 1;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.residual.parallel_start_layer = 3;
    c.stem.bigram_buckets = 0;
    c.loop.extra_passes = 2;
    c.loop.first = 1;
    c.loop.last = 2;
    c.loop.on = true;
    c.moe.layers[2] = true;
    return c;
}

static model *make(const model_config *c, model_use use) {
    model *m;
    assert_ok(model_create(&m, c, kernels_for(DTYPE_F32), use));
    assert_ok(model_init(m, 1));
    for (int i = 0; i < m->param_count; i++) { /* nothing stays zero or one */
        param *p = m->params[i];
        const int64_t count = param_count(p);
        float *values = xmalloc((size_t)count * sizeof *values), *noise = xmalloc((size_t)count * sizeof *noise);
        rng r = rng_named(3, p->name);
        rng_normal(&r, noise, (size_t)count, 0.1f);
        assert_ok(param_get(p, m->k, values));
        for (int64_t j = 0; j < count; j++) values[j] += noise[j];
        assert_ok(param_set(p, m->k, values));
        free(values), free(noise);
    }
    return m;
}

static const int32_t *ids(void) {
    static int32_t made[LENGTH];
    rng r = rng_seed(4);
    for (int i = 0; i < LENGTH; i++) made[i] = (int32_t)rng_below(&r, VOCAB);
    return made;
}

static void logits_of(model *m, float *logits) {
    const batch b = {.batch = 1, .length = LENGTH, .input_ids = ids()};
    pass *p;
    assert_ok(pass_create(&p, m));
    assert_ok(pass_logits(p, &b, logits));
    pass_destroy(p);
}

static void the_same_with_them(void **state) {
    (void)state;
    const model_config c = looped();
    model *m = make(&c, MODEL_VALUES), *scaled;
    float before[LENGTH * VOCAB], after[LENGTH * VOCAB];
    assert_ok(model_with_loop_scales(&scaled, m));
    logits_of(m, before);
    logits_of(scaled, after);
    assert_memory_equal(before, after, sizeof before);
    param *inside = model_param(scaled, ROLE_MLP_SCALE, 2, -1), *outside = model_param(scaled, ROLE_ATTN_SCALE, 0, -1);
    assert_int_equal(param_count(inside), 3 * D);
    assert_int_equal(param_count(outside), D);
    assert_int_equal(model_param_total(scaled), model_param_total(m) + 2 * 2 * 2 * D);
    model_destroy(scaled);
    model_destroy(m);
}

static void each_pass_has_its_own(void **state) {
    (void)state;
    model_config c = looped();
    c.loop.scales = true;
    model *m = make(&c, MODEL_VALUES);
    param *p = model_param(m, ROLE_ATTN_SCALE, 1, -1);
    float values[3 * D], before[LENGTH * VOCAB], after[LENGTH * VOCAB];
    for (int row = 0; row < 3; row++) {
        logits_of(m, before);
        assert_ok(param_get(p, m->k, values));
        for (int i = 0; i < D; i++) values[row * D + i] += 1;
        assert_ok(param_set(p, m->k, values));
        logits_of(m, after);
        float most = 0;
        for (int i = 0; i < LENGTH * VOCAB; i++) most = fmaxf(most, fabsf(before[i] - after[i]));
        assert_true(most > 1e-3f);
    }
    model_destroy(m);
}

static void decoding_has_them_too(void **state) {
    (void)state;
    model_config c = looped();
    c.loop.scales = true;
    model *m = make(&c, MODEL_VALUES);
    float full[LENGTH * VOCAB], step[VOCAB];
    kv_cache *cache;
    pass *p;
    logits_of(m, full);
    assert_ok(pass_create(&p, m));
    assert_ok(kv_cache_create(&cache, m, 1, LENGTH));
    for (int64_t at = 0, count = 7; at < LENGTH; at += count, count = 1) {
        assert_ok(pass_decode(p, cache, ids() + at, count, step));
        for (int v = 0; v < VOCAB; v++) assert_float_equal(step[v], full[(at + count - 1) * VOCAB + v], 2e-4);
    }
    kv_cache_destroy(cache);
    pass_destroy(p);
    model_destroy(m);
}

/* Central differences of the loss, row by row. */
static void every_row_learns(void **state) {
    (void)state;
    model_config c = looped();
    c.loop.scales = true;
    c.moe.aux_weight = 0;
    model *m = make(&c, MODEL_TRAIN);
    param *p = model_param(m, ROLE_MLP_SCALE, 1, -1);
    int32_t targets[LENGTH];
    for (int i = 0; i < LENGTH; i++) targets[i] = ids()[(i + 1) % LENGTH];
    const batch b = {.batch = 1, .length = LENGTH, .input_ids = ids(), .target_ids = targets};
    float grad[3 * D], values[3 * D], nll[LENGTH];
    pass *run;
    assert_ok(pass_create(&run, m));
    model_zero_grad(m);
    assert_ok(pass_train(run, &b, 1));
    m->k->download(grad, p->grad, sizeof grad);
    assert_ok(param_get(p, m->k, values));
    for (int row = 0; row < 3; row++) {
        double sum[2] = {0}, along = 0;
        for (int side = 0; side < 2; side++) {
            float moved[3 * D];
            memcpy(moved, values, sizeof moved);
            for (int i = 0; i < D; i++) moved[row * D + i] += (side ? 0.01f : -0.01f) * (i % 2 ? 1 : -1);
            assert_ok(param_set(p, m->k, moved));
            assert_ok(pass_evaluate(run, &b, nll));
            for (int n = 0; n < LENGTH; n++) sum[side] += nll[n] / LENGTH;
        }
        for (int i = 0; i < D; i++) along += (i % 2 ? 1 : -1) * grad[row * D + i];
        assert_float_equal((sum[1] - sum[0]) / 0.02, along, 0.02 * fabs(along) + 1e-4);
    }
    pass_destroy(run);
    model_destroy(m);
}

static void what_does_not_loop_is_refused(void **state) {
    (void)state;
    model_config c = looped();
    model *m, *scaled;
    c.loop.on = false;
    m = make(&c, MODEL_VALUES);
    assert_fails(model_with_loop_scales(&scaled, m), "expected a model whose layers loop");
    model_destroy(m);
    c = looped();
    c.residual.attn_scale = c.residual.mlp_scale = false;
    m = make(&c, MODEL_VALUES);
    assert_fails(model_with_loop_scales(&scaled, m), "loop_scales: true");
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_with_them),
        cmocka_unit_test(each_pass_has_its_own),
        cmocka_unit_test(decoding_has_them_too),
        cmocka_unit_test(every_row_learns),
        cmocka_unit_test(what_does_not_loop_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What bf16 keeps of an average's updates, and an average along the checkpoints of a run. */
#include "letters_tokenizer.h"
#include "test.h"

#include "base/half.h"
#include "base/random.h"
#include "nn/roles.h"
#include "study/frozen_average.h"
#include "train/checkpoint.h"
#include <math.h>

enum { COUNT = 5000, STEPS = 3000, FIRST = 3000 /* where the ramp has reached the decay */ };

static double correlation(const float *x, const float *y) {
    double xx = 0, yy = 0, xy = 0;
    for (int i = 0; i < COUNT; i++) {
        xx += (double)x[i] * x[i];
        yy += (double)y[i] * y[i];
        xy += (double)x[i] * y[i];
    }
    return xy / sqrt(xx * yy);
}

/* Weights that go to unrelated values within 3000 steps: the average in float32 follows, that in bf16 stays behind. */
static void bf16_loses_updates(void **state) {
    (void)state;
    static float start[COUNT], end[COUNT], exact[COUNT], frozen[COUNT];
    rng r = rng_seed(3);
    rng_normal(&r, start, COUNT, 0.05f);
    rng_normal(&r, end, COUNT, 0.05f);
    for (int i = 0; i < COUNT; i++) start[i] = frozen[i] = bfloat_to_float(bfloat_from_float(start[i]));
    memcpy(exact, start, sizeof exact);
    frozen_average_walk(exact, start, end, COUNT, FIRST, FIRST + STEPS, 0.9965, false);
    frozen_average_walk(frozen, start, end, COUNT, FIRST, FIRST + STEPS, 0.9965, true);
    assert_true(correlation(exact, end) > 0.95);
    assert_true(correlation(frozen, end) < 0.8);
    assert_true(correlation(frozen, start) > correlation(exact, start) + 0.3);
    for (int i = 0; i < COUNT; i++) assert_float_equal(frozen[i], bfloat_to_float(bfloat_from_float(frozen[i])), 0);
}

/* Of weights that stand still it's these; a decay of 0 is where they are; and the ramp begins at (s + 1) / (s + 10). */
static void steps_are_those_of_the_formula(void **state) {
    (void)state;
    float a[] = {1, 2}, still[] = {1, 2}, w[] = {0, 0}, next[] = {3, 6};
    frozen_average_walk(a, still, still, 2, 0, 50, 0.9965, false);
    assert_float_equal(a[1], 2, 1e-6);
    frozen_average_walk(a, w, next, 2, 10, 13, 0, false);
    assert_float_equal(a[0], 3, 1e-6);
    a[0] = 0;
    frozen_average_walk(a, w, next, 1, 4, 5, 0.9965, false);
    assert_float_equal(a[0], 3 * (1 - 6.0 / 15), 1e-6);
}

/* ---- along a run ---- */

static model *small_model(float value, bool experts) {
    model_config c = model_config_default();
    model *m;
    c.vocab_size = 64;
    c.num_layers = 2;
    c.model_dim = 16;
    c.attention.heads = 2;
    c.attention.kv_heads = 1;
    c.mlp.mult = 2;
    c.rotary.dims = 4;
    c.residual.parallel_start_layer = 2;
    c.loop.extra_passes = 0;
    c.stem.bigram_buckets = 0;
    c.moe.layers[1] = experts;
    assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_VALUES));
    for (int i = 0; i < m->param_count; i++) {
        float *w = xmalloc(tensor_bytes(&m->params[i]->value));
        for (int64_t j = 0; j < param_count(m->params[i]); j++) w[j] = value;
        assert_ok(param_set(m->params[i], m->k, w));
        free(w);
    }
    return m;
}

static void save(const char *run, int64_t step, model *m) {
    checkpoint_writer w;
    tokenizer *tok = letters_tokenizer(64);
    assert_ok(checkpoint_begin(&w, run, step));
    assert_ok(checkpoint_put_model(&w, m, tok));
    assert_ok(checkpoint_commit(&w, cJSON_CreateObject(), 16, 9));
    tokenizer_close(tok);
    model_destroy(m);
}

static float first_of(const model *m, int role) {
    for (int i = 0; i < m->param_count; i++)
        if (m->params[i]->role == role) {
            float x, *w = xmalloc(tensor_bytes(&m->params[i]->value));
            assert_ok(param_get(m->params[i], m->k, w));
            x = w[0];
            free(w);
            return x;
        }
    fail_msg("no parameter of role %d", role);
    return 0;
}

/* Checkpoints of before the upcycling have other parameters, and are passed over. */
static void checkpoints_are_the_way(void **state) {
    const char *run = *state;
    const average_config config = {.kind = AVERAGE_EMA, .ema_decay = 0.9965};
    checkpoint *saved;
    frozen_average found;
    model *m = small_model(7, true);
    save(run, 4000, small_model(5, false));
    save(run, 5000, small_model(1, true));
    assert_ok(checkpoint_require(&saved, run));
    assert_ok(frozen_average_set(&found, m, saved, &config));
    assert_int_equal(found.points, 1);
    assert_float_equal(first_of(m, ROLE_TOK_EMB), 7, 0); /* nothing was changed */
    checkpoint_close(saved);
    save(run, 8000, small_model(1.5f, true));
    assert_ok(checkpoint_require(&saved, run));
    assert_ok(frozen_average_set(&found, m, saved, &config));
    assert_int_equal(found.points, 2);
    assert_int_equal(found.first, 5000);
    assert_int_equal(found.last, 8000);
    assert_true(first_of(m, ROLE_EXPERT_FC) > 1.4f); /* experts are float32's */
    assert_true(first_of(m, ROLE_C_Q) < 1.1f);
    assert_true(first_of(m, ROLE_Q_GAIN) > 1.4f);
    checkpoint_close(saved);
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_loses_updates),
        cmocka_unit_test(steps_are_those_of_the_formula),
        cmocka_unit_test_setup_teardown(checkpoints_are_the_way, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

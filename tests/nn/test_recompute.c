/* Blocks that backward runs again leave the same gradients and statistics, in less memory. */
#include "test.h"

#include "base/random.h"
#include "nn/pass.h"
#include "record_family.h"
#include <math.h>

enum { BATCH = 2, LENGTH = 48 };

typedef struct found {
    float *gradients; /* of all parameters, in order */
    int64_t count;
    double ce, aux;
    size_t peak;
} found;

static model *make(const model_config *c) {
    model *m;
    assert_ok(model_create(&m, c, kernels_for(DTYPE_F32), MODEL_TRAIN));
    assert_ok(model_init(m, 5));
    return m;
}

static void read_gradients(const model *m, found *f) {
    for (int i = 0; i < m->param_count; i++) {
        const param *w = m->params[i];
        if (!w->grad) continue;
        const size_t bytes = tensor_bytes(&w->value);
        f->gradients = xrealloc(f->gradients, (size_t)f->count * sizeof(float) + bytes);
        m->k->download(f->gradients + f->count, w->grad, bytes);
        f->count += param_count(w);
    }
}

static found train(const model_config *c, bool recompute) {
    int32_t ids[BATCH * LENGTH + 1];
    rng r = rng_seed(9);
    for (int i = 0; i <= BATCH * LENGTH; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
    const batch b = {.batch = BATCH, .length = LENGTH, .input_ids = ids, .target_ids = ids + 1};
    model *m = make(c);
    pass *p;
    found f = {0};
    assert_ok(pass_create(&p, m));
    pass_set_recompute(p, recompute);
    model_zero_grad(m);
    pass_clear(p);
    for (int i = 0; i < 2; i++) assert_ok(pass_train(p, &b, 0.5f));
    const pass_statistics *s = pass_read(p);
    f.ce = s->ce;
    f.aux = s->aux;
    f.peak = pass_peak_bytes(p);
    read_gradients(m, &f);
    pass_destroy(p);
    model_destroy(m);
    return f;
}

/* What flows into an input flows there as one sum, so float32 may round it otherwise. */
static void assert_same(const model_config *c) {
    found kept = train(c, false), again = train(c, true);
    double difference = 0, size = 0;
    assert_int_equal(kept.count, again.count);
    for (int64_t i = 0; i < kept.count; i++) {
        difference += pow((double)kept.gradients[i] - again.gradients[i], 2);
        size += pow(kept.gradients[i], 2);
    }
    assert_true(size > 0);
    assert_true(sqrt(difference / size) < 1e-6);
    assert_true(kept.ce == again.ce);
    assert_true(kept.aux == again.aux);
    assert_true(again.peak < kept.peak);
    free(kept.gradients);
    free(again.gradients);
}

static void dense(void **state) {
    (void)state;
    model_config c = record_family();
    assert_same(&c);
}

static void gates(void **state) {
    (void)state;
    for (gate_kind gate = GATE_PROBABILITY; gate <= GATE_STRAIGHT_THROUGH; gate++) {
        const model_config c = record_mixture(gate);
        assert_same(&c);
    }
}

/* The noise of both runs must be the same, and be there in the first, which records nothing. */
static void noise(void **state) {
    (void)state;
    model_config c = record_mixture(GATE_RENORMALIZED);
    c.moe.noise_std = 1;
    assert_same(&c);
}

/* Twelve blocks keep twelve inputs and one block's activations. */
static void memory(void **state) {
    (void)state;
    model_config c = record_family();
    c.loop.on = false;
    c.num_layers = 12;
    found kept = train(&c, false), again = train(&c, true);
    assert_true(2 * again.peak < kept.peak);
    free(kept.gradients);
    free(again.gradients);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dense),
        cmocka_unit_test(gates),
        cmocka_unit_test(noise),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

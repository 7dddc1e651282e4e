/* Blocks that backward runs again leave the same gradients and statistics, in less memory. */
#include "test.h"

#include "base/random.h"
#include "nn/pass.h"
#include <math.h>

enum { VOCAB = 80, BATCH = 2, LENGTH = 48 };

/* The record family: looped layers, U-Net skips, a parallel layer, hashes, the embedding mixed into each block. */
static model_config family(void) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB;
    c.num_layers = 6;
    c.model_dim = 64;
    c.attention.heads = 4;
    c.attention.kv_heads = 2;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.residual.parallel_start_layer = 5;
    c.stem.bigram_buckets = 32;
    c.stem.bigram_dim = 16;
    c.loop.extra_passes = 2;
    c.loop.first = 1;
    c.loop.last = 3;
    c.loop.on = true;
    return c;
}

static model_config experts(gate_kind gate, float noise_std) {
    model_config c = family();
    for (int i = 0; i < c.num_layers; i++) c.moe.layers[i] = i % 2 == 1;
    c.moe.experts = 4;
    c.moe.top_k = gate == GATE_SOFT || gate == GATE_STRAIGHT_THROUGH ? 1 : 2;
    c.moe.gate = gate;
    c.moe.noise_std = noise_std;
    c.moe.aux_weight = 0.05f;
    return c;
}

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
    model_config c = family();
    assert_same(&c);
}

static void gates(void **state) {
    (void)state;
    for (gate_kind gate = GATE_PROBABILITY; gate <= GATE_STRAIGHT_THROUGH; gate++) {
        model_config c = experts(gate, 0);
        assert_same(&c);
    }
}

/* The noise of both runs must be the same, and be there in the first, which records nothing. */
static void noise(void **state) {
    (void)state;
    model_config c = experts(GATE_RENORMALIZED, 1);
    assert_same(&c);
}

/* Twelve blocks keep twelve inputs and one block's activations. */
static void memory(void **state) {
    (void)state;
    model_config c = family();
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

/* A whole small model: decoding against the full pass, documents, upcycling, looping, a loss that falls. */
#include "base/memory.h"
#include "base/random.h"
#include "nn/pass.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LENGTH = 24, VOCAB = 50 };

static model_config small(void) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB;
    c.num_layers = 5;
    c.model_dim = 64;
    c.attention.heads = 4;
    c.attention.kv_heads = 2;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.residual.parallel_start_layer = 3;
    c.stem.bigram_buckets = 32;
    c.stem.bigram_dim = 16;
    c.loop.extra_passes = 1;
    c.loop.first = 1;
    c.loop.last = 2;
    return c;
}

/* Every tensor moves away from its initial zeros and ones, so that nothing is switched off. */
static void perturb(model *m) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        int64_t count = param_count(p);
        float *values = xmalloc((size_t)count * sizeof *values), *noise = xmalloc((size_t)count * sizeof *noise);
        rng r = rng_named(3, p->name);
        rng_normal(&r, noise, (size_t)count, 0.05f);
        tensor_read(m->k, &p->value, values);
        for (int64_t j = 0; j < count; j++) values[j] += noise[j];
        tensor_write(m->k, &p->value, values);
        free(values);
        free(noise);
    }
    assert_int_equal(model_refresh(m), STATUS_OK);
}

static model *make(model_config c) {
    model *m;
    assert_int_equal(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN), STATUS_OK);
    assert_int_equal(model_init(m, 1), STATUS_OK);
    perturb(m);
    return m;
}

static model *make_looped_moe(void) {
    model *m = make(small());
    bool layers[MODEL_MAX_LAYERS] = {[1] = true, [4] = true};
    assert_int_equal(model_upcycle(m, layers, 2, 1, 5, NULL, NULL), STATUS_OK);
    assert_int_equal(model_set_looping(m, true), STATUS_OK);
    perturb(m);
    return m;
}

static void make_ids(int32_t *ids, uint64_t seed) {
    rng r = rng_seed(seed);
    for (int i = 0; i < LENGTH; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
}

static pass *make_pass(model *m) {
    pass *p;
    assert_int_equal(pass_create(&p, m), STATUS_OK);
    return p;
}

static void logits_of(model *m, const int32_t *ids, const int32_t *first, float *logits) {
    batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .first = first};
    pass *p = make_pass(m);
    assert_int_equal(pass_logits(p, &b, logits), STATUS_OK);
    pass_destroy(p);
}

static void test_decode_equals_forward(void **state) {
    (void)state;
    model *m = make_looped_moe();
    int32_t ids[LENGTH];
    float full[LENGTH * VOCAB], step[VOCAB];
    make_ids(ids, 2);
    logits_of(m, ids, NULL, full);
    kv_cache *cache;
    pass *p = make_pass(m);
    assert_int_equal(kv_cache_create(&cache, m, 1, LENGTH), STATUS_OK);
    for (int64_t at = 0, count = 7; at < LENGTH; at += count, count = 1) {
        assert_int_equal(pass_decode(p, cache, ids + at, count, step), STATUS_OK);
        for (int v = 0; v < VOCAB; v++) assert_float_equal(step[v], full[(at + count - 1) * VOCAB + v], 2e-4);
    }
    assert_int_equal(kv_cache_length(cache, 0), LENGTH);
    assert_int_not_equal(pass_decode(p, cache, ids, 1, step), STATUS_OK); /* full */
    kv_cache_destroy(cache);
    pass_destroy(p);
    model_destroy(m);
}

/* What a second document predicts does not depend on the first, when nothing may look across the boundary. */
static void test_documents_are_separate(void **state) {
    (void)state;
    model_config c = small();
    c.attention.within_document = true;
    model *m = make(c);
    int32_t a[LENGTH], b[LENGTH], first[LENGTH];
    float from_a[LENGTH * VOCAB], from_b[LENGTH * VOCAB];
    make_ids(a, 2);
    make_ids(b, 3);
    memcpy(b + 10, a + 10, (LENGTH - 10) * sizeof *a);
    for (int t = 0; t < LENGTH; t++) first[t] = t < 10 ? 0 : 10;
    logits_of(m, a, first, from_a);
    logits_of(m, b, first, from_b);
    for (int i = 10 * VOCAB; i < LENGTH * VOCAB; i++) assert_float_equal(from_a[i], from_b[i], 1e-6);
    logits_of(m, a, NULL, from_a);
    logits_of(m, b, NULL, from_b);
    float largest = 0;
    for (int i = 10 * VOCAB; i < LENGTH * VOCAB; i++) largest = fmaxf(largest, fabsf(from_a[i] - from_b[i]));
    assert_true(largest > 1e-3); /* and without boundaries it does */
    model_destroy(m);
}

/* A token never changes what earlier positions predict. */
static void test_causal(void **state) {
    (void)state;
    model *m = make_looped_moe();
    int32_t ids[LENGTH];
    float before[LENGTH * VOCAB], after[LENGTH * VOCAB];
    make_ids(ids, 2);
    logits_of(m, ids, NULL, before);
    ids[15] = (ids[15] + 1) % VOCAB;
    logits_of(m, ids, NULL, after);
    for (int i = 0; i < 15 * VOCAB; i++) assert_float_equal(before[i], after[i], 1e-6);
    model_destroy(m);
}

static void count_replaced(void *context, const param *new_param, const param *old_param) {
    int *counts = context;
    assert_non_null(new_param);
    counts[old_param != NULL]++;
}

static void test_upcycle(void **state) {
    (void)state;
    model *m = make(small());
    param *fc = model_find(m, "blocks.1.mlp.fc.weight");
    int64_t count = param_count(fc);
    float *before = xmalloc((size_t)count * sizeof *before), *after = xmalloc((size_t)count * sizeof *after);
    tensor_read(m->k, &fc->value, before);
    int counts[2] = {0};
    bool layers[MODEL_MAX_LAYERS] = {[1] = true};
    int64_t total = model_param_total(m);
    assert_int_equal(model_upcycle(m, layers, 3, 2, 5, count_replaced, counts), STATUS_OK);
    assert_int_equal(counts[0], 1);
    assert_int_equal(counts[1], 6);
    assert_null(model_find(m, "blocks.1.mlp.fc.weight"));
    for (int e = 0; e < 3; e++) {
        char name[64];
        snprintf(name, sizeof name, "blocks.1.mlp.experts_fc.%d.weight", e);
        param *p = model_find(m, name);
        assert_non_null(p);
        tensor_read(m->k, &p->value, after);
        assert_memory_equal(before, after, (size_t)count * sizeof *before);
    }
    assert_int_equal(model_param_total(m), total + 2 * 2 * 64 * 128 + 3 * 64);
    assert_true(m->config.moe.layers[1]);
    assert_int_not_equal(model_upcycle(m, layers, 3, 2, 5, NULL, NULL), STATUS_OK); /* already one */
    free(before);
    free(after);
    model_destroy(m);
}

static void test_init_is_deterministic_and_orthogonal(void **state) {
    (void)state;
    model_config c = small();
    model *m, *again;
    assert_int_equal(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN), STATUS_OK);
    assert_int_equal(model_create(&again, &c, kernels_for(DTYPE_F32), MODEL_TRAIN), STATUS_OK);
    assert_int_equal(model_init(m, 9), STATUS_OK);
    assert_int_equal(model_init(again, 9), STATUS_OK);
    param *p = model_find(m, "blocks.0.mlp.fc.weight"), *q = model_find(again, "blocks.0.mlp.fc.weight");
    float a[128 * 64], b[128 * 64];
    tensor_read(m->k, &p->value, a);
    tensor_read(again->k, &q->value, b);
    assert_memory_equal(a, b, sizeof a);
    for (int i = 0; i < 64; i++) {
        for (int j = 0; j <= i; j++) {
            double dot = 0;
            for (int r = 0; r < 128; r++) dot += (double)a[r * 64 + i] * (double)a[r * 64 + j];
            assert_float_equal(dot, i == j ? 1 : 0, 1e-5);
        }
    }
    model_destroy(m);
    model_destroy(again);
}

static const pass_statistics *train_and_read(pass *p) {
    int32_t ids[LENGTH];
    make_ids(ids, 4);
    const batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids};
    model_zero_grad(pass_model(p));
    pass_clear(p);
    assert_int_equal(pass_train(p, &b, 1), STATUS_OK);
    return pass_read(p);
}

/* A loop that makes the path longer without another router in it: layers 1 and 2 of five, the mixture in the last one. */
static void test_looping_moves_the_routers(void **state) {
    (void)state;
    model *m = make(small());
    bool layers[MODEL_MAX_LAYERS] = {[4] = true};
    pass *p = make_pass(m);
    assert_int_equal(train_and_read(p)->routed, 0);
    assert_int_equal(model_set_looping(m, true), STATUS_OK);
    assert_int_equal(train_and_read(p)->routed, 0);
    assert_int_equal(model_set_looping(m, false), STATUS_OK);
    assert_int_equal(model_upcycle(m, layers, 2, 1, 5, NULL, NULL), STATUS_OK);
    for (int looping = 0; looping < 2; looping++) {
        assert_int_equal(model_set_looping(m, looping), STATUS_OK);
        const pass_statistics *s = train_and_read(p);
        assert_int_equal(s->routed, 1);
        assert_int_equal(s->routing[0].layer, 4);
        assert_float_equal(s->routing[0].share[0] + s->routing[0].share[1], 1, 1e-6);
    }
    pass_destroy(p);
    model_destroy(m);
}

/* w ← w − rate · gradient, all at once: values and gradients lie alike in their arenas. */
static void descend(model *m, float rate) {
    int64_t n = m->layout.trained;
    float *w = xmalloc((size_t)n * sizeof *w), *g = xmalloc((size_t)n * sizeof *g);
    m->k->download(w, m->values.data, (size_t)n * sizeof *w);
    m->k->download(g, m->gradients.data, (size_t)n * sizeof *g);
    for (int64_t j = 0; j < n; j++) w[j] -= rate * g[j];
    m->k->upload(m->values.data, w, (size_t)n * sizeof *w);
    free(w);
    free(g);
}

/* Plain gradient descent on one batch, in every activation type that this machine has. */
static void loss_falls(dtype act) {
    model_config c = small();
    model *m;
    double start = 0, ce = 0;
    int32_t ids[LENGTH + 1];
    assert_int_equal(model_create(&m, &c, kernels_for(act), MODEL_TRAIN), STATUS_OK);
    assert_int_equal(model_init(m, 1), STATUS_OK);
    bool layers[MODEL_MAX_LAYERS] = {[2] = true};
    assert_int_equal(model_upcycle(m, layers, 4, 2, 5, NULL, NULL), STATUS_OK);
    assert_int_equal(model_set_looping(m, true), STATUS_OK);
    make_ids(ids, 4);
    ids[LENGTH] = 1;
    batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids + 1};
    pass *p = make_pass(m);
    for (int step = 0; step < 40; step++) {
        model_zero_grad(m);
        pass_clear(p);
        assert_int_equal(pass_train(p, &b, 1), STATUS_OK);
        const pass_statistics *found = pass_read(p);
        assert_true(isfinite(found->ce) && isfinite(found->aux));
        assert_int_equal(found->routed, 2);
        ce = found->ce;
        if (step == 0) start = ce;
        descend(m, 0.05f);
        assert_int_equal(model_refresh(m), STATUS_OK);
    }
    assert_float_equal(start, log(VOCAB), 0.2);
    assert_true(ce < start - 1);
    pass_destroy(p);
    model_destroy(m);
}

static void test_loss_falls(void **state) {
    (void)state;
    loss_falls(DTYPE_F32);
    if (kernels_for(DTYPE_BF16)) loss_falls(DTYPE_BF16);
}

static void test_beyond_vocabulary(void **state) {
    (void)state;
    model *m = make(small());
    int32_t ids[LENGTH] = {[3] = VOCAB};
    float logits[LENGTH * VOCAB];
    batch b = {.batch = 1, .length = LENGTH, .input_ids = ids};
    pass *p = make_pass(m);
    assert_int_equal(pass_logits(p, &b, logits), STATUS_FAILED);
    assert_non_null(strstr(error_message(), "vocabulary of 50"));
    int32_t good[LENGTH] = {0}, targets[LENGTH] = {[5] = VOCAB, [6] = -1};
    b = (batch){.batch = 1, .length = LENGTH, .input_ids = good, .target_ids = targets};
    assert_int_equal(pass_evaluate(p, &b, NULL), STATUS_FAILED);
    assert_non_null(strstr(error_message(), "vocabulary of 50"));
    targets[5] = VOCAB - 1;
    assert_int_equal(pass_evaluate(p, &b, NULL), STATUS_OK); /* −1: not scored */
    pass_destroy(p);
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_equals_forward),
        cmocka_unit_test(test_documents_are_separate),
        cmocka_unit_test(test_causal),
        cmocka_unit_test(test_upcycle),
        cmocka_unit_test(test_init_is_deterministic_and_orthogonal),
        cmocka_unit_test(test_looping_moves_the_routers),
        cmocka_unit_test(test_loss_falls),
        cmocka_unit_test(test_beyond_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What holds for each family of the record scripts: decoding is the full pass, documents are apart, nothing looks ahead, losses fall. */
#include "families.h"

#include <math.h>

/* In pieces of 1, 1, 5 and then single tokens: hashes need the tokens before a piece, smearing the embedding before it. */
static void decoding_equals_forward(void **state) {
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        model *m = make(families[i]());
        int32_t ids[LENGTH];
        float full[LENGTH * VOCAB], step[VOCAB];
        make_ids(ids, 2);
        logits_of(m, ids, NULL, full);
        kv_cache *cache;
        pass *p = make_pass(m);
        assert_ok(kv_cache_create(&cache, m, 1, LENGTH));
        for (int round = 0; round < 2; round++) { /* the second one after a reset */
            for (int64_t at = 0, count; at < LENGTH; at += count) {
                count = at == 2 ? 5 : 1;
                assert_ok(pass_decode(p, cache, ids + at, count, step));
                for (int v = 0; v < VOCAB; v++) assert_float_equal(step[v], full[(at + count - 1) * VOCAB + v], 2e-4);
            }
            kv_cache_cut(cache, 0, 0);
        }
        kv_cache_destroy(cache);
        pass_destroy(p);
        model_destroy(m);
    }
}

/* What a second document predicts depends neither on the first nor on where it stands: no hash, gate or head looks back. */
static void documents_are_separate(void **state) {
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        model_config c = families[i]();
        c.attention.within_document = true;
        model *m = make(c);
        int32_t a[LENGTH], b[LENGTH], first[LENGTH], alone[LENGTH] = {0};
        float from_a[LENGTH * VOCAB], from_b[LENGTH * VOCAB], from_alone[LENGTH * VOCAB];
        make_ids(a, 2);
        make_ids(b, 3);
        memcpy(b + 10, a + 10, (LENGTH - 10) * sizeof *a);
        memcpy(alone, a + 10, (LENGTH - 10) * sizeof *a);
        for (int t = 0; t < LENGTH; t++) first[t] = t < 10 ? 0 : 10;
        logits_of(m, a, first, from_a);
        logits_of(m, b, first, from_b);
        logits_of(m, alone, NULL, from_alone);
        for (int n = 10 * VOCAB; n < LENGTH * VOCAB; n++) {
            assert_float_equal(from_a[n], from_b[n], 1e-5);
            assert_float_equal(from_a[n], from_alone[n - 10 * VOCAB], 1e-4); /* rotary positions are relative */
        }
        assert_true(fabsf(from_a[9 * VOCAB] - from_b[9 * VOCAB]) > 1e-4f);
        model_destroy(m);
    }
}

static void causal(void **state) {
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        model *m = make(families[i]());
        int32_t ids[LENGTH];
        float before[LENGTH * VOCAB], after[LENGTH * VOCAB];
        make_ids(ids, 2);
        logits_of(m, ids, NULL, before);
        ids[15] = (ids[15] + 1) % VOCAB;
        logits_of(m, ids, NULL, after);
        for (int n = 0; n < 15 * VOCAB; n++) assert_float_equal(before[n], after[n], 1e-6);
        model_destroy(m);
    }
}

/* A step of plain gradient descent on every trained parameter. */
static void descend(model *m, float rate) {
    int64_t n = m->layout.trained;
    float *w = xmalloc((size_t)n * sizeof *w), *g = xmalloc((size_t)n * sizeof *g);
    m->k->download(w, m->values.data, (size_t)n * sizeof *w);
    m->k->download(g, m->gradients.data, (size_t)n * sizeof *g);
    for (int64_t j = 0; j < n; j++) w[j] -= rate * g[j];
    m->k->upload(m->values.data, w, (size_t)n * sizeof *w);
    free(w);
    free(g);
    assert_ok(model_refresh(m));
}

static void loss_falls_as(model_config c, dtype act) {
    model *m;
    int32_t ids[LENGTH + 1];
    double start = 0, ce = 0;
    assert_ok(model_create(&m, &c, kernels_for(act), MODEL_TRAIN));
    assert_ok(model_init(m, 1));
    make_ids(ids, 4);
    ids[LENGTH] = 1;
    batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids + 1};
    pass *p = make_pass(m);
    for (int step = 0; step < 40; step++) {
        model_zero_grad(m);
        const pass_statistics *found = trained(p, &b);
        assert_true(isfinite(found->ce) && isfinite(found->aux));
        ce = found->ce;
        if (step == 0) start = ce;
        descend(m, 0.05f);
        model_balance_experts(m, found);
    }
    assert_true(ce < start - 0.7);
    pass_destroy(p);
    model_destroy(m);
}

static void losses_fall(void **state) {
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        model_config c = families[i]();
        c.init.projection = PROJECTION_ORTHOGONAL;
        loss_falls_as(c, DTYPE_F32);
        if (kernels_for(DTYPE_BF16)) loss_falls_as(c, DTYPE_BF16);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_equals_forward),
        cmocka_unit_test(documents_are_separate),
        cmocka_unit_test(causal),
        cmocka_unit_test(losses_fall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

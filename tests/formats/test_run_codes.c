/* Models that are run from codes: a GGUF's blocks as they are stored, floats that are rounded as they come; what they compute beside the
 * same values as floats, and that a row does not depend on its neighbours. */
#include "written.h"

static model *run_as(const char *path, model_use use) {
    pretrained *source;
    model *m;
    assert_ok(pretrained_open(&source, path));
    const weight_source w = pretrained_weights(source);
    assert_ok(model_create(&m, &w.config, kernels_for(DTYPE_F32), use));
    assert_ok(weight_source_fill(&w, m));
    pretrained_close(source);
    return m;
}

/* Every matrix is codes, of which m's values are known. */
static void assert_codes(const model *codes, const model *m, bool exact) {
    for (int i = 0; i < codes->param_count; i++) {
        const param *p = codes->params[i];
        if (!p->is_matrix) continue;
        assert_true(p->matrix.packed && !p->matrix.plain && !p->matrix.quantized && !p->value.data);
        if (!exact) continue;
        float *a = xmalloc(tensor_bytes(&p->value)), *b = xmalloc(tensor_bytes(&p->value));
        assert_ok(param_get(p, codes->k, a));
        assert_ok(param_get(m->params[i], m->k, b));
        assert_memory_equal(a, b, tensor_bytes(&p->value));
        free(a), free(b);
    }
}

static double logits_differ(model *a, model *b) {
    static float ours[LENGTH * VOCAB], theirs[LENGTH * VOCAB];
    logits_of(a, ours);
    logits_of(b, theirs);
    return difference(ours, theirs);
}

static void blocks_are_run_as_they_are(void **state) {
    char *file = path_join(*state, "x.gguf");
    for (int i = 0; i < FAMILIES; i++) {
        const model_config c = families[i].make();
        model *m = random_model(&c);
        pretrained *source;
        assert_ok(write_gguf(file, m, families[i].family, STORAGE_Q8_0));
        model *values = read_model(file, &source);
        assert_true(pretrained_has_codes(source));
        pretrained_close(source);
        model *fine = run_as(file, MODEL_RUN_STORED), *coarse = run_as(file, MODEL_RUN_STORED | MODEL_RUN_INPUTS_8);
        assert_codes(fine, values, true);
        const double exact = logits_differ(fine, values), rounded = logits_differ(coarse, values);
        if (!(exact < 0.01)) fail_msg("%s: 16 bits of inputs: logits differ by %g", families[i].family, exact);
        if (!(rounded < (c.moe.layers[0] ? 1 : 0.2)) || rounded <= exact)
            fail_msg("%s: 8 bits of inputs: logits differ by %g", families[i].family, rounded);
        model_destroy(fine), model_destroy(coarse), model_destroy(values), model_destroy(m);
    }
    free(file);
}

static void floats_are_rounded(void **state) {
    char *file = path_join(*state, "x.gguf");
    const model_config c = llama();
    model *m = random_model(&c);
    pretrained *source;
    assert_ok(write_gguf(file, m, "llama", STORAGE_F32));
    model *values = read_model(file, &source);
    assert_false(pretrained_has_codes(source));
    pretrained_close(source);
    model *stored = run_as(file, MODEL_RUN_STORED), *eight = run_as(file, MODEL_RUN_8),
          *four = run_as(file, MODEL_RUN_4);
    assert_null(model_find(stored, "tok_emb.weight")->matrix.packed);
    assert_true(logits_differ(stored, values) == 0);
    assert_codes(eight, values, false);
    assert_codes(four, values, false);
    const double eighth = logits_differ(eight, values), fourth = logits_differ(four, values);
    assert_true(eighth > 0 && eighth < 0.2 && fourth > 2 * eighth && fourth < 3);
    const param *table = model_find(four, "tok_emb.weight"), *q = model_find(four, "blocks.0.attn.c_q.weight");
    assert_int_equal(table->matrix.packed_bytes, VOCAB * (64 + 64 / 32 * 2));
    assert_int_equal(q->matrix.packed_bytes, 64 * (64 / 2 + 64 / 32 * 4));
    model_destroy(stored), model_destroy(eight), model_destroy(four), model_destroy(values), model_destroy(m);
    free(file);
}

enum { MOST_TEXTS = 5, STEPS = 3 };

static void last_logits(model *m, const int32_t *ids, int64_t batch, float *logits) {
    pass *p;
    kv_cache *cache;
    assert_ok(pass_create(&p, m));
    assert_ok(kv_cache_create(&cache, m, batch, STEPS * 4));
    for (int i = 0; i < STEPS; i++) assert_ok(pass_decode(p, cache, ids + i * batch, 1, logits));
    kv_cache_destroy(cache);
    pass_destroy(p);
}

/* A text is the same alone or beside others. */
static void texts_do_not_meet(void **state) {
    char *file = path_join(*state, "x.gguf");
    for (int i = 0; i < FAMILIES; i++) {
        const model_config c = families[i].make();
        model *m = random_model(&c);
        assert_ok(write_gguf(file, m, families[i].family, STORAGE_Q8_0));
        model *codes = run_as(file, MODEL_RUN_STORED);
        int32_t ids[STEPS * MOST_TEXTS], one[STEPS];
        float all[MOST_TEXTS * VOCAB], alone[VOCAB];
        for (int n = 0; n < STEPS * MOST_TEXTS; n++) ids[n] = (n * 37 + 11) % VOCAB;
        last_logits(codes, ids, MOST_TEXTS, all);
        for (int text = 0; text < MOST_TEXTS; text++) {
            for (int s = 0; s < STEPS; s++) one[s] = ids[s * MOST_TEXTS + text];
            last_logits(codes, one, 1, alone);
            assert_memory_equal(alone, all + text * VOCAB, sizeof alone);
        }
        model_destroy(codes), model_destroy(m);
    }
    free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(blocks_are_run_as_they_are),
        in_scratch(floats_are_rounded),
        in_scratch(texts_do_not_meet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

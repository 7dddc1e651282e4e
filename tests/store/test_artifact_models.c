/* Whole models in artifacts: of the first version, and with experts that were copied. */
#include "packed.h"

#include "store/artifact_format.h"

/* The weights of every tensor, one after another. */
static uint64_t crc_of(const model *m) {
    uint64_t crc = 0;
    for (int i = 0; i < m->param_count; i++) {
        float *w = xmalloc(tensor_bytes(&m->params[i]->value));
        assert_ok(param_get(m->params[i], m->k, w));
        crc = crc64(crc, (const uint8_t *)w, tensor_bytes(&m->params[i]->value));
        free(w);
    }
    return crc;
}

/* The model of packed.h as moec 0.1.0 packed it, when artifacts had version 1 (5 bits, embeddings 7, rounded). */
static void version_1_is_read(void **state) {
    (void)state;
    model *m;
    int context;
    assert_ok(artifact_read("tests/store/artifacts/version-1.moec", kernels_for(DTYPE_F32), MODEL_VALUES, &m, NULL,
                            &context));
    assert_int_equal(context, LENGTH);
    assert_int_equal(crc_of(m), UINT64_C(0x519ff67a53e4f0cd));
    model_destroy(m);
}

static void damage_of_version_1_is_survived(void **state) {
    (void)state;
    uint8_t *bytes;
    size_t count;
    assert_ok(file_read("tests/store/artifacts/version-1.moec", FILE_ANY_SIZE, &bytes, &count));
    rng r = rng_seed(1);
    for (int trial = 0; trial < 400; trial++) {
        const size_t at = 8 + rng_below(&r, count - 8);
        const uint8_t kept = bytes[at];
        bytes[at] = (uint8_t)rng_next(&r);
        if (artifact_decode(bytes, count, "x.moec", false, NULL, MODEL_RUN, NULL, NULL, NULL) != STATUS_OK)
            assert_non_null(strstr(error_message(), "x.moec"));
        bytes[at] = kept;
    }
    free(bytes);
}

/* Experts that were copied take less together than strangers, come back, and one alone can be had without the other. */
static void copied_experts_are_small(void **state) {
    (void)state;
    char *folder = scratch_create(), *path = path_join(folder, "copied.moec");
    model *m = tiny_model(), *whole, *one;
    pack_options o = tiny_options();
    pack_report strangers, copies;
    o.quant.gptq = false;
    assert_ok(artifact_write(path, m, NULL, NULL, &o, &strangers));
    const char *const names[] = {"blocks.1.mlp.experts_fc.%d.weight", "blocks.1.mlp.experts_proj.%d.weight"};
    for (int i = 0; i < 2; i++) {
        char from[96], to[96];
        snprintf(from, sizeof from, names[i], 0);
        snprintf(to, sizeof to, names[i], 1);
        param *p = model_find(m, from), *q = model_find(m, to);
        float *w = xmalloc(tensor_bytes(&p->value));
        assert_ok(param_get(p, m->k, w));
        for (int64_t n = 0; n < param_count(p); n += 7) w[n] += 0.01f;
        assert_ok(param_set(q, m->k, w));
        free(w);
    }
    assert_ok(artifact_write(path, m, NULL, NULL, &o, &copies));
    const pack_component *before = &strangers.components[COMPONENT_EXPERTS],
                         *after = &copies.components[COMPONENT_EXPERTS];
    assert_true((double)after->bytes < 0.75 * (double)before->bytes);
    const bool second[] = {false, true};
    assert_ok(artifact_read(path, m->k, MODEL_VALUES, &whole, NULL, NULL));
    assert_ok(artifact_read_experts(path, m->k, MODEL_VALUES, second, &one, NULL, NULL));
    const param *a = model_find(whole, "blocks.1.mlp.experts_fc.1.weight"), *b = NULL;
    for (int i = 0; i < one->param_count; i++)
        if (one->params[i]->role == a->role) b = one->params[i];
    float *x = xmalloc(tensor_bytes(&a->value)), *y = xmalloc(tensor_bytes(&a->value));
    assert_non_null(b);
    assert_ok(param_get(a, m->k, x));
    assert_ok(param_get(b, m->k, y));
    assert_memory_equal(x, y, tensor_bytes(&a->value));
    free(x), free(y);
    model_destroy(m), model_destroy(whole), model_destroy(one);
    scratch_remove(folder);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_is_read),
        cmocka_unit_test(damage_of_version_1_is_survived),
        cmocka_unit_test(copied_experts_are_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

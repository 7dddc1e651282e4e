/* Frozen random up-projections: orthonormal, the same bits for a seed, and frozen. */
#include "families.h"

#include <math.h>

static float *values_of(const model *m, const char *name, int64_t *count) {
    param *p = model_find(m, name);
    assert_non_null(p);
    *count = param_count(p);
    float *values = xmalloc(tensor_bytes(&p->value));
    tensor_read(m->k, &p->value, values);
    return values;
}

static double row_dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Blocks of 43, 43 and 42 rows of 64 × 64 matrices: the rows of each are orthonormal, those of different blocks are not. */
static void random_rows(void **state) {
    (void)state;
    model *m = make(randup());
    int64_t count;
    float *r = values_of(m, "blocks.0.mlp.fc.random_weight", &count), *other;
    assert_int_equal(count, 128 * 64);
    for (int i = 0; i < 43; i++)
        for (int j = 0; j <= i; j++) assert_float_equal(row_dot(r + i * 64, r + j * 64, 64), i == j, 1e-6);
    assert_float_equal(row_dot(r + 127 * 64, r + 127 * 64, 64), 1, 1e-6);
    assert_true(fabs(row_dot(r, r + 43 * 64, 64)) > 1e-3);
    other = values_of(m, "blocks.3.mlp.fc.random_weight", &count);
    assert_memory_not_equal(r, other, (size_t)count * sizeof *r);
    free(other);
    model_destroy(m);
    free(r);
}

/* Wide blocks: columns are orthonormal. */
static void random_columns(void **state) {
    (void)state;
    model_config c = randup();
    c.random_up.experts = 1;
    model *m = make(c);
    int64_t count;
    float *r = values_of(m, "blocks.3.mlp.fc.random_weight", &count);
    for (int i = 0; i < 64; i++) {
        for (int j = 0; j <= i; j++) {
            double dot = 0;
            for (int row = 0; row < 128; row++) dot += (double)r[row * 64 + i] * (double)r[row * 64 + j];
            assert_float_equal(dot, i == j, 1e-6);
        }
    }
    free(r);
    model_destroy(m);
}

/* The same bits for the same seed, and these bits: files that were written with them depend on it. */
static void random_bits(void **state) {
    (void)state;
    model_config c = randup();
    model *m = make(c);
    int64_t count;
    float *a = values_of(m, "blocks.0.mlp.fc.random_weight", &count);
    model_destroy(m);
    m = make(c);
    float *b = values_of(m, "blocks.0.mlp.fc.random_weight", &count);
    assert_memory_equal(a, b, (size_t)count * sizeof *a);
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < (size_t)count * sizeof *a; i++) hash = (hash ^ ((unsigned char *)a)[i]) * 0x100000001b3u;
    assert_int_equal(hash, 0xd596c62795a029e0);
    model_destroy(m);
    free(b);
    c.random_up.seed = 1;
    m = make(c);
    b = values_of(m, "blocks.0.mlp.fc.random_weight", &count);
    assert_memory_not_equal(a, b, (size_t)count * sizeof *a);
    model_destroy(m);
    free(a);
    free(b);
}

static void random_is_frozen(void **state) {
    (void)state;
    model *m = make(randup());
    param *p = model_find(m, "blocks.0.mlp.fc.random_weight");
    assert_null(p->grad);
    assert_true(p->derived);
    bool layers[MODEL_MAX_LAYERS] = {[3] = true};
    assert_fails(model_upcycle(m, layers, 2, 1, 5, NULL, NULL), "random up-projection");
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_rows),
        cmocka_unit_test(random_columns),
        cmocka_unit_test(random_bits),
        cmocka_unit_test(random_is_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

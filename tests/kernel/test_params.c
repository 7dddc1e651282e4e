/* Sums, clipping, averaging, Adam and late QAT's grid against plain double implementations. */
#include "params.h"

#include <omp.h>

/* ---- sums -------------------------------------------------------------------------------------------------------- */

static void check_sums(const kernels *k, int64_t count) {
    float *x = normal_floats(count, 3, 1);
    double total = 0, squares = 0, got[2] = {0}, got_squares[2] = {0};
    for (int64_t i = 0; i < count; i++) total += x[i], squares += (double)x[i] * x[i];
    for (int run = 0; run < 2; run++) { /* added to what is there */
        got[run] = 10, got_squares[run] = 20;
        k->add_sum(&got[run], x, count, -0.75);
        k->add_squares(&got_squares[run], x, count);
    }
    assert_true(fabs(got[0] - (10 - 0.75 * total)) <= 1e-9 * (1 + (double)count));
    assert_true(fabs(got_squares[0] - (20 + squares)) <= 1e-12 * (20 + squares));
    assert_true(got[0] == got[1] && got_squares[0] == got_squares[1]);
    free(x);
}

static void test_sums(void **state) {
    (void)state;
    static const int64_t counts[] = {0, 1, 100, 4097, 1300001};
    for (int t = 0; t < table_count; t++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) check_sums(&tables[t], counts[c]);
}

/* The squares of the largest floats have a sum. */
static void test_squares_do_not_overflow(void **state) {
    (void)state;
    float x[20];
    for (int i = 0; i < 20; i++) x[i] = 3e38f;
    for (int t = 0; t < table_count; t++) {
        double total = 0;
        tables[t].add_squares(&total, x, 20);
        assert_true(fabs(total / (20 * (double)x[0] * x[0]) - 1) < 1e-12);
        x[19] = NAN;
        tables[t].add_squares(&total, x, 20);
        assert_true(isnan(total));
        x[19] = 3e38f;
    }
}

/* ---- clipping ---------------------------------------------------------------------------------------------------- */

static float clip_of(const kernels *k, double squares, double limit) {
    float factor = -7;
    k->clip_factor(&factor, &squares, limit);
    return factor;
}

static void test_clip_factor(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        assert_true(clip_of(k, 9, 3.5) == 1 && clip_of(k, 9, 3) == 1 && clip_of(k, 0, 0.5) == 1);
        assert_true(clip_of(k, 9, 0.5) == (float)(0.5 / (3 + 1e-6)));
        assert_true(clip_of(k, 1e-12, 0.5e-6) == (float)(0.5e-6 / (1e-6 + 1e-6)));
        assert_true(clip_of(k, 1e300, 1) == (float)(1 / (1e150 + 1e-6)));
        assert_true(clip_of(k, 9, 0) == 1 && clip_of(k, 1e300, 0) == 1);
        for (double limit = 0; limit <= 1; limit++) {
            assert_true(isnan(clip_of(k, INFINITY, limit)));
            assert_true(isnan(clip_of(k, NAN, limit)));
        }
    }
}

/* ---- elementwise ------------------------------------------------------------------------------------------------- */

static void test_add(void **state) {
    (void)state;
    int64_t count = 40001;
    for (int t = 0; t < table_count; t++) {
        float *x = normal_floats(count, 4, 1), *y = normal_floats(count, 5, 1), *was = normal_floats(count, 5, 1);
        tables[t].add(y, x, count);
        for (int64_t i = 0; i < count; i++) assert_true(y[i] == was[i] + x[i]);
        free(x), free(y), free(was);
    }
}

static void test_lerp(void **state) {
    (void)state;
    int64_t count = 40001;
    for (int t = 0; t < table_count; t++) {
        float *x = normal_floats(count, 4, 1), *y = normal_floats(count, 5, 1), *was = normal_floats(count, 5, 1);
        tables[t].lerp(y, x, 0.25f, count);
        for (int64_t i = 0; i < count; i++) assert_true(fabs(y[i] - (0.75 * was[i] + 0.25 * x[i])) < 1e-6);
        free(x), free(y), free(was);
    }
}

/* ---- Adam -------------------------------------------------------------------------------------------------------- */

static const adam_args adam_defaults = {.lr = 0.03f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .step = 1};

/* clip NULL: as if it were 1 */
static void check_adam(const kernels *k, float weight_decay, const float *clip) {
    int64_t count = 33001;
    float *w = normal_floats(count, 6, 1), *m = zeros(count, 4), *v = zeros(count, 4);
    double *w2 = zeros(count, 8), *m2 = zeros(count, 8), *v2 = zeros(count, 8);
    for (int64_t i = 0; i < count; i++) w2[i] = w[i];
    adam_args args = adam_defaults;
    args.weight_decay = weight_decay;
    for (args.step = 1; args.step <= 3; args.step++) {
        float *grad = normal_floats(count, 10 + (uint64_t)args.step, 0.1f);
        k->adam(w, m, v, grad, clip, count, &args);
        for (int64_t i = 0; i < count; i++) {
            double g = (clip ? *clip : 1) * (double)grad[i];
            m2[i] = 0.9 * m2[i] + 0.1 * g;
            v2[i] = 0.95 * v2[i] + 0.05 * g * g;
            double m_hat = m2[i] / (1 - pow(0.9, (double)args.step)),
                   v_hat = v2[i] / (1 - pow(0.95, (double)args.step));
            w2[i] = (1 - 0.03 * weight_decay) * w2[i] - 0.03 * m_hat / (sqrt(v_hat) + 1e-8);
        }
        free(grad);
    }
    for (int64_t i = 0; i < count; i++) { /* the weights hardly tell the size of a gradient, the moments do */
        assert_true(fabs(w[i] - w2[i]) < 2e-5);
        assert_true(fabs(m[i] - m2[i]) < 1e-6 && fabs(v[i] - v2[i]) < 1e-6 * (1e-3 + v2[i]));
    }
    free(w), free(m), free(v), free(w2), free(m2), free(v2);
}

static void test_adam(void **state) {
    (void)state;
    float one = 1, half = 0.5f;
    for (int t = 0; t < table_count; t++) {
        check_adam(&tables[t], 0, NULL);
        check_adam(&tables[t], 0.085f, NULL);
        check_adam(&tables[t], 0.085f, &one);
        check_adam(&tables[t], 0, &half);
    }
}

/* A mean of squares that moves by a thousandth of the way is less than a bf16 step: rounded to the nearest it would stand still
 * long before it is there. */
static void test_adam_bf16_is_right_on_average(void **state) {
    (void)state;
    enum { COUNT = 40000, STEPS = 1500 };
    const double g = 0.25;
    for (int t = 0; t < table_count; t++) {
        float *w = zeros(COUNT, 4), *grad = zeros(COUNT, 4);
        uint16_t *m = zeros(COUNT, 2), *v = zeros(COUNT, 2);
        for (int64_t i = 0; i < COUNT; i++) grad[i] = (float)g;
        adam_args args = {.lr = 1e-3f, .beta1 = 0.99f, .beta2 = 0.999f, .eps = 1e-8f, .moments = {DTYPE_BF16, 0}};
        for (args.step = 1; args.step <= STEPS; args.step++) {
            args.moments.seed = (uint32_t)args.step * 2654435761u;
            tables[t].adam(w, m, v, grad, NULL, COUNT, &args);
        }
        assert_true(fabs(bf16_mean(m, COUNT) / (g * (1 - pow(0.99, STEPS))) - 1) < 2e-3);
        assert_true(fabs(bf16_mean(v, COUNT) / (g * g * (1 - pow(0.999, STEPS))) - 1) < 2e-3);
        for (int64_t i = 0; i < COUNT; i++) assert_true(fabs(w[i] / (-1e-3 * STEPS) - 1) < 0.1);
        free(w), free(grad), free(m), free(v);
    }
}

/* What is random depends on seed and element alone. */
static void test_adam_bf16_same_bits(void **state) {
    (void)state;
    enum { COUNT = 40000 };
    const int threads = omp_get_max_threads();
    for (int t = 0; t < table_count; t++) {
        float *grad = normal_floats(COUNT, 7, 0.1f), *w[3];
        uint16_t *moments[3];
        for (int i = 0; i < 3; i++) {
            w[i] = normal_floats(COUNT, 6, 1);
            moments[i] = zeros(2 * COUNT, 2);
            adam_args args = adam_defaults;
            omp_set_num_threads(i == 1 ? 1 : 3);
            for (args.step = 1; args.step <= 4; args.step++) {
                args.moments = (moment_args){DTYPE_BF16, (uint32_t)(i == 2 ? args.step + 9 : args.step)};
                tables[t].adam(w[i], moments[i], moments[i] + COUNT, grad, NULL, COUNT, &args);
            }
        }
        omp_set_num_threads(threads);
        assert_memory_equal(w[0], w[1], COUNT * sizeof(float));
        assert_memory_equal(moments[0], moments[1], 2 * COUNT * sizeof(uint16_t));
        assert_memory_not_equal(moments[0], moments[2], 2 * COUNT * sizeof(uint16_t));
        for (int i = 0; i < 3; i++) free(w[i]), free(moments[i]);
        free(grad);
    }
}

/* Gradients that are no numbers must not reach weights or moments, nor may the decay be applied. */
static void test_adam_of_nan(void **state) {
    (void)state;
    enum { COUNT = 100 };
    float clip = NAN;
    for (int t = 0; t < table_count; t++) {
        float *all = normal_floats(3 * COUNT, 6, 1), *was = normal_floats(3 * COUNT, 6, 1);
        float *grad = normal_floats(COUNT, 7, 1);
        adam_args args = adam_defaults;
        args.weight_decay = 0.5f;
        tables[t].adam(all, all + COUNT, all + 2 * COUNT, grad, &clip, COUNT, &args);
        assert_memory_equal(all, was, 3 * COUNT * sizeof(float));
        free(all), free(was), free(grad);
    }
}

/* ---- late QAT ---------------------------------------------------------------------------------------------------- */

static void test_fake_quantize(void **state) {
    (void)state;
    float w[3][5] = {{-3.1f, 1.4f, 0.5f, 3.1f, 1.6f}, {0, 0, 0, 0, 0}, {62, -31, 1.2f, 0.9f, -62}}, out[3][5];
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        k->fake_quantize(&out[0][0], &w[0][0], 3, 5, 31, 1);
        for (int i = 0; i < 5; i++) {
            assert_true(fabs(out[0][i] - 0.1 * round(w[0][i] / 0.1)) < 1e-6);
            assert_true(out[1][i] == 0);
        }
        assert_true(out[2][0] == 62 && out[2][1] == -32 && out[2][2] == 2 && out[2][3] == 0 && out[2][4] == -62);
        k->fake_quantize(&out[0][0], &w[0][0], 3, 5, 31, 0.5f); /* values beyond half the largest are clipped */
        assert_true(out[2][0] == 31 && out[2][4] == -31 && out[2][2] == 1 && out[2][3] == 1);
    }
}

static void check_projection(const kernels *k) {
    int64_t rows = 70, cols = 513;
    float *w = normal_floats(rows * cols, 70, 1), *once = zeros(rows * cols, 4), *twice = zeros(rows * cols, 4);
    k->fake_quantize(once, w, rows, cols, 7, 1);
    k->fake_quantize(twice, once, rows, cols, 7, 1);
    for (int64_t r = 0; r < rows; r++) {
        float largest = 0;
        for (int64_t i = 0; i < cols; i++) largest = fmaxf(largest, fabsf(w[r * cols + i]));
        for (int64_t i = r * cols; i < (r + 1) * cols; i++) {
            assert_true(fabsf(once[i] - w[i]) <= largest / 14 * 1.0001f);
            assert_true(fabsf(once[i] - twice[i]) <= 1e-6f * largest);
        }
    }
    free(w), free(once), free(twice);
}

static void test_fake_quantize_is_a_projection(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) check_projection(&tables[t]);
}

int main(void) {
    find_tables();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_squares_do_not_overflow),
        cmocka_unit_test(test_clip_factor),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_lerp),
        cmocka_unit_test(test_adam),
        cmocka_unit_test(test_adam_of_nan),
        cmocka_unit_test(test_adam_bf16_is_right_on_average),
        cmocka_unit_test(test_adam_bf16_same_bits),
        cmocka_unit_test(test_fake_quantize),
        cmocka_unit_test(test_fake_quantize_is_a_projection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Sums, averaging, Adam, Muon and late QAT's grid against plain double implementations. */
#include "base/random.h"
#include "kernel/kernel.h"
#include "test.h"
#include <math.h>

static const dtype types[] = {DTYPE_F32, DTYPE_BF16};

static float *random_array(int64_t count, uint64_t seed, float std) {
    rng r = rng_seed(seed);
    float *x = xmalloc((size_t)count * 4);
    rng_normal(&r, x, (size_t)count, std);
    return x;
}

static float *zeros(int64_t count) {
    return xcalloc((size_t)count, 4);
}

/* ---- sums and elementwise ---- */

static void test_sums(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    static const int64_t counts[] = {0, 1, 100, 4097, 1300001};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        float *x = random_array(counts[c], 3, 1);
        double total = 0, squares = 0;
        for (int64_t i = 0; i < counts[c]; i++) total += x[i], squares += (double)x[i] * x[i];
        assert_true(fabs(k->sum(x, counts[c]) - total) <= 1e-9 * (1 + (double)counts[c]));
        assert_true(fabs(k->sum_squares(x, counts[c]) - squares) <= 1e-12 * squares);
        assert_true(k->sum(x, counts[c]) == k->sum(x, counts[c]));
        free(x);
    }
}

static void test_scale_and_lerp(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    int64_t count = 40001;
    float *x = random_array(count, 4, 1), *y = random_array(count, 5, 1), *was = random_array(count, 5, 1);
    k->lerp(y, x, 0.25f, count);
    for (int64_t i = 0; i < count; i++) assert_true(fabs(y[i] - (0.75 * was[i] + 0.25 * x[i])) < 1e-6);
    memcpy(was, y, (size_t)count * 4);
    k->scale(y, -3, count);
    for (int64_t i = 0; i < count; i++) assert_true(y[i] == -3 * was[i]);
    free(x);
    free(y);
    free(was);
}

/* ---- Adam ---- */

static void check_adam(float weight_decay) {
    const kernels *k = kernels_for(DTYPE_F32);
    int64_t count = 33001;
    float *w = random_array(count, 6, 1), *m = zeros(count), *v = zeros(count);
    double *w2 = xcalloc((size_t)count, 8), *m2 = xcalloc((size_t)count, 8), *v2 = xcalloc((size_t)count, 8);
    for (int64_t i = 0; i < count; i++) w2[i] = w[i];
    for (int64_t step = 1; step <= 3; step++) {
        float *g = random_array(count, 10 + (uint64_t)step, 0.1f);
        adam_args args = {
            .lr = 0.03f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .weight_decay = weight_decay, .step = step};
        k->adam(w, m, v, g, count, &args);
        for (int64_t i = 0; i < count; i++) {
            m2[i] = 0.9 * m2[i] + 0.1 * g[i];
            v2[i] = 0.95 * v2[i] + 0.05 * g[i] * g[i];
            double m_hat = m2[i] / (1 - pow(0.9, (double)step)), v_hat = v2[i] / (1 - pow(0.95, (double)step));
            w2[i] = (1 - 0.03 * weight_decay) * w2[i] - 0.03 * m_hat / (sqrt(v_hat) + 1e-8);
        }
        free(g);
    }
    for (int64_t i = 0; i < count; i++) assert_true(fabs(w[i] - w2[i]) < 2e-5);
    free(w), free(m), free(v), free(w2), free(m2), free(v2);
}

static void test_adam(void **state) {
    (void)state;
    check_adam(0);
    check_adam(0.085f);
}

/* ---- Muon ---- */

/* out[m, n] = a[m, k] · b[k, n], or a · bᵀ */
static void multiply(double *out, const double *a, const double *b, bool transpose_b, int64_t m, int64_t n, int64_t k) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double total = 0;
            for (int64_t l = 0; l < k; l++) total += a[i * k + l] * (transpose_b ? b[j * k + l] : b[l * n + j]);
            out[i * n + j] = total;
        }
}

/* x ← 3.4445 x + (−4.7750 A + 2.0315 A²) x with A = x xᵀ, on the long side whatever the shape: for a tall x the result is
 * the same as on the short one. */
static void newton_schulz(double *x, int64_t rows, int64_t cols, int steps) {
    double *A = xcalloc((size_t)(rows * rows), 8), *A2 = xcalloc((size_t)(rows * rows), 8);
    double *y = xcalloc((size_t)(rows * cols), 8);
    for (int s = 0; s < steps; s++) {
        multiply(A, x, x, true, rows, rows, cols);
        multiply(A2, A, A, false, rows, rows, rows);
        for (int64_t i = 0; i < rows * rows; i++) A2[i] = -4.7750 * A[i] + 2.0315 * A2[i];
        multiply(y, A2, x, false, rows, cols, rows);
        for (int64_t i = 0; i < rows * cols; i++) x[i] = 3.4445 * x[i] + y[i];
    }
    free(A), free(A2), free(y);
}

static void plain_muon(double *w, double *buffer, const float *grad, int64_t rows, int64_t cols, const muon_args *a) {
    double *x = xcalloc((size_t)(rows * cols), 8), total = 0, momentum = a->momentum;
    for (int64_t r = 0; r < rows; r++) {
        double squares = 0;
        for (int64_t i = r * cols; i < (r + 1) * cols; i++) {
            buffer[i] = momentum * buffer[i] + grad[i];
            x[i] = a->nesterov ? grad[i] + momentum * buffer[i] : buffer[i];
            squares += x[i] * x[i];
        }
        double norm = fmax(sqrt(squares), 1e-7);
        for (int64_t i = r * cols; a->row_normalize && i < (r + 1) * cols; i++) x[i] /= norm;
    }
    for (int64_t i = 0; i < rows * cols; i++) total += x[i] * x[i];
    for (int64_t i = 0; i < rows * cols; i++) x[i] /= sqrt(total) + 1e-7;
    newton_schulz(x, rows, cols, a->newton_schulz_steps);
    double rate = a->lr * sqrt(fmax(1, (double)rows / (double)cols));
    for (int64_t i = 0; i < rows * cols; i++) w[i] = (1 - (double)a->lr * a->weight_decay) * w[i] - rate * x[i];
    free(x);
}

/* Two steps, compared by the root mean square of the difference against that of the change. Row r of the gradients is
 * divided by (r + 1)^decay, which spreads their singular values. */
static void check_muon(const kernels *k, int64_t rows, int64_t cols, const muon_args *args, double decay,
                       double tolerance) {
    int64_t count = rows * cols;
    float *w = random_array(count, 20, 0.1f), *was = random_array(count, 20, 0.1f), *buffer = zeros(count);
    double *w2 = xcalloc((size_t)count, 8), *buffer2 = xcalloc((size_t)count, 8), error = 0, change = 0;
    for (int64_t i = 0; i < count; i++) w2[i] = w[i];
    for (uint64_t step = 0; step < 2; step++) {
        float *grad = random_array(count, 30 + step, 0.01f);
        for (int64_t i = 0; i < cols; i++) grad[i] *= 50; /* one row far longer than the others */
        for (int64_t i = 0; i < count; i++) grad[i] *= (float)pow((double)(i / cols + 1), -decay);
        assert_ok(k->muon(w, buffer, grad, rows, cols, args));
        plain_muon(w2, buffer2, grad, rows, cols, args);
        free(grad);
    }
    for (int64_t i = 0; i < count; i++) {
        error += (w[i] - w2[i]) * (w[i] - w2[i]);
        change += (w[i] - was[i]) * (w[i] - was[i]);
        assert_true(fabs(buffer[i] - buffer2[i]) < 1e-6);
    }
    if (!(sqrt(error) <= tolerance * sqrt(change)))
        fail_msg("%s %lld × %lld: error %g of the change, expected at most %g", k->name, (long long)rows,
                 (long long)cols, sqrt(error / change), tolerance);
    free(w), free(was), free(buffer), free(w2), free(buffer2);
}

static void test_muon(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{64, 64}, {48, 96}, {96, 48}, {7, 33}, {33, 7}, {1, 16}, {16, 1}};
    for (size_t t = 0; t < 2; t++) {
        const kernels *k = kernels_for(types[t]);
        if (!k) continue;
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int flags = 0; flags < 4; flags++) {
                muon_args args = {.lr = 0.02f,
                                  .momentum = 0.95f,
                                  .weight_decay = 0.095f,
                                  .newton_schulz_steps = 5,
                                  .nesterov = flags & 1,
                                  .row_normalize = flags & 2};
                /* bf16: near 1 the polynomial amplifies a rounding error, step by step; a vector has no other singular
                 * values among which it would average out. */
                bool vector = shapes[s][0] == 1 || shapes[s][1] == 1;
                double bf16_tolerance = vector ? 0.2 : 0.08;
                check_muon(k, shapes[s][0], shapes[s][1], &args, 0, types[t] == DTYPE_F32 ? 2e-5 : bf16_tolerance);
            }
    }
}

/* Several blocks, the last of them partly filled, and singular values far apart. bf16: steps that share one Gram matrix
 * add to the rounding (newton_schulz.c has the measurements; without their care the error here is 0.1 and more). */
static void test_muon_spread(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{150, 150}, {135, 200}, {200, 135}};
    muon_args args = {.lr = 0.02f, .momentum = 0.95f, .newton_schulz_steps = 5, .nesterov = true};
    for (size_t t = 0; t < 2; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int decay = 0; decay <= 1 && kernels_for(types[t]); decay++)
                check_muon(kernels_for(types[t]), shapes[s][0], shapes[s][1], &args, decay,
                           types[t] == DTYPE_F32 ? 1e-4 : 0.08);
}

/* However many steps there are, and however they fall into groups. */
static void test_muon_steps(void **state) {
    (void)state;
    for (int steps = 1; steps <= 8; steps++) {
        muon_args args = {.lr = 0.02f, .newton_schulz_steps = steps};
        check_muon(kernels_for(DTYPE_F32), 48, 96, &args, 0, 1e-4);
    }
}

/* x xᵀ (the short side) has its eigenvalues in about [0.7², 1.2²]: with x = −change / rate its diagonal lies there, and
 * the mean of the off-diagonal squares is small. */
static void check_orthogonality(const kernels *k, int64_t rows, int64_t cols) {
    int64_t count = rows * cols;
    float *w = zeros(count), *buffer = zeros(count), *grad = random_array(count, 40, 1);
    muon_args args = {.lr = 1, .newton_schulz_steps = 5};
    assert_ok(k->muon(w, buffer, grad, rows, cols, &args));
    double *x = xcalloc((size_t)count, 8), *gram = xcalloc((size_t)(rows * rows), 8), off = 0;
    for (int64_t i = 0; i < count; i++) x[i] = -w[i];
    multiply(gram, x, x, true, rows, rows, cols);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < rows; j++) {
            if (i != j) off += gram[i * rows + j] * gram[i * rows + j];
            if (i == j) assert_in_range((uint64_t)(gram[i * rows + i] * 1000), 450, 1450);
        }
    assert_true(sqrt(off / (double)rows) < 0.35);
    free(w), free(buffer), free(grad), free(x), free(gram);
}

static void test_newton_schulz_is_orthogonal(void **state) {
    (void)state;
    for (size_t t = 0; t < 2; t++)
        if (kernels_for(types[t])) check_orthogonality(kernels_for(types[t]), 48, 256);
}

static void test_muon_same_bits(void **state) {
    (void)state;
    const kernels *k = kernels_for(kernels_best_act());
    int64_t rows = 256, cols = 160;
    float *grad = random_array(rows * cols, 50, 1), *w[2];
    for (int i = 0; i < 2; i++) {
        float *buffer = zeros(rows * cols);
        w[i] = random_array(rows * cols, 51, 1);
        muon_args args = {.lr = 0.1f, .momentum = 0.9f, .newton_schulz_steps = 5, .nesterov = true};
        assert_ok(k->muon(w[i], buffer, grad, rows, cols, &args));
        free(buffer);
    }
    assert_memory_equal(w[0], w[1], (size_t)(rows * cols) * 4);
    free(grad), free(w[0]), free(w[1]);
}

/* A gradient of zeros changes nothing but the decay, and makes no NaN. */
static void test_muon_zero_gradient(void **state) {
    (void)state;
    const kernels *k = kernels_for(kernels_best_act());
    float *w = random_array(64, 60, 1), *was = random_array(64, 60, 1), *buffer = zeros(64), *grad = zeros(64);
    muon_args args = {.lr = 0.5f,
                      .momentum = 0.9f,
                      .weight_decay = 0.5f,
                      .newton_schulz_steps = 5,
                      .nesterov = true,
                      .row_normalize = true};
    assert_ok(k->muon(w, buffer, grad, 8, 8, &args));
    for (int i = 0; i < 64; i++) assert_true(w[i] == 0.75f * was[i]);
    free(w), free(was), free(buffer), free(grad);
}

/* ---- late QAT ---- */

static void test_fake_quantize(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    float w[3][5] = {{-3.1f, 1.4f, 0.5f, 3.1f, 1.6f}, {0, 0, 0, 0, 0}, {62, -31, 1.2f, 0.9f, -62}}, out[3][5];
    k->fake_quantize(&out[0][0], &w[0][0], 3, 5, 31, 1);
    for (int i = 0; i < 5; i++) {
        assert_true(fabs(out[0][i] - 0.1 * round(w[0][i] / 0.1)) < 1e-6);
        assert_true(out[1][i] == 0);
    }
    assert_true(out[2][0] == 62 && out[2][1] == -32 && out[2][2] == 2 && out[2][3] == 0 && out[2][4] == -62);
    k->fake_quantize(&out[0][0], &w[0][0], 3, 5, 31, 0.5f); /* values beyond half the largest are clipped */
    assert_true(out[2][0] == 31 && out[2][4] == -31 && out[2][2] == 1 && out[2][3] == 1);
}

static void test_fake_quantize_is_a_projection(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    int64_t rows = 70, cols = 513;
    float *w = random_array(rows * cols, 70, 1), *once = zeros(rows * cols), *twice = zeros(rows * cols);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_scale_and_lerp),
        cmocka_unit_test(test_adam),
        cmocka_unit_test(test_muon),
        cmocka_unit_test(test_muon_spread),
        cmocka_unit_test(test_muon_steps),
        cmocka_unit_test(test_newton_schulz_is_orthogonal),
        cmocka_unit_test(test_muon_same_bits),
        cmocka_unit_test(test_muon_zero_gradient),
        cmocka_unit_test(test_fake_quantize),
        cmocka_unit_test(test_fake_quantize_is_a_projection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

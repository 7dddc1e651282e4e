/* H = F D Fᵀ: of the damped Hessian, in the order that was asked for. */
#include "test.h"

#include "base/random.h"
#include "quant/ldl_factor.h"
#include <math.h>

enum { MOST = 150 };

/* Second moments of inputs, of which some columns were never seen; of fewer samples than columns where they are `few`. */
static float *moments(int64_t n, uint64_t seed, bool few) {
    const int64_t samples = few ? n / 2 + 1 : 3 * n;
    float *x = xmalloc((size_t)(samples * n) * sizeof *x), *h = xcalloc((size_t)(n * n), sizeof *h);
    rng r = rng_seed(seed);
    rng_normal(&r, x, (size_t)(samples * n), 1);
    for (int64_t s = 0; s < samples; s++)
        for (int64_t c = 0; c < n; c++) x[s * n + c] *= c % 11 == 3 ? 0 : 1 + (float)(c % 7);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t s = 0; s < samples; s++) sum += (double)x[s * n + i] * x[s * n + j];
            h[i * n + j] = (float)(sum / (double)samples);
        }
    free(x);
    return h;
}

/* The largest |F D Fᵀ − H| over the mean diagonal, and what else is promised. */
static double furthest(const ldl_factor *f, const float *hessian) {
    const int64_t n = f->cols;
    bool used[MOST] = {false};
    double furthest = 0, mean = 0;
    for (int64_t i = 0; i < n; i++) {
        assert_true(f->root[i] > 0);
        assert_false(used[f->order[i]]);
        used[f->order[i]] = true;
        mean += f->importance[i] / (double)n;
        for (int64_t k = 0; k <= i; k++) assert_true(f->factor[i * n + k] == 0);
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++) {
            const int64_t r = f->order[i], c = f->order[j];
            double sum = 0;
            for (int64_t k = j; k < n; k++) {
                const double a = k == i ? 1 : f->factor[i * n + k], b = k == j ? 1 : f->factor[j * n + k];
                sum += a * b * f->root[k] * f->root[k];
            }
            furthest = fmax(furthest, fabs(sum - (r == c ? f->importance[r] : hessian[r * n + c])) / mean);
        }
    return furthest;
}

static const int64_t sizes[] = {1, 2, 31, 32, 33, 64, 100, 128, 150};

static void a_hessian_is_its_product(void **state) {
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int kind = 0; kind < 4; kind++) {
            const int64_t n = sizes[s];
            float *h = moments(n, s, kind & 1);
            ldl_factor f;
            assert_ok(ldl_factor_create(&f, h, n, 0.01, kind & 2));
            assert_true(f.damp == 0.01);
            assert_true(furthest(&f, h) < 1e-5);
            for (int64_t i = 0; i + 1 < n; i++)
                assert_true(kind & 2 ? f.importance[f.order[i]] >= f.importance[f.order[i + 1]] : f.order[i] == i);
            ldl_factor_free(&f);
            free(h);
        }
}

static void zeros_are_the_identity(void **state) {
    (void)state;
    enum { N = 40 };
    float *h = xcalloc(N * N, sizeof *h);
    ldl_factor f;
    assert_ok(ldl_factor_create(&f, h, N, 0.01, true));
    for (int i = 0; i < N; i++) assert_true(f.root[i] == 1);
    for (int i = 0; i < N * N; i++) assert_true(f.factor[i] == 0);
    ldl_factor_free(&f);
    free(h);
}

/* Two columns that say the same, and a third one beyond what is possible. */
static void damping_grows(void **state) {
    (void)state;
    float same[] = {1, 1, 1, 1}, beyond[] = {1, 1.2f, 1.2f, 1}, never[] = {1, 1e6f, 1e6f, 1}, negative[] = {-1};
    ldl_factor f;
    assert_ok(ldl_factor_create(&f, same, 2, 0, false));
    assert_true(f.damp >= 1e-3);
    ldl_factor_free(&f);
    assert_ok(ldl_factor_create(&f, beyond, 2, 0.05, false));
    assert_true(f.damp == 0.5);
    assert_true(furthest(&f, beyond) < 1e-6);
    ldl_factor_free(&f);
    assert_fails(ldl_factor_create(&f, never, 2, 0.01, false), "not positive definite, not even with damping 100");
    assert_fails(ldl_factor_create(&f, negative, 1, 0.01, false), "a finite diagonal");
    assert_null(f.factor);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hessian_is_its_product),
        cmocka_unit_test(zeros_are_the_identity),
        cmocka_unit_test(damping_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

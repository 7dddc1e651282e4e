/* The factorisation of a Hessian, of every size around the blocks' and tiles'. */
#include "test.h"

#include "base/random.h"
#include "quant/cholesky.h"
#include <math.h>

/* A Aᵀ / n + something on the diagonal; 7 above it, which nobody may look at. */
static float *positive(int64_t n, uint64_t seed) {
    float *x = xmalloc((size_t)(n * n) * sizeof *x);
    float *a = xmalloc((size_t)(n * n) * sizeof *a);
    rng r = rng_seed(seed);
    rng_normal(&r, x, (size_t)(n * n), 1);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = i == j ? 0.05 : 0;
            for (int64_t k = 0; k < n && j <= i; k++) sum += (double)x[i * n + k] * x[j * n + k] / (double)n;
            a[i * n + j] = j <= i ? (float)sum : 7;
        }
    free(x);
    return a;
}

static const int64_t sizes[] = {1, 2, 15, 63, 64, 65, 100, 128, 131, 192, 300, 450};

static void a_product_of_its_factor(void **state) {
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int64_t n = sizes[s];
        float *a = positive(n, s), *l = xmalloc((size_t)(n * n) * sizeof *l);
        memcpy(l, a, (size_t)(n * n) * sizeof *l);
        assert_true(cholesky_lower(l, n));
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j <= i; j++) {
                double sum = 0;
                for (int64_t k = 0; k <= j; k++) sum += (double)l[i * n + k] * l[j * n + k];
                assert_true(fabs(sum - a[i * n + j]) < 1e-6);
            }
        free(a), free(l);
    }
}

static void what_has_no_factor_is_told(void **state) {
    (void)state;
    for (size_t s = 2; s < sizeof sizes / sizeof *sizes; s++) {
        const int64_t n = sizes[s];
        for (int kind = 0; kind < 3; kind++) {
            float *a = positive(n, s);
            const int64_t at = kind == 0 ? 0 : kind == 1 ? n / 2 : n - 1;
            a[at * n + at] = kind == 1 ? NAN : -1;
            assert_false(cholesky_lower(a, n));
            free(a);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_of_its_factor),
        cmocka_unit_test(what_has_no_factor_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

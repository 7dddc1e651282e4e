#include "test.h"

#include "generate/generate.h"
#include <math.h>

static void test_sampling(void **state) {
    (void)state;
    float logits[4] = {0, 3, 1, 2};
    rng r = rng_seed(1);
    sampler greedy = {.temperature = 0}, top2 = {.temperature = 1, .top_k = 2, .top_p = 1};
    sampler nucleus = {.temperature = 1, .top_p = 0.6f}, all = {.temperature = 1, .top_p = 1};
    int seen[4] = {0};
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(sample(&greedy, logits, 4, &r), 1);
        int32_t id = sample(&top2, logits, 4, &r);
        assert_true(id == 1 || id == 3);
        assert_int_equal(sample(&nucleus, logits, 4, &r), 1); /* p(1) = 0.64 alone reaches 0.6 */
        seen[sample(&all, logits, 4, &r)]++;
    }
    double sum = 0;
    for (int i = 0; i < 4; i++) sum += exp((double)logits[i]);
    for (int i = 0; i < 4; i++) assert_float_equal(seen[i] / 20000.0, exp((double)logits[i]) / sum, 0.015);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sampling)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "test.h"

#include "base/random.h"
#include <math.h>

/* Computed by a Python transcription of Blackman & Vigna's reference code. */
static void known_values(void **state) {
    (void)state;
    rng r = {{1, 2, 3, 4}};
    const uint64_t from_state[] = {
        11520, 0, 1509978240, 1215971899390074240u, 1216172134540287360u, 607988272756665600u};
    for (int i = 0; i < 6; i++) assert_true(rng_next(&r) == from_state[i]);
    const struct {
        uint64_t seed, first[4];
    } cases[] = {
        {0, {0x99ec5f36cb75f2b4u, 0xbf6e1f784956452au, 0x1a5f849d4933e6e0u, 0x6aa594f1262d2d2cu}},
        {1, {0xb3f2af6d0fc710c5u, 0x853b559647364ceau, 0x92f89756082a4514u, 0x642e1c7bc266a3a7u}},
        {42, {0x15780b2e0c2ec716u, 0x6104d9866d113a7eu, 0xae17533239e499a1u, 0xecb8ad4703b360a1u}},
    };
    for (int c = 0; c < 3; c++) {
        r = rng_seed(cases[c].seed);
        for (int i = 0; i < 4; i++) assert_true(rng_next(&r) == cases[c].first[i]);
    }
}

static void a_copied_state_draws_the_same(void **state) {
    (void)state;
    rng a = rng_seed(9);
    for (int i = 0; i < 100; i++) rng_next(&a);
    rng b = a;
    for (int i = 0; i < 100; i++) assert_true(rng_next(&a) == rng_next(&b));
}

/* Correlation of two streams' uniforms; its standard deviation over N independent pairs is 1/sqrt(N). */
static double correlation(rng a, rng b, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) sum += (rng_uniform(&a) - 0.5) * (rng_uniform(&b) - 0.5) * 12;
    return sum / count;
}

static void named_streams_are_independent(void **state) {
    (void)state;
    rng again = rng_named(5, "blocks.0.mlp"), first = rng_named(5, "blocks.0.mlp");
    assert_memory_equal(&again, &first, sizeof first);
    const char *names[] = {"blocks.0.mlp", "blocks.1.mlp", "blocks.0.mlq", ""};
    for (int i = 0; i < 4; i++) {
        rng one = rng_named(5, names[i]);
        for (int j = 0; j < 4; j++)
            for (uint64_t seed = 5; seed < 7; seed++) {
                rng other = rng_named(seed, names[j]);
                if (i == j && seed == 5) continue;
                assert_true(one.state[0] != other.state[0]);
                assert_true(fabs(correlation(one, other, 20000)) < 5 / sqrt(20000));
            }
    }
}

static void uniform_is_in_range_and_even(void **state) {
    (void)state;
    rng r = rng_seed(3);
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        double u = rng_uniform(&r);
        assert_true(u >= 0 && u < 1);
        sum += u;
    }
    assert_true(fabs(sum / 100000 - 0.5) < 5 * sqrt(1.0 / 12 / 100000));
}

static void below_hits_every_value_evenly(void **state) {
    (void)state;
    rng r = rng_seed(4);
    int counts[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint64_t v = rng_below(&r, 7);
        assert_true(v < 7);
        counts[v]++;
    }
    for (int i = 0; i < 7; i++) assert_true(abs(counts[i] - 10000) < 500); /* 5 standard deviations */
    assert_true(rng_below(&r, 1) == 0);
    /* A bound of 3/4 of the range: a plain remainder would draw the lower third twice as often. */
    uint64_t bound = 3ull << 62;
    int low = 0;
    for (int i = 0; i < 30000; i++) low += rng_below(&r, bound) < bound / 3;
    assert_true(abs(low - 10000) < 450);
}

static void normal_has_its_moments(void **state) {
    (void)state;
    enum { COUNT = 200001 };
    float *x = xmalloc((COUNT + 1) * sizeof *x);
    x[COUNT] = 77; /* an odd count must not write beyond the end */
    rng r = rng_seed(8);
    rng_normal(&r, x, COUNT, 3);
    double sum = 0, squares = 0, fourth = 0;
    for (int i = 0; i < COUNT; i++) {
        double z = x[i] / 3.0;
        assert_true(isfinite(z));
        sum += z, squares += z * z, fourth += z * z * z * z;
    }
    assert_true(fabs(sum / COUNT) < 5 / sqrt(COUNT));
    assert_true(fabs(squares / COUNT - 1) < 5 * sqrt(2.0 / COUNT));
    assert_true(fabs(fourth / COUNT - 3) < 5 * sqrt(96.0 / COUNT));
    assert_true(x[COUNT] == 77);
    free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(a_copied_state_draws_the_same),
        cmocka_unit_test(named_streams_are_independent),
        cmocka_unit_test(uniform_is_in_range_and_even),
        cmocka_unit_test(below_hits_every_value_evenly),
        cmocka_unit_test(normal_has_its_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

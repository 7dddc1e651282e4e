/* Scaling laws through runs that were made from one. */
#include "test.h"

#include "base/random.h"
#include "study/scaling.h"
#include <math.h>

enum { SEEDS = 4, SIZES = 6, RUNS = SEEDS * SIZES };

/* Sizes 1, 2, 4, … times a million; the loss of each run is off by a factor of about 1 ± noise. */
static void make(scaling_point *p, const scaling_law *law, double noise, uint64_t seed) {
    float normal[RUNS];
    rng r = rng_seed(seed);
    rng_normal(&r, normal, RUNS, 1);
    for (int i = 0; i < RUNS; i++) {
        p[i].size = 1e6 * pow(2, i % SIZES);
        p[i].loss = scaling_at(law, p[i].size) * exp(noise * normal[i]);
    }
}

static void recovers_a_law_without_noise(void **state) {
    (void)state;
    static const scaling_law laws[] = {{1.7, 400, 0.34}, {2.5, 60, 0.25}, {0.3, 30, 0.12}, {3, 3e5, 0.9}};
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        scaling_point p[RUNS];
        scaling s;
        make(p, &laws[i], 0, 1);
        assert_ok(scaling_fit_laws(&s, p, RUNS, 1));
        const scaling_law *found = &s.saturating.law;
        assert_float_equal(found->E, laws[i].E, 1e-3);
        assert_float_equal(found->alpha, laws[i].alpha, 1e-3);
        assert_float_equal(found->A / laws[i].A, 1, 2e-2);
        assert_true(s.saturating.error < 1e-6 && s.saturating.left_out < 1e-5);
        assert_float_equal(scaling_at(found, 3.2e8), scaling_at(&laws[i], 3.2e8), 1e-3);
        assert_true(s.saturating.aicc < s.power.aicc);
        assert_int_equal(s.sizes, SIZES);
        assert_float_equal(s.most, 3.2e7, 1);
        scaling_free(&s);
    }
}

/* Over many sets of runs the intervals hold the truth about as often as they say. */
static void intervals_hold_the_truth(void **state) {
    (void)state;
    const scaling_law law = {1.7, 400, 0.34};
    int alpha = 0, E = 0, ahead = 0;
    enum { SETS = 20 };
    for (uint64_t set = 1; set <= SETS; set++) {
        scaling_point p[RUNS];
        scaling s;
        make(p, &law, 0.003, set);
        assert_ok(scaling_fit_laws(&s, p, RUNS, 7));
        const scaling_fit *f = &s.saturating;
        const scaling_range far = scaling_range_at(f, 10 * s.most);
        alpha += f->alpha.low <= law.alpha && law.alpha <= f->alpha.high;
        E += f->E.low <= law.E && law.E <= f->E.high;
        ahead += far.low <= scaling_at(&law, 10 * s.most) && scaling_at(&law, 10 * s.most) <= far.high;
        assert_true(f->error > 0.001 && f->error < 0.005);
        scaling_free(&s);
    }
    assert_true(alpha >= 16 && E >= 16 && ahead >= 16);
}

static void a_plain_power_needs_no_floor(void **state) {
    (void)state;
    const scaling_law law = {0, 20, 0.08};
    scaling_point p[RUNS];
    scaling s;
    make(p, &law, 0.002, 3);
    assert_ok(scaling_fit_laws(&s, p, RUNS, 1));
    assert_float_equal(s.power.law.alpha, 0.08, 0.004);
    assert_true(s.power.law.E == 0 && s.power.E.low == 0 && s.power.E.high == 0);
    assert_true(s.power.aicc < s.saturating.aicc + 3); /* one parameter less */
    assert_true(s.power.alpha.low < 0.08 && 0.08 < s.power.alpha.high);
    scaling_free(&s);

    /* A loss that falls ever faster is no law with a floor: E is 0, and the two are one. */
    for (int i = 0; i < RUNS; i++) p[i].loss = 5 - pow(log2(p[i].size / 1e6) / 5, 2);
    assert_ok(scaling_fit_laws(&s, p, RUNS, 1));
    assert_float_equal(s.saturating.law.E, 0, 1e-9);
    assert_float_equal(s.saturating.law.alpha, s.power.law.alpha, 1e-9);
    scaling_free(&s);
}

static void same_runs_same_bits(void **state) {
    (void)state;
    const scaling_law law = {1.7, 400, 0.34};
    scaling_point p[RUNS], turned[RUNS];
    scaling a, b;
    make(p, &law, 0.003, 5);
    for (int i = 0; i < RUNS; i++) turned[i] = p[RUNS - 1 - i];
    assert_ok(scaling_fit_laws(&a, p, RUNS, 9));
    assert_ok(scaling_fit_laws(&b, turned, RUNS, 9)); /* their order does not count */
    assert_true(a.saturating.law.E == b.saturating.law.E && a.saturating.alpha.low == b.saturating.alpha.low);
    assert_true(a.power.A.high == b.power.A.high && a.saturating.ahead == b.saturating.ahead);
    scaling_free(&a);
    scaling_free(&b);
}

static void few_runs(void **state) {
    (void)state;
    scaling s;
    const scaling_point three[] = {{1e6, 3.0}, {2e6, 2.8}, {4e6, 2.7}, {4e6, 2.71}};
    assert_fails(scaling_fit_laws(&s, three, 2, 1), "scaling: expected runs of at least 3 sizes, found 2");
    assert_fails(scaling_fit_laws(&s, three + 1, 3, 1), "expected runs of at least 3 sizes, found 2");
    assert_fails(scaling_fit_laws(&s, NULL, 0, 1), "found 0");
    const scaling_point bad[] = {{1e6, 3}, {2e6, 2.8}, {4e6, NAN}};
    assert_fails(scaling_fit_laws(&s, bad, 3, 1), "found a loss of nan at 4e+06");
    /* Three runs determine the law, and say nothing about how sure it is. */
    assert_ok(scaling_fit_laws(&s, three, 3, 1));
    assert_true(s.saturating.error < 1e-6);
    assert_true(isnan(s.saturating.alpha.low) && isnan(s.saturating.aicc) && isnan(s.saturating.left_out));
    assert_true(isnan(scaling_range_at(&s.saturating, 1e7).low) && !isnan(s.power.left_out));
    assert_float_equal(scaling_beyond(&s, 16e6), 1, 1e-9);
    scaling_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recovers_a_law_without_noise),
        cmocka_unit_test(intervals_hold_the_truth),
        cmocka_unit_test(a_plain_power_needs_no_floor),
        cmocka_unit_test(same_runs_same_bits),
        cmocka_unit_test(few_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

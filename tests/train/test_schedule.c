#include "test.h"

#include "train/schedule.h"
#include <math.h>

static void fraction_by_steps_or_by_seconds(void **state) {
    (void)state;
    train_config c = {.steps = 200};
    assert_true(schedule_fraction(&c, 0, 1e9) == 0);
    assert_true(schedule_fraction(&c, 50, 1e9) == 0.25);
    assert_true(schedule_fraction(&c, 400, 0) == 1);
    c.max_seconds = 10; /* whichever comes first */
    assert_true(schedule_fraction(&c, 50, 2.4) == 0.25);
    assert_true(schedule_fraction(&c, 49, 2.5) == 0.25);
    assert_true(schedule_fraction(&c, 1, 11) == 1);
    assert_true(schedule_fraction(&c, 200, 3) == 1);
    c.steps = 0;
    assert_true(schedule_fraction(&c, 50, 2.5) == 0.25);
}

static void lr_is_warmed_up_and_down(void **state) {
    (void)state;
    train_config t = {.steps = 100};
    optimizer_config o = {.warmup_frac = 0.1, .warmdown_frac = 0.72, .min_lr = 0.1};
    assert_float_equal(schedule_lr_factor(&t, &o, 0), 0.1, 1e-12); /* the first of ten steps of warm-up already moves */
    assert_float_equal(schedule_lr_factor(&t, &o, 0.04), 0.5, 1e-12);
    assert_float_equal(schedule_lr_factor(&t, &o, 0.09), 1, 1e-12);
    assert_float_equal(schedule_lr_factor(&t, &o, 0.28), 1, 1e-12);
    assert_float_equal(schedule_lr_factor(&t, &o, 0.64), 0.5, 1e-12);
    assert_float_equal(schedule_lr_factor(&t, &o, 0.99), 0.1, 1e-12);
    assert_float_equal(schedule_lr_factor(&t, &o, 1), 0.1, 1e-12);
    o.warmdown_frac = 0;
    assert_float_equal(schedule_lr_factor(&t, &o, 1), 1, 0);
    t = (train_config){.max_seconds = 100};
    assert_float_equal(schedule_lr_factor(&t, &o, 0), 0, 0);
    assert_float_equal(schedule_lr_factor(&t, &o, 0.05), 0.5, 1e-12);
}

static void lr_may_follow_a_cosine(void **state) {
    (void)state;
    optimizer_config o = {.warmdown_frac = 0.8, .min_lr = 0.1, .warmdown_shape = WARMDOWN_COSINE};
    assert_float_equal(schedule_warmdown(&o, 0.2), 1, 1e-12);
    assert_float_equal(schedule_warmdown(&o, 0.4), 0.1 + 0.9 * (1 + sqrt(0.5)) / 2, 1e-12); /* a quarter of the way */
    assert_float_equal(schedule_warmdown(&o, 0.6), 0.55, 1e-12);
    assert_float_equal(schedule_warmdown(&o, 1), 0.1, 1e-12);
}

static void momentum_is_warmed_up(void **state) {
    (void)state;
    optimizer_config c = {
        .muon_momentum = 0.99, .muon_momentum_warmup_start = 0.92, .muon_momentum_warmup_steps = 1500};
    assert_float_equal(schedule_momentum(&c, 0), 0.92, 1e-12);
    assert_float_equal(schedule_momentum(&c, 750), 0.955, 1e-12);
    assert_float_equal(schedule_momentum(&c, 9999), 0.99, 1e-12);
    c.muon_momentum_warmup_steps = 0;
    assert_float_equal(schedule_momentum(&c, 0), 0.99, 1e-12);
}

static void events_are_due_by_fraction_or_rate(void **state) {
    (void)state;
    event at = {.at = 0.3, .kind = EVENT_UPCYCLE}, below = {.below_lr = 0.15, .kind = EVENT_QAT};
    assert_false(schedule_due(&at, 0.29, 1));
    assert_true(schedule_due(&at, 0.3, 1));
    assert_false(schedule_due(&below, 0.9, 0.15));
    assert_true(schedule_due(&below, 0.9, 0.149));
    /* In the warm-up the rate is small, too, and late QAT must not start there. */
    train_config t = {.steps = 100};
    optimizer_config o = {.warmup_frac = 0.5, .warmdown_frac = 0.3, .min_lr = 0};
    assert_true(schedule_lr_factor(&t, &o, 0) < 0.15);
    assert_false(schedule_due(&below, 0, schedule_warmdown(&o, 0)));
    assert_true(schedule_due(&below, 0.97, schedule_warmdown(&o, 0.97)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fraction_by_steps_or_by_seconds),
        cmocka_unit_test(lr_is_warmed_up_and_down),
        cmocka_unit_test(lr_may_follow_a_cosine),
        cmocka_unit_test(momentum_is_warmed_up),
        cmocka_unit_test(events_are_due_by_fraction_or_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

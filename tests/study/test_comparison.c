/* What a comparison is made of: paired differences, repetition, tables. (tests/cli/compare.sh compares whole models.) */
#include "test.h"

#include "base/random.h"
#include "study/compare.h"
#include "study/repetition.h"
#include "study/table.h"
#include <math.h>

/* Bits 3, 1 and −1 on 10, 20 and 10 bytes: D = 3 / 40 = 0.075, residuals 2.25, −0.5, −1.75,
 * √(3/2 · (5.0625 + 0.25 + 3.0625)) / 40 = 0.088609. */
static void a_difference_by_hand(void **state) {
    (void)state;
    const paired_unit units[] = {{3, 10, 0}, {100, 7, 1}, {1, 20, 0}, {-1, 10, 0}};
    const paired_difference d = paired_in_domain(units, 4, 0);
    assert_float_equal(d.mean, 0.075, 1e-12);
    assert_float_equal(d.error, sqrt(1.5 * 8.375) / 40, 1e-12);
    assert_true(d.units == 3 && d.bytes == 40);
    assert_string_equal(paired_verdict(&d), "even");
    const paired_difference one = paired_in_domain(units, 4, 1), none = paired_in_domain(units, 4, 2);
    assert_true(isnan(one.error) && one.units == 1 && isnan(none.mean) && none.units == 0);
    assert_string_equal(paired_verdict(&one), "");
    assert_true(isnan(paired_in_all(units, 4, 2).error)); /* the second domain has no error, so all have none */
    assert_float_equal(paired_in_all(units, 4, 2).mean, 103.0 / 47, 1e-12);
    assert_float_equal(paired_in_all(units, 4, 1).error, d.error, 1e-12); /* of one domain: its own */
}

/* The error is what the difference spreads by, over many samples. */
static void errors_are_as_large_as_the_spread(void **state) {
    (void)state;
    enum { SAMPLES = 400, UNITS = 40 };
    rng r = rng_seed(1);
    double sum = 0, squares = 0, errors = 0;
    for (int i = 0; i < SAMPLES; i++) {
        paired_unit units[UNITS];
        for (int u = 0; u < UNITS; u++) {
            float normal;
            rng_normal(&r, &normal, 1, 1);
            const int64_t bytes = 500 + (int64_t)rng_below(&r, 3000);
            units[u] = (paired_unit){-0.01 * (double)bytes + 20 * normal, bytes, u % 2};
        }
        const paired_difference d = paired_in_all(units, UNITS, 2);
        sum += d.mean / SAMPLES;
        squares += d.mean * d.mean / SAMPLES;
        errors += d.error / SAMPLES;
    }
    const double spread = sqrt(squares - sum * sum);
    assert_float_equal(sum, -0.01, 0.0003);
    assert_float_equal(errors / spread, 1, 0.1);
    const paired_difference better = {.mean = -0.02, .error = 0.005}, worse = {.mean = 0.02, .error = 0.005};
    assert_string_equal(paired_verdict(&better), "better");
    assert_string_equal(paired_verdict(&worse), "worse");
}

static void assert_repetition(const char *text, int64_t grams, int64_t repeated) {
    const repetition r = repetition_of(text, strlen(text));
    if (r.grams != grams || r.repeated != repeated)
        fail_msg("\"%s\": %lld of %lld", text, (long long)r.repeated, (long long)r.grams);
}

static void repeated_grams(void **state) {
    (void)state;
    assert_repetition("", 0, 0);
    assert_repetition("one two three", 0, 0);
    assert_repetition("one two three four", 1, 0);
    assert_repetition(" a  b\nc\td   a b c d ", 5, 1); /* abcd bcda cdab dabc abcd */
    assert_repetition("a a a a a a a", 4, 3);
    assert_repetition("ab c d e a bc d e", 5, 0); /* words are not joined */
}

static void tables_stand_in_columns(void **state) {
    (void)state;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    table t = table_create(2);
    table_put(&t, "what");
    table_put(&t, "a|b");
    table_put(&t, "± of it\n");
    table_put(&t, "%d", 12345);
    table_print(&t, out);
    fclose(out);
    assert_string_equal(text, "| what     |  a\\|b |\n| -------- | ----: |\n| ± of it  | 12345 |\n");
    free(text);
    char room[32];
    assert_string_equal(grouped(1234567, room), "1,234,567");
    assert_string_equal(grouped(123, room), "123");
}

static void too_few_models(void **state) {
    (void)state;
    comparison c;
    const compare_subject one = {.path = "a", .open = "a", .kind = "artifact"};
    const compare_options o = {.models = &one, .count = 1};
    assert_fails(compare_run(&o, &c), "compare: expected 2 to 16 models, found 1");
    comparison_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_difference_by_hand), cmocka_unit_test(errors_are_as_large_as_the_spread),
        cmocka_unit_test(repeated_grams),       cmocka_unit_test(tables_stand_in_columns),
        cmocka_unit_test(too_few_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Differences of a sweep's runs, seed by seed: intervals against published quantiles, and what the table says. */
#include "test.h"

#include "study/sweep.h"
#include "study/sweep_difference.h"
#include <math.h>
#include <string.h>

static void intervals(void **state) {
    (void)state;
    /* 1, 2, 3: mean 2, s = 1, t(2) = 4.303: 2 ± 4.303 / √3 */
    const seed_difference d = seed_difference_of((double[]){1, 2, 3}, 3);
    assert_true(d.seeds == 3 && d.mean == 2 && fabs(d.half - 4.303 / sqrt(3)) < 1e-9);
    assert_string_equal(seed_difference_verdict(&d), "even");
    const seed_difference less = seed_difference_of((double[]){-1, -1.01, -0.99, -1}, 4);
    assert_string_equal(seed_difference_verdict(&less), "better");
    const seed_difference more = seed_difference_of((double[]){1, 1.01, 0.99, 1}, 4);
    assert_string_equal(seed_difference_verdict(&more), "worse");
    const seed_difference one = seed_difference_of((double[]){-3}, 1), none = seed_difference_of(NULL, 0);
    assert_true(one.mean == -3 && isnan(one.half) && isnan(none.mean) && isnan(none.half));
    assert_string_equal(seed_difference_verdict(&one), "");
}

/* What would be true of every table, if differences were taken of means: a is far better than b in one seed and far worse in the
 * other; c is a little better in both. */
static const char *const lines = "[{\"name\":\"a\",\"seed\":1,\"val_bpb\":1.0,\"val_bpb_domains\":{\"code\":1.0}},"
                                 "{\"name\":\"a\",\"seed\":2,\"val_bpb\":2.0,\"val_bpb_domains\":{\"code\":2.0}},"
                                 "{\"name\":\"b\",\"seed\":1,\"val_bpb\":2.0,\"val_bpb_domains\":{\"code\":2.5}},"
                                 "{\"name\":\"b\",\"seed\":2,\"val_bpb\":1.0},"
                                 "{\"name\":\"c\",\"seed\":2,\"val_bpb\":1.99,\"val_bpb_domains\":{\"code\":1.98}},"
                                 "{\"name\":\"c\",\"seed\":1,\"val_bpb\":0.99,\"val_bpb_domains\":{\"code\":0.98}}]";

static char text[4096];

static const char *table_of(const sweep *s) {
    cJSON *results = cJSON_Parse(lines);
    assert_non_null(results);
    text[0] = '\0';
    FILE *out = fmemopen(text, sizeof text, "w");
    sweep_differences_print(s, results, out);
    fclose(out);
    cJSON_Delete(results);
    return text;
}

static void tables(void **state) {
    (void)state;
    sweep_variant variants[] = {{.name = "a", .times = 1}, {.name = "b", .times = 1}, {.name = "c", .times = 1}};
    sweep s = {.seeds = {1, 2}, .seed_count = 2, .variants = variants, .variant_count = 3};
    table_of(&s);
    const char *b = strstr(text, "| b "), *c = strstr(text, "| c ");
    assert_non_null(b);
    assert_non_null(c);
    assert_non_null(strstr(text, "less those of a, seed by seed"));
    assert_non_null(strstr(b, "+0.0000 ± 12.7060 |    even |          +1.5000 |")); /* its second seed has no domains */
    assert_non_null(strstr(c, " -0.0100 ± 0.0000 |  better | -0.0200 ± 0.0000 |"));

    s.seed_count = 1; /* one seed: differences, but no interval and no verdict */
    table_of(&s);
    assert_non_null(strstr(text, " -0.0100 |"));
    assert_null(strstr(text, "better"));

    variants[2].times = 2; /* a run of other steps is not compared */
    assert_string_equal(table_of(&s), "");
    s.variant_count = 1;
    assert_string_equal(table_of(&s), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(intervals), cmocka_unit_test(tables)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

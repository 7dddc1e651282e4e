/* Measures of tables that can be computed by hand, and the assignment of domains to experts against all there are. */
#include "test.h"

#include "base/random.h"
#include "eval/assignment.h"
#include "eval/routing_measures.h"
#include <math.h>

static routing_table table_of(int domains, int experts, const double *count) {
    routing_table t = routing_table_create(domains, experts);
    memcpy(t.count, count, (size_t)(domains * experts) * sizeof *count);
    return t;
}

/* shares 3/4 1/4, 1/4 3/4, 1/2 1/2, and a domain without tokens, which changes nothing */
static void three_domains_and_two_experts(void **state) {
    (void)state;
    static const double count[] = {6, 2, 2, 6, 0, 0, 4, 4};
    routing_table t = table_of(4, 2, count);
    assert_float_equal(routing_table_total(&t), 24, 0);
    assert_float_equal(routing_table_share(&t, 0, 0), 0.75, 0);
    assert_float_equal(routing_table_share(&t, 2, 0), 0, 0);
    assert_float_equal(routing_separation(&t), (0.5 + 0.25 + 0.25) / 3, 1e-12);
    const routing_contrast c = routing_contrast_of(&t); /* (3/4 + 1/8) over (1/4 + 1/8) */
    assert_float_equal(c.mean, 7.0 / 3, 1e-12);
    assert_float_equal(c.largest, 7.0 / 3, 1e-12);
    assert_int_equal(c.expert, 0);
    const double H = -0.75 * log2(0.75) - 0.25 * log2(0.25);
    assert_float_equal(routing_information(&t), 2.0 / 3 * (1 - H), 1e-12);
    assert_float_equal(routing_information_bound(&t), 1, 1e-12);
    assert_float_equal(routing_expert_entropy(&t), 1, 1e-12);
    routing_table_free(&t);
}

static void domains_that_share_no_expert(void **state) {
    (void)state;
    static const double count[] = {0, 30, 0, 0, 0, 10};
    routing_table t = table_of(2, 3, count);
    assert_float_equal(routing_separation(&t), 1, 0);
    const double H = -0.75 * log2(0.75) - 0.25 * log2(0.25);
    assert_float_equal(routing_information(&t), H, 1e-12);
    assert_float_equal(routing_information_bound(&t), H, 1e-12);
    const routing_contrast c = routing_contrast_of(&t);
    assert_float_equal(c.largest, (1 + 0.1) / 0.1, 1e-12); /* ε is a token of ten */
    assert_int_equal(c.expert, 1);
    assert_float_equal(c.mean, (1 + 11 + 11) / 3.0, 1e-12);
    int expert[2];
    routing_best_experts(&t, expert);
    assert_int_equal(expert[0], 1);
    assert_int_equal(expert[1], 2);
    const routing_accuracy a = routing_accuracy_of(&t, expert);
    assert_float_equal(a.tokens, 1, 0);
    assert_float_equal(a.domains, 1, 0);
    routing_table_free(&t);
}

static void domains_that_are_routed_alike(void **state) {
    (void)state;
    static const double count[] = {10, 20, 30, 100, 200, 300};
    routing_table t = table_of(2, 3, count);
    assert_float_equal(routing_separation(&t), 0, 1e-15);
    assert_float_equal(routing_information(&t), 0, 1e-12);
    static const int expert[] = {0, 2};
    const routing_accuracy a = routing_accuracy_of(&t, expert);
    assert_float_equal(a.tokens, 310.0 / 660, 1e-12);
    assert_float_equal(a.domains, (10.0 / 60 + 300.0 / 600) / 2, 1e-12);
    routing_table_free(&t);
}

/* Without an expert a domain is no error; without tokens it gets none, and takes none from the others. */
static void domains_without_experts(void **state) {
    (void)state;
    static const double count[] = {8, 2, 0, 0, 6, 4, 1, 9};
    routing_table t = table_of(4, 2, count);
    int expert[4];
    routing_best_experts(&t, expert);
    assert_int_equal(expert[0], 0);
    assert_int_equal(expert[1], -1);
    assert_int_equal(expert[2], -1);
    assert_int_equal(expert[3], 1);
    const routing_accuracy a = routing_accuracy_of(&t, expert);
    assert_float_equal(a.tokens, 17.0 / 20, 1e-12);
    static const int none[] = {-1, 0, -1, -1};
    assert_float_equal(routing_accuracy_of(&t, none).tokens, 0, 0);
    routing_table_free(&t);
    static const double single[] = {3, 1};
    t = table_of(1, 2, single);
    assert_float_equal(routing_separation(&t), 0, 0);
    assert_float_equal(routing_information(&t), 0, 1e-15);
    assert_float_equal(routing_information_bound(&t), 0, 0);
    assert_float_equal(routing_contrast_of(&t).largest, 1, 0);
    routing_table_free(&t);
}

/* ---- the assignment ---- */

enum { MOST = 6 };

/* The best sum over all ways to give rows from `row` on a free column, or none where columns are fewer. */
static double best_sum(const double *worth, int rows, int columns, int row, unsigned taken, int skips) {
    if (row == rows) return 0;
    double best = skips > 0 ? best_sum(worth, rows, columns, row + 1, taken, skips - 1) : -INFINITY;
    for (int c = 0; c < columns; c++) {
        if (taken & 1u << c) continue;
        const double sum = worth[row * columns + c] + best_sum(worth, rows, columns, row + 1, taken | 1u << c, skips);
        best = fmax(best, sum);
    }
    return best;
}

static void assert_best(const double *worth, int rows, int columns) {
    int column[MOST], skips = 0;
    unsigned taken = 0;
    double sum = 0;
    best_assignment(worth, rows, columns, column);
    for (int i = 0; i < rows; i++) {
        skips += column[i] < 0;
        if (column[i] < 0) continue;
        assert_true(column[i] < columns && !(taken & 1u << column[i]));
        taken |= 1u << column[i];
        sum += worth[i * columns + column[i]];
    }
    assert_int_equal(skips, rows > columns ? rows - columns : 0);
    assert_float_equal(sum, best_sum(worth, rows, columns, 0, 0, skips), 1e-9);
}

static void the_assignment_is_the_best_of_all(void **state) {
    (void)state;
    rng r = rng_seed(11);
    for (int i = 0; i < 600; i++) {
        const int rows = 1 + (int)rng_below(&r, MOST), columns = 1 + (int)rng_below(&r, MOST);
        double worth[MOST * MOST];
        for (int j = 0; j < rows * columns; j++) /* every other time with ties */
            worth[j] = i % 2 ? (double)rng_below(&r, 3) : rng_uniform(&r);
        assert_best(worth, rows, columns);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_domains_and_two_experts),     cmocka_unit_test(domains_that_share_no_expert),
        cmocka_unit_test(domains_that_are_routed_alike),     cmocka_unit_test(domains_without_experts),
        cmocka_unit_test(the_assignment_is_the_best_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

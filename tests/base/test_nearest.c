/* Levenshtein distance by known cases, and who wins. */
#include "test.h"

#include "base/nearest.h"

static void distances(void **state) {
    (void)state;
    assert_int_equal(edit_distance("", ""), 0);
    assert_int_equal(edit_distance("abc", ""), 3);
    assert_int_equal(edit_distance("kitten", "sitting"), 3);
    assert_int_equal(edit_distance("sitting", "kitten"), 3);
    assert_int_equal(edit_distance("batch", "btach"), 2);
    char longer[300];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(edit_distance(longer, "x"), NEAREST_MAX_LENGTH - 1);
}

static void the_first_of_equals_wins(void **state) {
    (void)state;
    nearest n = {.word = "tran"};
    nearest_offer(&n, "pack");
    nearest_offer(&n, "train");
    nearest_offer(&n, "trans");
    assert_string_equal(n.name, "train");
    assert_int_equal(n.distance, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(distances), cmocka_unit_test(the_first_of_equals_wins)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

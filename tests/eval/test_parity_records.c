/* The parity cases that the record scripts' own models computed hold. They are larger, and not in this repository. */
#include "parity_case.h"

static void assert_record_holds(const char *folder, int gradients) {
    skip_without(folder);
    assert_holds(folder, gradients);
}

static void test_upcycle_loop(void **state) {
    (void)state;
    assert_record_holds("../shared/parity/upcycle_loop", 110);
}
static void test_soft(void **state) {
    (void)state;
    assert_record_holds("../shared/parity/soft_e2", 84);
}
static void test_explore_soft(void **state) {
    (void)state;
    assert_record_holds("../shared/parity/explore_soft", 78);
}
static void test_explore_shared_routed(void **state) {
    (void)state;
    assert_record_holds("../shared/parity/explore_shared_routed", 99);
}
static void test_randup(void **state) {
    (void)state;
    assert_record_holds("../shared/parity/randup_e2_rank8", 71);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upcycle_loop), cmocka_unit_test(test_soft),
        cmocka_unit_test(test_explore_soft), cmocka_unit_test(test_explore_shared_routed),
        cmocka_unit_test(test_randup),
    };
    return run_skippable_tests(tests, NULL, NULL);
}

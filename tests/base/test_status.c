#include "test.h"
#include <pthread.h>

static void messages_are_formatted(void **state) {
    (void)state;
    assert_int_equal(fail("%s: expected %d, found %d", "a.bin", 3, 4), STATUS_FAILED);
    assert_string_equal(error_message(), "a.bin: expected 3, found 4");
    assert_int_equal(fail_usage("unknown key %s", "depht"), STATUS_USAGE);
    assert_string_equal(error_message(), "unknown key depht");
}

static void context_goes_in_front(void **state) {
    (void)state;
    status s = fail_usage("no key");
    assert_int_equal(fail_in(s, "run %d", 7), STATUS_USAGE);
    assert_string_equal(error_message(), "run 7: no key");
    assert_int_equal(fail_in(STATUS_OK, "never"), STATUS_OK);
    assert_string_equal(error_message(), "run 7: no key");
}

static void the_old_message_may_be_an_argument(void **state) {
    (void)state;
    (void)fail("inner");
    (void)fail("outer (%s)", error_message());
    assert_string_equal(error_message(), "outer (inner)");
}

static void a_message_is_one_line_and_bounded(void **state) {
    (void)state;
    (void)fail("a\nb\tc");
    assert_string_equal(error_message(), "a b c");
    char *much = xmalloc(100001);
    memset(much, 'x', 100000);
    much[100000] = 0;
    (void)fail("%s", much);
    assert_in_range(strlen(error_message()), 1000, 4096);
    status s = fail_in(STATUS_FAILED, "%s", much);
    assert_int_equal(s, STATUS_FAILED);
    assert_in_range(strlen(error_message()), 1000, 4096);
    free(much);
}

static void *fail_elsewhere(void *unused) {
    (void)unused;
    assert_string_equal(error_message(), "");
    (void)fail("theirs");
    return NULL;
}

static void messages_belong_to_a_thread(void **state) {
    (void)state;
    (void)fail("mine");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    assert_string_equal(error_message(), "mine");
}

static status two_steps(status first) {
    TRY(first);
    return fail("second");
}

static void try_returns_early(void **state) {
    (void)state;
    assert_int_equal(two_steps(STATUS_INTERRUPTED), STATUS_INTERRUPTED);
    assert_int_equal(two_steps(STATUS_OK), STATUS_FAILED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_formatted),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(the_old_message_may_be_an_argument),
        cmocka_unit_test(a_message_is_one_line_and_bounded),
        cmocka_unit_test(messages_belong_to_a_thread),
        cmocka_unit_test(try_returns_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The public header, alone as other programs see it, against the shared library. */
#include <moec.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void it_says_what_it_is(void **state) {
    (void)state;
    assert_true(strchr(moec_version(), '.') != NULL);
    assert_true(strlen(moec_isa()) > 0);
}

static void an_absent_model_is_named(void **state) {
    (void)state;
    assert_null(moec_open("/nowhere/model.moec"));
    assert_non_null(strstr(moec_error(), "/nowhere/model.moec"));
}

static void a_file_that_is_no_model_is_named(void **state) {
    (void)state;
    assert_null(moec_open("CMakeLists.txt"));
    assert_non_null(strstr(moec_error(), "CMakeLists.txt"));
}

static void an_absent_configuration_fails(void **state) {
    (void)state;
    assert_int_not_equal(moec_train("/nowhere/run.yaml", NULL, 0, 0), 0);
    assert_non_null(strstr(moec_error(), "/nowhere/run.yaml"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_says_what_it_is),
        cmocka_unit_test(an_absent_model_is_named),
        cmocka_unit_test(a_file_that_is_no_model_is_named),
        cmocka_unit_test(an_absent_configuration_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

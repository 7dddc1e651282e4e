/* What every test needs before cmocka.h, a scratch folder that is gone afterwards, and skips that ctest shows. */
#ifndef MOEC_TESTS_TEST_H
#define MOEC_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
/* cmocka's macro fail() hides base/status.h's function; fail_msg() is built upon it. */
#undef fail
#undef fail_msg
#define fail_msg(...)                                                                                                  \
    do {                                                                                                               \
        print_error(__VA_ARGS__);                                                                                      \
        print_error("\n");                                                                                             \
        _fail(__FILE__, __LINE__);                                                                                     \
    } while (0)

#include "base/file.h"
#include "base/memory.h"
#include "base/status.h"
#include <stdlib.h>
#include <string.h>

#define assert_ok(expression)                                                                                          \
    do {                                                                                                               \
        if ((expression) != STATUS_OK) fail_msg("%s: %s", #expression, error_message());                               \
    } while (0)

/* The call fails and its one line names `part` (a path, a key, a tensor, what was expected). */
#define assert_fails(expression, part)                                                                                 \
    do {                                                                                                               \
        if ((expression) == STATUS_OK) fail_msg("%s succeeded", #expression);                                          \
        if (!strstr(error_message(), part)) fail_msg("\"%s\" does not name \"%s\"", error_message(), part);            \
    } while (0)

/* A new folder under $TMPDIR or /tmp; scratch_remove() it. */
static inline char *scratch_create(void) {
    const char *base = getenv("TMPDIR");
    char *path = xasprintf("%s/moec-test-XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

static inline void scratch_remove(char *path) {
    assert_ok(folder_remove(path));
    free(path);
}

/* Each test its own scratch folder, as *state. */
static inline int scratch_setup(void **state) {
    *state = scratch_create();
    return 0;
}

static inline int scratch_teardown(void **state) {
    scratch_remove(*state);
    return 0;
}

/* A test that reads what is not everywhere begins with this. */
#define skip_without(path)                                                                                             \
    do {                                                                                                               \
        if (!path_exists(path)) {                                                                                      \
            print_message("skipped: %s is absent\n", path);                                                            \
            skipped_tests++;                                                                                           \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)
static int skipped_tests;

/* For main() of such a program: one skipped test makes ctest count it as skipped (SKIP_RETURN_CODE in CMakeLists.txt), so that a
 * program of its own is the place for tests of that kind. */
static inline int outcome(int failed) {
    return failed ? 1 : skipped_tests ? 77 : 0;
}
#define run_skippable_tests(tests, setup, teardown) outcome(cmocka_run_group_tests(tests, setup, teardown))

#define in_scratch(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

#endif

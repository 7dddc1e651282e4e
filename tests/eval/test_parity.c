/* The parity cases that moec can build so far hold; a family that it cannot build is refused by name. */
#include "eval/parity.h"

#include "base/file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_upcycle_loop(void **state) {
    (void)state;
    if (!path_exists("../shared/parity/upcycle_loop")) skip();
    parity_report report;
    status s = parity_run("../shared/parity/upcycle_loop", kernels_for(DTYPE_F32), &report);
    if (s != STATUS_OK) fail_msg("%s", error_message());
    assert_true(report.gradient_count > 100);
    assert_true(parity_holds(&report, &parity_default));
    report.logits = 2e-4;
    assert_false(parity_holds(&report, &parity_default));
    parity_report_free(&report);
}

static void test_unknown_family(void **state) {
    (void)state;
    model_config c;
    cJSON *json = cJSON_Parse("{\"family\": \"unheard-of\"}");
    assert_int_not_equal(parity_config(&c, json, "config.json"), STATUS_OK);
    assert_non_null(strstr(error_message(), "unheard-of"));
    cJSON_Delete(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_upcycle_loop), cmocka_unit_test(test_unknown_family)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

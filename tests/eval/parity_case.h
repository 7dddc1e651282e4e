/* One parity case, for test_parity.c and test_parity_records.c. */
#ifndef MOEC_TESTS_EVAL_PARITY_CASE_H
#define MOEC_TESTS_EVAL_PARITY_CASE_H

#include "test.h"

#include "eval/parity.h"

/* The case agrees, in so many gradients, and would not if a logit were off. */
static inline void assert_holds(const char *folder, int gradients) {
    parity_report report;
    assert_ok(parity_run(folder, kernels_for(DTYPE_F32), &report));
    assert_int_equal(report.gradient_count, gradients);
    assert_true(parity_holds(&report));
    report.logits = 2e-4;
    assert_false(parity_holds(&report));
    parity_report_free(&report);
}

#endif

/* The parity cases that the record scripts' own models and transformers computed hold. They are larger, and not in this
 * repository. */
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

static void assert_pretrained_holds(const char *folder) {
    skip_without(folder);
    parity_report report;
    assert_ok(parity_run(folder, kernels_for(DTYPE_F32), &report));
    assert_true(parity_holds(&report));
    assert_false(report.trained);
    report.logits = 3e-5;
    assert_false(parity_holds(&report));
    parity_report_free(&report);
}

static void test_llama(void **state) {
    (void)state;
    assert_pretrained_holds("../shared/parity/hf_llama");
}
static void test_qwen2(void **state) {
    (void)state;
    assert_pretrained_holds("../shared/parity/hf_qwen2");
}
static void test_qwen3(void **state) {
    (void)state;
    assert_pretrained_holds("../shared/parity/hf_qwen3");
}
static void test_mixtral(void **state) {
    (void)state;
    assert_pretrained_holds("../shared/parity/hf_mixtral");
}
static void test_qwen2_moe(void **state) {
    (void)state;
    assert_pretrained_holds("../shared/parity/hf_qwen2_moe");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upcycle_loop), cmocka_unit_test(test_soft),
        cmocka_unit_test(test_explore_soft), cmocka_unit_test(test_explore_shared_routed),
        cmocka_unit_test(test_randup),       cmocka_unit_test(test_llama),
        cmocka_unit_test(test_qwen2),        cmocka_unit_test(test_qwen3),
        cmocka_unit_test(test_mixtral),      cmocka_unit_test(test_qwen2_moe),
    };
    return run_skippable_tests(tests, NULL, NULL);
}

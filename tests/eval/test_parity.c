/* Every family's shipped parity case holds; a family or argument that cannot be built is refused by name. */
#include "eval/parity.h"
#include "formats/records.h"

#include "base/file.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_holds(const char *name, int gradients) {
    char *folder = path_join("../shared/parity", name);
    if (!path_exists(folder)) {
        free(folder);
        skip();
    }
    parity_report report;
    status s = parity_run(folder, kernels_for(DTYPE_F32), &report);
    free(folder);
    if (s != STATUS_OK) fail_msg("%s", error_message());
    assert_int_equal(report.gradient_count, gradients);
    assert_true(parity_holds(&report));
    report.logits = 2e-4;
    assert_false(parity_holds(&report));
    parity_report_free(&report);
}

/* transformers' own cases, where they are. */
static void assert_pretrained(const char *name) {
    char *folder = path_join("../shared/parity", name);
    const int there = path_exists(folder);
    parity_report report = {0};
    if (there && parity_run(folder, kernels_for(DTYPE_F32), &report) != STATUS_OK) fail_msg("%s", error_message());
    free(folder);
    if (!there) skip();
    assert_true(parity_holds(&report));
    assert_false(report.trained);
    report.logits = 3e-5;
    assert_false(parity_holds(&report));
    parity_report_free(&report);
}
static void test_pretrained(void **state) {
    (void)state;
    assert_pretrained("hf_llama");
    assert_pretrained("hf_mixtral");
    assert_pretrained("hf_qwen2");
    assert_pretrained("hf_qwen3");
    assert_pretrained("hf_qwen2_moe");
}

static void test_upcycle_loop(void **state) {
    (void)state;
    assert_holds("upcycle_loop", 110);
}
static void test_soft(void **state) {
    (void)state;
    assert_holds("soft_e2", 84);
}
static void test_explore_soft(void **state) {
    (void)state;
    assert_holds("explore_soft", 78);
}
static void test_explore_shared_routed(void **state) {
    (void)state;
    assert_holds("explore_shared_routed", 99);
}
static void test_randup(void **state) {
    (void)state;
    assert_holds("randup_e2_rank8", 71);
}

#define COMMON                                                                                                         \
    "\"vocab_size\": 64, \"num_layers\": 4, \"model_dim\": 64, \"num_heads\": 4, \"num_kv_heads\": 2,"                 \
    "\"tie_embeddings\": true, \"tied_embed_init_std\": 0.005, \"logit_softcap\": 30.0, \"rope_base\": 10000.0,"       \
    "\"qk_gain_init\": 1.5"

static status read_arguments(model_config *c, const char *text) {
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    status s = record_config(c, json, "config.json");
    cJSON_Delete(json);
    return s;
}

static void assert_refused(const char *text, const char *part) {
    model_config c;
    assert_int_not_equal(read_arguments(&c, text), STATUS_OK);
    if (!strstr(error_message(), part)) fail_msg("expected '%s' in '%s'", part, error_message());
}

static void test_refusals(void **state) {
    (void)state;
    assert_refused("{\"family\": \"unheard-of\"}", "unheard-of");
    assert_refused("{\"family\": \"randup\", " COMMON ", \"mlp_mult\": 2}", "random_mlp_up_layers");
    assert_refused("{\"family\": \"randup\", " COMMON ", \"mlp_mult\": 2, \"random_mlp_up_layers\": [4]}",
                   "random_mlp_up_layers");
    assert_refused("{\"family\": \"randup\", " COMMON ", \"mlp_mult\": 2, \"random_mlp_up_layers\": [1],"
                   "\"random_mlp_up_rank\": 65, \"random_mlp_up_num_experts\": 2, \"random_mlp_up_gain\": true,"
                   "\"random_mlp_up_base_seed\": 1, \"random_mlp_up_init\": \"qr\"}",
                   "random_up_rank");
    assert_refused("{\"family\": \"explore\", " COMMON ", \"mlp_mult\": 3, \"num_experts\": 2, \"moe_mode\": \"other\","
                   "\"moe_start_layer\": -1, \"bigram_vocab_size\": 0, \"bigram_dim\": 32, \"trigram_hash_buckets\": 0,"
                   "\"trigram_dim\": 32, \"top_k\": 1, \"moe_aux_loss_coef\": 0.01}",
                   "moe_mode");
}

/* Widths are Python's int(): rounded down. */
static void test_widths(void **state) {
    (void)state;
    model_config c;
    assert_int_equal(read_arguments(&c, "{\"family\": \"explore\", " COMMON
                                        ", \"mlp_mult\": 3.01, \"num_experts\": 7, \"moe_mode\": \"soft\","
                                        "\"moe_start_layer\": -1, \"bigram_vocab_size\": 0, \"bigram_dim\": 32,"
                                        "\"trigram_hash_buckets\": 0, \"trigram_dim\": 32, \"top_k\": 1,"
                                        "\"moe_aux_loss_coef\": 0.01}"),
                     STATUS_OK);
    assert_int_equal(model_config_hidden(&c), 192);
    assert_int_equal(model_config_expert_hidden(&c), 27);
    assert_int_equal(c.moe.start_layer, 2);
    assert_int_equal(c.moe.gate, GATE_SOFT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pretrained),
        cmocka_unit_test(test_upcycle_loop),
        cmocka_unit_test(test_soft),
        cmocka_unit_test(test_explore_soft),
        cmocka_unit_test(test_explore_shared_routed),
        cmocka_unit_test(test_randup),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_widths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

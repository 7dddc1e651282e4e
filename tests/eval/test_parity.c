/* The parity cases of moec's own PyTorch models hold (tests/parity/make.py); a family or argument that cannot be built is
 * refused by name. */
#include "parity_case.h"

#include "formats/records.h"
#include <cjson/cJSON.h>

static void test_dense(void **state) {
    (void)state;
    assert_holds("tests/parity/dense", 49);
}
static void test_looped_with_experts(void **state) {
    (void)state;
    assert_holds("tests/parity/looped", 63);
}
static void test_soft(void **state) {
    (void)state;
    assert_holds("tests/parity/soft", 66);
}
static void test_sparse(void **state) {
    (void)state;
    assert_holds("tests/parity/sparse_top2", 63);
}
static void test_sparse_beside_shared(void **state) {
    (void)state;
    assert_holds("tests/parity/shared_top2", 64);
}
static void test_random_up(void **state) {
    (void)state;
    assert_holds("tests/parity/random_up", 48);
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

/* A case may say anything: its bounds are looked at before its path is walked. */
static void test_bounds(void **state) {
    (void)state;
    static const char many[] =
        "{\"family\": \"upcycle\", \"vocab_size\": 64, \"num_layers\": 200000, \"model_dim\": 64, \"num_heads\": 4,"
        "\"num_kv_heads\": 2, \"mlp_mult\": 2, \"tie_embeddings\": true, \"tied_embed_init_std\": 0.005,"
        "\"logit_softcap\": 30.0, \"rope_base\": 10000.0, \"qk_gain_init\": 1.5,%s"
        "\"forward_path\": {\"encoder\": [0], \"decoder\": [1]}}";
    static const char rest[] = "\"num_loops\": 2, \"loop_start\": 0, \"loop_end\": 1, \"parallel_start_layer\": 4,"
                               "\"bigram_buckets\": 0, \"bigram_dim\": 32, \"gate_window\": 12, \"moe_layers\": [],";
    char *text = xasprintf(many, rest);
    assert_refused(text, "num_layers");
    free(text);
    assert_refused("{\"family\": \"randup\", " COMMON ", \"mlp_mult\": 1e300, \"random_mlp_up_layers\": [1],"
                   "\"random_mlp_up_rank\": 8, \"random_mlp_up_num_experts\": 2, \"random_mlp_up_gain\": true,"
                   "\"random_mlp_up_base_seed\": 1, \"random_mlp_up_init\": \"qr\"}",
                   "mlp_mult");
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
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_looped_with_experts),
        cmocka_unit_test(test_soft),
        cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_sparse_beside_shared),
        cmocka_unit_test(test_random_up),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_widths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

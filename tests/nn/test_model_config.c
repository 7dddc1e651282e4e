/* The rules of a model's config, its forward path, and JSON both ways. */
#include "test.h"

#include "nn/config_fields.h"
#include "nn/plan.h"

static void assert_path(const model_config *c, const int *expected, int length, int encoder) {
    forward_path path = model_path(c);
    assert_int_equal(path.length, length);
    assert_int_equal(path.encoder, encoder);
    for (int i = 0; i < length; i++) assert_int_equal(path.layer[i], expected[i]);
}

static void forward_paths(void **state) {
    (void)state;
    model_config c = model_config_default();
    const int plain[] = {0, 1, 2, 3, 4, 5, 6, 7, 8}, looped[] = {0, 1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5, 6, 7, 8};
    assert_path(&c, plain, 9, 4);
    assert_int_equal(model_skips(&c), 7); /* of the looped path, before looping is on */
    c.loop.on = true;
    assert_path(&c, looped, 15, 7);
    assert_int_equal(model_skips(&c), 7);
    c.loop.on = false;
    c.loop.extra_passes = 0;
    assert_int_equal(model_skips(&c), 4);
    model_config all = model_config_default();
    all.num_layers = 3, all.loop.extra_passes = 1, all.loop.first = 0, all.loop.last = 2, all.loop.on = true;
    const int twice[] = {0, 1, 2, 0, 1, 2};
    assert_path(&all, twice, 6, 3);
    assert_int_equal(model_skips(&all), 3);
}

/* Each pass a U-Net of its own, over the same rows of skip_weights; of an odd number of layers the last one pops nothing. */
static void skips_of_each_pass(void **state) {
    (void)state;
    model_config c = model_config_default();
    c.num_layers = 5, c.loop.extra_passes = 1, c.loop.first = 0, c.loop.last = 4, c.loop.skips = LOOP_SKIPS_EACH_PASS;
    c.residual.parallel_start_layer = 5, c.loop.on = true;
    assert_ok(model_config_check(&c));
    assert_int_equal(model_skips(&c), 2);
    const int pass[] = {PATH_PUSH, PATH_PUSH, 0, 1, PATH_PLAIN};
    forward_path path = model_path(&c);
    assert_int_equal(path.length, 10);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(path.layer[i], i % 5);
        assert_int_equal(path.skip[i], pass[i % 5]);
    }
}

static void mixture_layers_and_widths(void **state) {
    (void)state;
    model_config c = model_config_default();
    assert_false(model_config_has_moe(&c));
    c.moe.start_layer = 7;
    assert_true(model_config_is_moe(&c, 7) && model_config_is_moe(&c, 8) && !model_config_is_moe(&c, 6));
    assert_int_equal(model_config_expert_hidden(&c), 2048);
    c.moe.experts = 3, c.moe.split = true;
    assert_int_equal(model_config_expert_hidden(&c), 682);
    c.moe.expert_mult = 1.5f;
    assert_int_equal(model_config_expert_hidden(&c), 256);
    assert_int_equal(model_config_active_experts(&c), 1);
    c.moe.gate = GATE_SOFT;
    assert_int_equal(model_config_active_experts(&c), 3);
}

static size_t field_size(const config_field *f) {
    switch (f->type) {
    case FIELD_BOOL:
        return 1;
    case FIELD_SET:
        return MODEL_MAX_LAYERS;
    case FIELD_INT64:
        return 8;
    case FIELD_LABELS:
        return sizeof(label_list);
    default:
        return 4;
    }
}

static void every_field_is_in_the_table(void **state) {
    (void)state;
    size_t end = 0; /* of the fields so far */
    for (int i = 0; i < model_section.count; i++) {
        const config_field *f = &model_section.fields[i];
        assert_non_null(f->key);
        size_t size = field_size(f), padding = 7;
        assert_in_range(f->offset, end, end + padding); /* in the struct's order, with no more than padding between */
        end = f->offset + size;
    }
    assert_in_range(sizeof(model_config), end, end + 7);
}

/* A default config with one change is refused with a message that names the key. */
#define assert_refused(change, key)                                                                                    \
    do {                                                                                                               \
        model_config c = model_config_default();                                                                       \
        change;                                                                                                        \
        assert_fails(model_config_check(&c), key ": ");                                                                \
    } while (0)

static void rules(void **state) {
    (void)state;
    model_config good = model_config_default();
    assert_ok(model_config_check(&good));
    assert_refused(c.vocab_size = 1, "vocab_size");
    assert_refused(c.vocab_size = (1 << 24) + 1, "vocab_size");
    assert_refused(c.num_layers = MODEL_MAX_LAYERS + 1, "num_layers");
    assert_refused(c.model_dim = 0, "model_dim");
    assert_refused(c.attention.heads = 7, "num_heads");
    assert_refused(c.attention.heads = 512, "num_heads"); /* heads of one channel cannot be rotated */
    assert_refused(c.attention.kv_heads = 3, "num_kv_heads");
    assert_refused(c.rotary.dims = 15, "rope_dims");
    assert_refused(c.rotary.dims = 66, "rope_dims");
    assert_refused(c.mlp.mult = 1.001f, "mlp_mult");
    assert_refused(c.mlp.mult = -1, "mlp_mult");
    assert_refused(c.residual.smear_width = 513, "smear_width");
    assert_refused(c.residual.parallel_start_layer = 10, "parallel_start_layer");
    assert_refused(c.loop.last = 9, "loop_end");
    assert_refused(c.loop.first = 6, "loop_start");
    assert_refused((c.num_layers = 256, c.loop.last = 255, c.loop.extra_passes = 4), "num_loops");
    assert_refused((c.loop.extra_passes = 0, c.loop.on = true), "looping");
    assert_refused(c.moe.top_k = 3, "moe_top_k");
    assert_refused(c.moe.layers[9] = true, "moe_layers");
    assert_refused(c.mlp.activation = (activation)7, "activation");
    assert_refused(c.rotary.base = 0, "rope_base");
    assert_refused(c.moe.experts = 513, "moe_num_experts");
    assert_refused(c.moe.start_layer = 9, "moe_start_layer");
    assert_refused((c.moe.start_layer = 4, c.moe.layers[2] = true), "moe_start_layer");
    assert_refused((c.loop.skips = LOOP_SKIPS_EACH_PASS), "loop_skips");
    assert_refused((c.moe.gate = GATE_SOFT, c.moe.top_k = 2), "moe_top_k");
    assert_refused((c.moe.gate = GATE_STRAIGHT_THROUGH, c.moe.bias_rate = 0.001f), "moe_bias_rate");
    assert_refused((c.moe.gate = GATE_SOFT, c.moe.noise_std = 1), "moe_noise_std");
    assert_refused((c.moe.start_layer = 0, c.moe.expert_mult = 0.3f), "moe_expert_mult");
    assert_refused((c.moe.start_layer = 0, c.moe.shared_mult = 0.3f), "moe_shared_mult");
    assert_refused((c.stem.bigram_buckets = 1, c.stem.bigram_hash = BIGRAM_XOR), "bigram_buckets");
    assert_refused(c.random_up.layers[9] = true, "random_up_layers");
    assert_refused(c.random_up.layers[3] = c.moe.layers[3] = true, "random_up_layers");
    assert_refused((c.random_up.layers[3] = true, c.mlp.activation = ACTIVATION_SWIGLU), "random_up_layers");
    assert_refused((c.random_up.layers[3] = true, c.random_up.rank = 513), "random_up_rank");
    assert_refused((c.random_up.layers[3] = true, c.random_up.experts = 513), "random_up_experts");
}

/* Keys of an option that is not there: the model would not be what its author thinks. */
static void orphaned_options(void **state) {
    (void)state;
    assert_refused(c.random_up.rank = 8, "random_up_rank");
    assert_refused(c.random_up.experts = 2, "random_up_experts");
    assert_refused(c.random_up.gain = false, "random_up_gain");
    assert_refused(c.random_up.seed = 1, "random_up_seed");
    assert_refused(c.moe.split = true, "moe_split");
    assert_refused(c.moe.expert_mult = 1, "moe_expert_mult");
    assert_refused(c.moe.shared_mult = 2, "moe_shared_mult");
    assert_refused(c.stem.trigram_dim = 64, "trigram_dim");
    assert_refused((c.stem.bigram_buckets = 0, c.stem.bigram_hash = BIGRAM_XOR), "bigram_hash");
    assert_refused((c.stem.bigram_buckets = 0, c.stem.hash_scale = 0.05f), "hash_scale");
    assert_refused((c.stem.bigram_buckets = 0, c.init.hash = HASH_ZERO_TABLE), "hash_init");
    assert_refused((c.loop.extra_passes = 0, c.loop.skips = LOOP_SKIPS_EACH_PASS), "loop_skips");
    assert_refused((c.loop.extra_passes = 0, c.loop.scales = true), "loop_scales");
    assert_refused((c.loop.scales = true, c.residual.attn_scale = c.residual.mlp_scale = false), "loop_scales");
}

static model_config unusual(void) {
    model_config c = model_config_default();
    c.mlp.activation = ACTIVATION_SWIGLU;
    c.mlp.mult = 2.5f;
    c.init.embed_std = 0.1f / 3;
    c.loop.on = true;
    c.moe.experts = 4;
    c.moe.top_k = 2;
    c.moe.layers[1] = c.moe.layers[8] = true;
    c.head.tied = false;
    c.stem.hash_scale = 0.05f;
    c.stem.bigram_hash = BIGRAM_XOR;
    c.moe.gate = GATE_PROBABILITY;
    c.moe.shared_mult = 0.5f;
    c.loop.skips = LOOP_SKIPS_ALONG_PATH;
    c.loop.scales = true;
    c.mlp.activation = ACTIVATION_LEAKY_RELU2;
    c.random_up.layers[0] = true;
    c.random_up.seed = 999999999999998;
    c.stem.hash_projection = false;
    return c;
}

static void json_round_trip(void **state) {
    (void)state;
    model_config c = unusual(), back;
    memset(&back, 0xAA, sizeof back);
    cJSON *json = model_config_to_json(&c);
    char *text = cJSON_Print(json);
    assert_non_null(strstr(text, "\"logit_softcap\":\t30,"));
    cJSON *parsed = cJSON_Parse(text);
    assert_ok(model_config_from_json(&back, parsed, "config.json"));
    for (int i = 0; i < model_section.count; i++) {
        char *before = field_text(&model_section.fields[i], &c), *after = field_text(&model_section.fields[i], &back);
        assert_string_equal(before, after);
        free(before);
        free(after);
    }
    assert_true(back.init.embed_std == c.init.embed_std);
    cJSON_Delete(parsed);
    cJSON_free(text);
    cJSON_Delete(json);
}

/* The default's JSON with `key` replaced by `value` (NULL: taken away) is refused. */
static void assert_json_refused(const char *key, const char *value, const char *part) {
    model_config c = model_config_default();
    cJSON *json = model_config_to_json(&c);
    cJSON_DeleteItemFromObjectCaseSensitive(json, key);
    if (value) cJSON_AddItemToObject(json, key, cJSON_Parse(value));
    assert_fails(model_config_from_json(&c, json, "x/config.json"), part);
    assert_non_null(strstr(error_message(), "x/config.json"));
    cJSON_Delete(json);
}

static void expert_names(void **state) {
    model_config c = model_config_default(), back;
    (void)state;
    c.moe.experts = 2;
    assert_true(labels_add(&c.moe.names, "code") && labels_add(&c.moe.names, "prose"));
    cJSON *json = model_config_to_json(&c);
    assert_ok(model_config_from_json(&back, json, "config.json"));
    assert_int_equal(labels_find(&back.moe.names, "prose"), 1);
    cJSON_Delete(json);
    back.moe.experts = 3;
    assert_fails(model_config_check(&back), "moe_expert_names: expected a name for each of the 3 experts, found 2");
    assert_json_refused("moe_expert_names", "[\"a\", \"a\"]", "moe_expert_names: expected a list of names");
    assert_json_refused("moe_expert_names", "[1]", "moe_expert_names: expected a list of names");
}

static void json_refusals(void **state) {
    (void)state;
    assert_json_refused("num_layers", NULL, "num_layers is missing");
    assert_json_refused("num_layers", "\"9\"", "num_layers: expected an integer");
    assert_json_refused("num_layers", "9.5", "num_layers: expected an integer from 1 to 256, found 9.5");
    assert_json_refused("num_layers", "1e300", "num_layers: expected");
    assert_json_refused("num_layers", "257", "num_layers: expected");
    assert_json_refused("xsa", "1", "xsa: expected true or false");
    assert_json_refused("activation", "\"gelu\"", "activation: expected one of relu2, leaky_relu2, swiglu");
    assert_json_refused("moe_layers", "[1.5]", "moe_layers: expected a list");
    assert_json_refused("moe_layers", "3", "moe_layers: expected a list");
    assert_json_refused("moe_layers", "[9]", "moe_layers: expected layers below");
    assert_json_refused("num_haeds", "4", "unknown key num_haeds; the nearest is num_heads");
    assert_json_refused("num_heads", "7", "num_heads: expected a divisor");
    model_config c;
    cJSON *list = cJSON_CreateArray();
    assert_fails(model_config_from_json(&c, list, "x.json"), "expected a JSON object");
    cJSON_Delete(list);
    cJSON *twice = cJSON_Parse("{\"xsa\": true, \"xsa\": true}");
    assert_fails(model_config_from_json(&c, twice, "x.json"), "xsa is given twice");
    cJSON_Delete(twice);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_paths),
        cmocka_unit_test(every_field_is_in_the_table),
        cmocka_unit_test(rules),
        cmocka_unit_test(json_round_trip),
        cmocka_unit_test(json_refusals),
        cmocka_unit_test(expert_names),
        cmocka_unit_test(skips_of_each_pass),
        cmocka_unit_test(mixture_layers_and_widths),
        cmocka_unit_test(orphaned_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

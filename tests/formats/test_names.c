#include "test.h"

#include "formats/names.h"

static void assert_name(const char *pattern, const char *name, int layer, int expert) {
    int found_layer, found_expert;
    char written[PARAM_NAME_BYTES];
    assert_true(name_matches(pattern, name, &found_layer, &found_expert));
    assert_int_equal(found_layer, layer);
    assert_int_equal(found_expert, expert);
    name_write(written, pattern, layer, expert);
    assert_string_equal(written, name);
}

static void patterns(void **state) {
    (void)state;
    int layer, expert;
    assert_name("blocks.#.mlp.experts_fc.@.weight", "blocks.12.mlp.experts_fc.3.weight", 12, 3);
    assert_name("blocks.#.mlp.experts.@.proj.weight", "blocks.0.mlp.experts.511.proj.weight", 0, 511);
    assert_name("skip_weights", "skip_weights", -1, -1);
    static const char *const wrong[] = {
        "blocks..mlp.fc.weight", "blocks.0.mlp.fc.weight2",      "blocks.x.mlp.fc.weight",  "blocks.01.mlp.fc.weight",
        "blocks.0.mlp.fc.weigh", "blocks.9999999.mlp.fc.weight", "blocks.-1.mlp.fc.weight", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(name_matches("blocks.#.mlp.fc.weight", wrong[i], &layer, &expert));
}

/* Every parameter is found by the name that the records give it, and some by moec's. */
static void records(void **state) {
    (void)state;
    model_config c = model_config_default();
    c.vocab_size = 64, c.model_dim = 32, c.num_layers = 2, c.attention.heads = 4, c.attention.kv_heads = 2;
    c.residual.parallel_start_layer = 2, c.loop.extra_passes = 0, c.stem.bigram_buckets = 16, c.stem.bigram_dim = 8;
    c.stem.hash_scale = 1, c.rotary.dims = 0, c.moe.layers[1] = true, c.moe.experts = 3;
    model *m;
    assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_RUN));
    for (int i = 0; i < m->param_count; i++) {
        char name[PARAM_NAME_BYTES];
        assert_true(naming_write(&naming_records, m->params[i], name));
        assert_ptr_equal(naming_find(&naming_records, m, name), m->params[i]);
    }
    assert_string_equal(naming_find(&naming_records, m, "bigram.embed.weight")->name, "bigram_emb.weight");
    assert_string_equal(naming_find(&naming_records, m, "blocks.1.mlp.experts.2.fc.weight")->name,
                        "blocks.1.mlp.experts_fc.2.weight");
    assert_string_equal(naming_find(&naming_records, m, "blocks.1.mlp.gate.weight")->name,
                        "blocks.1.mlp.router.weight");
    assert_null(naming_find(&naming_records, m, "blocks.0.mlp.gate.weight"));
    assert_null(naming_find(&naming_records, m, "blocks.1.mlp.experts.3.fc.weight"));
    assert_null(naming_find(&naming_records, m, "unheard.of"));
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(patterns), cmocka_unit_test(records)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

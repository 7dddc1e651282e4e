/* What inspecting an artifact finds: the bits and the steps that the packer was asked for, and the bytes that it counted. */
#include "packed.h"

#include "store/artifact_contents.h"
#include "store/artifact_format.h"
#include <math.h>

static void it_is_what_was_packed(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    pack_report r;
    artifact_contents c;
    o.quant.bits = 5;
    o.quant.embed_bits = 7;
    o.weights = "live";
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, &r));
    assert_ok(artifact_examine(&c, f->path));
    assert_string_equal(c.weights, "live");
    assert_int_equal(c.context_tokens, LENGTH);
    assert_int_equal(c.model.model_dim, 32);
    assert_int_equal(c.file_bytes, r.artifact_bytes);
    assert_int_equal(c.weight_bytes, r.weight_bytes);
    assert_int_equal(c.tokenizer_bytes, r.tokenizer_bytes);
    assert_int_equal(c.config_bytes, r.config_bytes);
    int64_t elements = 0;
    for (int i = 0; i < COMPONENTS; i++) {
        assert_int_equal(c.components[i].tensors, r.components[i].tensors);
        assert_int_equal(c.components[i].elements, r.components[i].elements);
        assert_int_equal(c.components[i].bytes, r.components[i].bytes);
        elements += c.components[i].elements;
    }
    assert_int_equal(elements, model_param_total(f->m));
    const contents_component *attention = &c.components[COMPONENT_ATTENTION], *gates = &c.components[COMPONENT_GATES];
    const contents_component *embedding = &c.components[COMPONENT_EMBEDDING], *bigram = &c.components[COMPONENT_BIGRAM];
    assert_true(attention->least_bits == 5 && attention->most_bits == 5 && attention->grids == attention->tensors);
    assert_int_equal(attention->grid_elements, attention->elements);
    assert_true(embedding->least_bits == 7 && embedding->most_bits == 7);
    assert_true(bigram->grids == 1 && bigram->tensors == 2 && bigram->grid_elements == 64 * 8); /* the table */
    assert_true(gates->grids == 0 && gates->most_bits == 0 && gates->step == 0);
    assert_ok(artifact_examine_config(&c, f->path));
    assert_true(c.model.model_dim == 32 && c.weight_bytes == 0);
    assert_string_equal(c.weights, "live");
    o.weights = NULL;
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, &r));
    assert_ok(artifact_examine_config(&c, f->path));
    assert_string_equal(c.weights, "");
}

/* The least step decides where it is coarser than the bits' grid, and inspecting finds it. */
static void steps_and_bits_decide(void **state) {
    fixture *f = *state;
    static const struct {
        int bits;
        double step;
        bool by_step, by_bits; /* all rows */
    } cases[] = {{6, 0, false, true}, {8, 0.4, true, false}, {5, 0.4, true, false}, {2, 0.1, false, true}};
    for (int i = 0; i < 4; i++) {
        pack_options o = tiny_options();
        pack_report r;
        artifact_contents c;
        o.quant.bits = cases[i].bits;
        o.quant.least_step = cases[i].step;
        assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, &r));
        const pack_component *mlp = &r.components[COMPONENT_MLP];
        const pack_rows *rows = &mlp->rows[PACK_BLOCKS];
        assert_int_equal(mlp->rows[PACK_TABLES].count, 0);
        assert_true(rows->count > 0);
        assert_int_equal(rows->at_step == rows->count, cases[i].by_step);
        assert_int_equal(rows->at_step == 0, cases[i].by_bits);
        assert_ok(artifact_examine(&c, f->path));
        const double step = c.components[COMPONENT_MLP].step;
        if (cases[i].by_step) assert_float_equal(step, cases[i].step, 0.02);
        if (cases[i].by_bits) assert_true(cases[i].bits == 6 ? step < 0.2 : step > 0.6);
        /* embeddings and hash tables have a step of their own, which is 0 */
        const pack_rows *table = &r.components[COMPONENT_EMBEDDING].rows[PACK_TABLES];
        assert_true(table->count == 96 && table->at_step == 0);
    }
}

/* Tensors that are not those of the config. */
static void contradictions_are_refused(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    artifact_contents c;
    uint8_t *bytes;
    size_t count;
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, NULL));
    assert_ok(file_read(f->path, FILE_ANY_SIZE, &bytes, &count));
    assert_ok(artifact_contents_decode(&c, bytes, count, "x", false, true));
    for (size_t left = 0; left < count; left += left < 300 ? 1 : 997)
        assert_fails(artifact_contents_decode(&c, bytes, left, "part.moec", true, true), "part.moec");
    rng r = rng_seed(2);
    int refused = 0;
    for (int trial = 0; trial < 600; trial++) {
        const size_t at = trial < 248 ? (size_t)trial : rng_below(&r, count);
        const uint8_t kept = bytes[at];
        bytes[at] = (uint8_t)rng_next(&r);
        refused += artifact_contents_decode(&c, bytes, count, "x", false, true) != STATUS_OK;
        bytes[at] = kept;
    }
    assert_true(refused > 150);
    free(bytes);
    assert_fails(artifact_examine(&c, f->folder), "found a folder");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_what_was_packed, setup, teardown),
        cmocka_unit_test_setup_teardown(steps_and_bits_decide, setup, teardown),
        cmocka_unit_test_setup_teardown(contradictions_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

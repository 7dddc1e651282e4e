/* An artifact's numbers taken out and put back: the same bytes where nothing changed, and what changed where something did. */
#include "packed.h"

#include "quant/quantize.h"
#include "store/artifact_format.h"
#include "store/artifact_numbers.h"
#include "store/pack_plan.h"
#include <math.h>

static void pack_with(fixture *f, quantizer q, uint8_t **bytes, size_t *count) {
    pack_options o = tiny_options();
    pack_plan plan = pack_plan_create(f->m, q, o.quant.keep_float_elements);
    for (int i = 0; i < plan.count; i++) {
        plan.tensors[i].rate = 3;
        plan.tensors[i].rank = i % 3; /* some with a correction */
    }
    plan.damp = 0.01;
    o.plan = &plan;
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, &o, NULL));
    assert_ok(file_read(f->path, FILE_ANY_SIZE, bytes, count));
    pack_plan_free(&plan);
}

static void nothing_changes(void **state) {
    fixture *f = *state;
    for (int q = 0; q < QUANTIZERS; q++) {
        uint8_t *bytes;
        size_t count;
        artifact_numbers n;
        byte_buffer again = {0};
        pack_with(f, (quantizer)q, &bytes, &count);
        assert_ok(artifact_numbers_read(&n, bytes, count, f->path));
        assert_ok(artifact_numbers_write(&again, &n, f->m));
        assert_int_equal(again.count, count);
        assert_memory_equal(again.bytes, bytes, count);
        artifact_numbers_free(&n);
        free(again.bytes);
        free(bytes);
    }
}

static void what_changed_is_read(void **state) {
    fixture *f = *state;
    uint8_t *bytes;
    size_t count;
    artifact_numbers n;
    byte_buffer file = {0};
    model *m;
    int grid = 0, vector = 0;
    pack_with(f, QUANTIZER_TRELLIS, &bytes, &count);
    assert_ok(artifact_numbers_read(&n, bytes, count, f->path));
    while (!n.tensors[grid].q.q) grid++;
    while (n.tensors[vector].q.q) vector++;
    quantized *q = &n.tensors[grid].q;
    q->scale[1] = scale_round(1.5f * q->scale[1]);
    q->input_scale[2] = scale_round(0.7f * q->input_scale[2]);
    n.tensors[vector].floats[0] = 0.75f;
    assert_ok(artifact_numbers_write(&file, &n, f->m));
    assert_ok(artifact_parse(file.bytes, file.count, "changed", f->m->k, MODEL_VALUES, &m, NULL, NULL));
    float *expected = xmalloc((size_t)n.tensors[grid].count * sizeof *expected),
          *found = xmalloc((size_t)n.tensors[grid].count * sizeof *found);
    quantized_expand(q, expected);
    assert_ok(param_get(m->params[grid], m->k, found)); /* no parameter before it is derived */
    assert_memory_equal(found, expected, (size_t)n.tensors[grid].count * sizeof *found);
    free(found);
    found = xmalloc((size_t)n.tensors[vector].count * sizeof *found);
    assert_ok(param_get(m->params[vector], m->k, found));
    assert_float_equal(found[0], 0.75f, 0);
    q->scale[1] = 0.1f;
    assert_fails(artifact_numbers_write(&file, &n, f->m), "scale 1: expected a bfloat16");
    free(expected), free(found), free(bytes), free(file.bytes);
    model_destroy(m);
    artifact_numbers_free(&n);
}

static void damaged_files_are_refused(void **state) {
    fixture *f = *state;
    uint8_t *bytes;
    size_t count;
    artifact_numbers n;
    pack_with(f, QUANTIZER_TRELLIS, &bytes, &count);
    for (size_t cut = 0; cut < count; cut += 1 + count / 300)
        assert_fails(artifact_numbers_read(&n, bytes, cut, "cut"), "cut");
    for (size_t at = 0; at < count; at += 1 + count / 300) {
        bytes[at] ^= 0x55;
        assert_fails(artifact_numbers_read(&n, bytes, count, "flipped"), "flipped");
        bytes[at] ^= 0x55;
    }
    model *other;
    byte_buffer file = {0};
    model_config c = tiny_config();
    c.num_layers = 2;
    assert_ok(artifact_numbers_read(&n, bytes, count, "whole"));
    assert_ok(model_create(&other, &c, f->m->k, MODEL_VALUES));
    assert_true(artifact_numbers_write(&file, &n, other) != STATUS_OK);
    model_destroy(other);
    artifact_numbers_free(&n);
    free(file.bytes);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_changed_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_files_are_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

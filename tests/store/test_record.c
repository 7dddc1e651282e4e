/* Each switch of #2102's way of packing does what it says, and nothing else. */
#include "packed.h"

#include "nn/roles.h"
#include "quant/quantize.h"
#include "store/artifact_numbers.h"
#include "store/pack_config.h"
#include <math.h>

static artifact_numbers packed(fixture *f, const pack_options *o) {
    uint8_t *bytes;
    size_t count;
    artifact_numbers n;
    assert_ok(artifact_write(f->path, f->m, NULL, f->h, o, NULL));
    assert_ok(file_read(f->path, FILE_ANY_SIZE, &bytes, &count));
    assert_ok(artifact_numbers_read(&n, bytes, count, f->path));
    free(bytes);
    return n;
}

/* Whether tensors of these roles differ, and others do not. */
static void assert_differ(const model *m, const artifact_numbers *a, const artifact_numbers *b, bool (*concerns)(int)) {
    int differ = 0, next = 0;
    for (int i = 0; i < m->param_count; i++) {
        if (m->params[i]->derived) continue;
        const quantized *x = &a->tensors[next].q, *y = &b->tensors[next].q;
        next++;
        if (!x->q || !y->q) continue;
        const bool same = memcmp(x->q, y->q, (size_t)(x->rows * x->cols)) == 0 &&
                          memcmp(x->scale, y->scale, (size_t)x->rows * sizeof *x->scale) == 0;
        if (!same && !concerns(m->params[i]->role)) fail_msg("%s is other", m->params[i]->name);
        differ += !same;
    }
    assert_true(differ > 0);
}

static bool is_any(int role) {
    (void)role;
    return true;
}
static bool is_table(int role) {
    return role_is_table((param_role)role);
}
static bool is_expert(int role) {
    return role_has_expert((param_role)role);
}

static void scales_have_a_floor(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    artifact_numbers plain = packed(f, &o);
    o.quant.least_scale = 1.0 / 31;
    artifact_numbers floored = packed(f, &o);
    const float least = scale_round((float)o.quant.least_scale);
    int below = 0;
    for (int i = 0; i < plain.count; i++)
        for (int64_t r = 0; plain.tensors[i].q.q && r < plain.tensors[i].q.rows; r++) {
            below += plain.tensors[i].q.scale[r] < least;
            const float scale = floored.tensors[i].q.scale[r];
            assert_true(scale == 0 || scale >= least);
        }
    assert_true(below > 100);
    artifact_numbers_free(&plain);
    artifact_numbers_free(&floored);
}

static void tables_are_rounded_without_statistics(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    artifact_numbers ours = packed(f, &o);
    o.quant.plain_tables = true;
    artifact_numbers theirs = packed(f, &o);
    assert_differ(f->m, &ours, &theirs, is_table);
    o.quant.gptq = false;
    artifact_numbers rounded = packed(f, &o);
    const quantized *a = &theirs.tensors[0].q, *b = &rounded.tensors[0].q;
    assert_int_equal(f->m->params[0]->role, ROLE_TOK_EMB);
    assert_memory_equal(a->q, b->q, (size_t)(a->rows * a->cols));
    artifact_numbers_free(&ours), artifact_numbers_free(&theirs), artifact_numbers_free(&rounded);
}

static void clips_are_chosen_by_plain_errors(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    o.quant.bits = 3;
    artifact_numbers ours = packed(f, &o);
    o.quant.plain_clip = true;
    artifact_numbers theirs = packed(f, &o);
    assert_differ(f->m, &ours, &theirs, is_any);
    /* the scales are then those of rounding */
    o.quant.gptq = false;
    artifact_numbers rounded = packed(f, &o);
    for (int i = 0; i < theirs.count; i++) {
        const quantized *a = &theirs.tensors[i].q, *b = &rounded.tensors[i].q;
        if (a->q) assert_memory_equal(a->scale, b->scale, (size_t)a->rows * sizeof *a->scale);
    }
    artifact_numbers_free(&ours), artifact_numbers_free(&theirs), artifact_numbers_free(&rounded);
}

static void experts_see_all_tokens(void **state) {
    fixture *f = *state;
    pack_options o = tiny_options();
    o.quant.bits = 3;
    artifact_numbers ours = packed(f, &o);
    o.quant.pool_experts = true;
    artifact_numbers theirs = packed(f, &o);
    assert_differ(f->m, &ours, &theirs, is_expert);
    artifact_numbers_free(&ours), artifact_numbers_free(&theirs);
}

/* All experts then have read the same, and as many rows as the router got. */
static void pooled_hessians_are_alike(void **state) {
    fixture *f = *state;
    const float *h;
    float *first = NULL;
    int64_t rows, all = 0, routed = 0;
    for (int i = 0; i < f->m->param_count; i++)
        if (f->m->params[i]->role == ROLE_EXPERT_FC) {
            assert_ok(hessians_of(f->h, f->m->params[i], &h, &rows));
            routed += rows;
        }
    hessians_pool_experts(f->h, true);
    for (int i = 0; i < f->m->param_count; i++) {
        const param *p = f->m->params[i];
        if (!role_has_expert((param_role)p->role) || !p->is_matrix) continue;
        assert_ok(hessians_of(f->h, p, &h, &rows));
        if (!all) all = rows;
        assert_int_equal(rows, all);
        if (p->role != ROLE_EXPERT_FC) continue;
        const size_t bytes = (size_t)(p->matrix.cols * p->matrix.cols) * sizeof *h;
        if (!first) {
            first = xmalloc(bytes);
            memcpy(first, h, bytes);
        }
        assert_memory_equal(first, h, bytes);
    }
    assert_int_equal(all, routed);
    free(first);
}

/* The keys of a run's configuration are these switches. */
static void a_run_says_so(void **state) {
    (void)state;
    pack_config c = pack_config_default();
    const quant_options usual = pack_options_of(&c, 16).quant, record = quant_options_record();
    assert_false(usual.plain_clip || usual.plain_tables || usual.pool_experts || usual.least_scale > 0);
    assert_int_equal(usual.keep_float_elements, quant_options_default.keep_float_elements);
    c.keep_float_elements = 65536;
    c.scale_floor = 1.0 / 31;
    c.plain_clip = c.plain_tables = c.pool_experts = true;
    const quant_options said = pack_options_of(&c, 16).quant;
    assert_true(said.plain_clip && said.plain_tables && said.pool_experts);
    assert_float_equal(said.least_scale, record.least_scale, 0);
    assert_int_equal(said.keep_float_elements, record.keep_float_elements);
    c.scale_floor = -1;
    assert_fails(pack_config_check(&c), "scale_floor");
}

/* What of a run's configuration is not taken is said, key by key. */
static void what_is_overruled_is_said(void **state) {
    (void)state;
    pack_config c = pack_config_default();
    quant_options o = pack_options_of(&c, 16).quant;
    char *text = pack_config_overruled(&c, &o);
    assert_string_equal(text, "");
    free(text);
    o = quant_options_record();
    o.bits = 4; /* the key's table has them in this order */
    o.damp = 0.25;
    o.prune_fraction = 0.5;
    o.least_scale = 0.125;
    text = pack_config_overruled(&c, &o);
    assert_string_equal(text, "pack_bits 6 -> 4, embed_bits 8 -> 6, gptq_damp 0.01 -> 0.25, prune_fraction 0 -> 0.5, "
                              "keep_float_elements 1024 -> 65536, scale_floor 0 -> 0.125, plain_clip false -> true, "
                              "plain_tables false -> true, pool_experts false -> true");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(scales_have_a_floor, setup, teardown),
        cmocka_unit_test_setup_teardown(tables_are_rounded_without_statistics, setup, teardown),
        cmocka_unit_test_setup_teardown(clips_are_chosen_by_plain_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(experts_see_all_tokens, setup, teardown),
        cmocka_unit_test_setup_teardown(pooled_hessians_are_alike, setup, teardown),
        cmocka_unit_test(a_run_says_so),
        cmocka_unit_test(what_is_overruled_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

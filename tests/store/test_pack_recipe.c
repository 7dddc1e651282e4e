/* Recipes: which tensors are packed how, and files with all that a recipe can ask for. */
#include "allocated.h"

#include "base/file.h"
#include "store/pack_recipe.h"

static status apply(pack_plan *plan, const shared *t, const char *text) {
    pack_plan_free(plan);
    *plan = pack_plan_create(t->f->m, QUANTIZER_GPTQ, 300);
    return pack_recipe_apply(plan, t->f->m, "recipe.yaml", text, strlen(text));
}

static const tensor_plan *planned(const pack_plan *plan, const shared *t, const char *name) {
    for (int i = 0; i < t->f->m->param_count; i++)
        if (strcmp(t->f->m->params[i]->name, name) == 0) return &plan->tensors[i];
    fail_msg("%s", name);
    return NULL;
}

static void recipes_say_which_and_how(void **state) {
    const shared *t = *state;
    pack_plan plan = {0};
    assert_ok(
        apply(&plan, t,
              "- {component: attention, bits: 5}\n- {component: attention, layers: [1], quantizer: round, rate: 4}\n"
              "- {name: '*attn.c_v*', float16: true}\n- {up_to: 300, rate: 6}\n"));
    const tensor_plan *q0 = planned(&plan, t, "blocks.0.attn.c_q.weight"),
                      *q1 = planned(&plan, t, "blocks.1.attn.c_q.weight");
    assert_true(q0->given_bits == 5 && q0->given_rate == 0 && q0->quantizer == QUANTIZER_GPTQ && !q0->floats);
    assert_true(q1->given_rate == 4 && q1->given_bits == 0 && q1->quantizer == QUANTIZER_ROUND);
    assert_true(planned(&plan, t, "blocks.2.attn.c_v.weight")->floats);
    assert_true(!planned(&plan, t, "blocks.0.mlp.fc.weight")->floats);
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"- {component: attention, bits: 5}\n- {name: 'nothing.*', bits: 4}\n",
         "recipe.yaml:2: expected a rule that names"},
        {"- {component: attentoin, bits: 5}\n", "component: expected one that"},
        {"- {bits: 5}\n", "found a rule of no tensor"},
        {"- {component: attention}\n", "expected bits, rate, quantizer, float16, group, asymmetric, rotate or rank"},
        {"- {component: attention, bits: 5, float16: true}\n", "expected one of bits, rate, float16, found 2"},
        {"- {component: attention, bits: 12}\n", "bits"},
        {"- {component: attention, quantizer: magic, bits: 3}\n", "quantizer: expected round, gptq"},
        {"- {component: attention, layers: [7], bits: 3}\n", "names a matrix"},
        {"- {component: attention, colour: red}\n", "colour"},
        {"- {component: mlp, group: 16}\n- {component: mlp, quantizer: trellis}\n",
         "expected quantizer round or gptq beside group and asymmetric, found trellis"},
        {"- {component: mlp, rank: 2000}\n", "rank"},
        {"- {component: mlp, rank_bits: 9}\n", "rank_bits"},
        {"- {component: mlp, group: 48}\n", "expected a group that divides its 32 columns, found 48"},
        {"- {component: mlp, group: 1}\n", "group"},
        {"{}\n", "expected a list of rules"},
        {"", "expected a list of rules"},
        {"- [\n", "recipe.yaml"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_fails(apply(&plan, t, bad[i].text), bad[i].says);
    pack_plan_free(&plan);
}

static void recipes_are_kept(void **state) {
    const shared *t = *state;
    static const char text[] = "- {component: attention, rate: 4}\n- {component: bigram, float16: true}\n";
    char *path = path_join(t->f->folder, "recipe.yaml");
    pack_options o = shared_options(t, 3);
    pack_report r;
    int attention = 0;
    assert_ok(file_write_whole(path, text, sizeof text - 1));
    o.allocation.recipe_path = path;
    assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r));
    for (int i = 0; i < r.tensor_count; i++) {
        const pack_tensor *tensor = &r.tensors[i];
        const component part = role_component((param_role)tensor->of->role);
        if (part == COMPONENT_ATTENTION && tensor->of->is_matrix) {
            assert_float_equal(tensor->rate, 4, 1e-9);
            attention++;
        }
        if (part == COMPONENT_BIGRAM) assert_string_equal(tensor->coding, "float16");
    }
    assert_int_equal(attention, 12);
    pack_report_free(&r);
    free(path);
}

/* ---- kinds of grids, corrections ---- */

static void model_logits(const shared *t, model_use use, float *logits) {
    int32_t ids[BATCH * LENGTH];
    const batch b = tiny_batch(ids, 9);
    model *m;
    pass *p;
    assert_ok(artifact_read(t->f->path, t->f->m->k, use, &m, NULL, NULL));
    assert_ok(pass_create(&p, m));
    assert_ok(pass_logits(p, &b, logits));
    pass_destroy(p);
    model_destroy(m);
}

/* Groups, offsets and rotated columns in a whole file: allocated, written, and run as what they stand for, however the model is opened. */
static void every_kind_of_grid_is_run(void **state) {
    const shared *t = *state;
    static const char text[] =
        "- {component: mlp, group: 16, asymmetric: true}\n- {component: experts, asymmetric: true}\n"
        "- {component: attention, rotate: true, quantizer: trellis}\n"
        "- {component: embedding, rotate: true, group: 8, quantizer: round}\n"
        "- {name: '*.mlp.proj.weight', quantizer: round, rate: 2, rank: 8, rank_bits: 6}\n";
    enum { LOGITS = BATCH * LENGTH * 96 };
    char *path = path_join(t->f->folder, "recipe.yaml");
    pack_options o = shared_options(t, 5);
    pack_report r;
    float *values = xmalloc(LOGITS * sizeof *values), *run = xmalloc(LOGITS * sizeof *run);
    double squares = 0;
    assert_ok(file_write_whole(path, text, sizeof text - 1));
    o.allocation.recipe_path = path;
    assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r));
    int corrected = 0;
    for (int i = 0; i < r.tensor_count; i++) corrected += r.tensors[i].rank > 0;
    assert_true(corrected > 0);
    model_logits(t, MODEL_VALUES, values);
    for (int i = 0; i < LOGITS; i++) squares += values[i] * values[i] / LOGITS;
    static const model_use uses[] = {MODEL_TRAIN, MODEL_RUN, MODEL_RUN_STORED, MODEL_RUN_8};
    static const double allowed[] = {1e-9, 1e-6, 1e-3,
                                     5e-2}; /* of the mean square: codes are rounded again to be run in integers */
    for (int i = 0; i < 4; i++) {
        double away = 0;
        model_logits(t, uses[i], run);
        for (int j = 0; j < LOGITS; j++) away += (run[j] - values[j]) * (run[j] - values[j]) / LOGITS;
        assert_true(away < allowed[i] * squares);
    }
    pack_report_free(&r);
    free(values), free(run), free(path);
}

/* A file with corrections is, bit for bit, the matrices that were quantised, and its bytes are what was foretold of them. */
static void corrections_are_what_was_written(void **state) {
    const shared *t = *state;
    model *m = t->f->m, *back;
    pack_options o = tiny_options();
    pack_plan plan = pack_plan_create(m, QUANTIZER_ROUND, 300);
    for (int i = 0; i < plan.count; i++) {
        plan.tensors[i].rate = 2;
        plan.tensors[i].rank = 3;
    }
    plan.sensitivities = t->s;
    plan.damp = 0.01;
    o.plan = &plan;
    assert_ok(artifact_write(t->f->path, m, NULL, t->f->h, &o, NULL));
    assert_ok(artifact_read(t->f->path, m->k, MODEL_VALUES, &back, NULL, NULL));
    for (int i = 0; i < plan.count; i++) {
        packed_matrix matrix;
        quantized q;
        if (!pack_plan_is_grid(&plan, m, i)) continue;
        assert_ok(packed_matrix_open(&matrix, &plan, m, i, t->f->h));
        assert_ok(quantize_matrix(QUANTIZER_ROUND, &q, &matrix.problem, 2));
        const size_t bytes = tensor_bytes(&m->params[i]->value);
        float *expected = xmalloc(bytes), *found = xmalloc(bytes);
        quantized_expand(&q, expected);
        assert_ok(param_get(back->params[i], m->k, found));
        assert_memory_equal(found, expected, bytes);
        const coded_size own = packed_matrix_size(&q), of_ranks = packed_matrix_size(q.correction);
        assert_float_equal(plan.tensors[i].bytes, own.rows + own.columns + of_ranks.rows,
                           0.01 * plan.tensors[i].bytes + 4);
        const double with = matrix_error(&matrix.problem, &q);
        assert_float_equal(plan.tensors[i].error, with, 1e-6 * with);
        quantized_free(q.correction), free(q.correction);
        q.correction = NULL;
        assert_true(with < 0.95 * matrix_error(&matrix.problem, &q));
        quantized_free(&q), packed_matrix_close(&matrix);
        free(expected), free(found);
    }
    pack_plan_free(&plan);
    model_destroy(back);
}

/* Ranks are chosen by the bytes: the file keeps to its bits, and is foretold to be no worse than without. */
static void corrections_compete_for_bytes(void **state) {
    const shared *t = *state;
    static const char text[] = "- {component: mlp, rate: 1}\n"; /* much is left of these, and bytes there are enough */
    char *path = path_join(t->f->folder, "recipe.yaml");
    pack_options o = shared_options(t, 5);
    pack_report without, with;
    assert_ok(file_write_whole(path, text, sizeof text - 1));
    o.allocation.recipe_path = path;
    o.allocation.quantizer = QUANTIZER_ROUND;
    assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &without));
    o.allocation.low_rank = 8;
    for (int again = 0; again < 2; again++) { /* the second time from what was kept */
        int corrected = 0;
        assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &with));
        for (int i = 0; i < with.tensor_count; i++) {
            corrected += with.tensors[i].rank > 0;
            assert_true(with.tensors[i].rank >= 0 && with.tensors[i].rank <= 8);
        }
        assert_true(with.grid_bits <= 5 && with.loss < 0.9 * without.loss);
        assert_true(corrected > 0);
        pack_report_free(&with);
    }
    o.quant.prune_fraction = 0.1;
    assert_fails(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &with), "expected nothing pruned");
    pack_report_free(&without);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(recipes_say_which_and_how, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(recipes_are_kept, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(every_kind_of_grid_is_run, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(corrections_are_what_was_written, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(corrections_compete_for_bytes, shared_setup, shared_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

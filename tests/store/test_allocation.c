/* Sensitivities from gradients of products, and artifacts whose bytes are shared out by them. */
#include "packed.h"

#include "base/file.h"
#include "quant/sensitivity.h"
#include "store/candidate_file.h"
#include "store/pack_recipe.h"
#include <math.h>
#include <unistd.h>

/* ---- gradients of products ---- */

/* Σ_n dy_n x_nᵀ, which is what a weight's gradient is; of tables Σ_n dy_n at the row of ids[n]. */
typedef struct sums {
    const kernels *k;
    const model *m;
    float **of; /* [param_count] */
} sums;

static float *on_host(const kernels *k, const void *x, int64_t count) {
    float *device, *host = xmalloc((size_t)count * sizeof *host);
    assert_ok(k->alloc((void **)&device, (size_t)count * sizeof *host));
    k->to_float(device, x, count);
    k->download(host, device, (size_t)count * sizeof *host);
    k->release(device);
    return host;
}

static void add_gradient(void *context, const product_gradient *g) {
    sums *s = context;
    int i = 0;
    while (s->m->params[i] != g->weight) i++;
    const int64_t rows = g->weight->matrix.rows, cols = g->weight->matrix.cols;
    const int64_t width = g->ids ? cols : rows;
    float *dy = on_host(s->k, g->dy, g->N * width), *x = g->ids ? NULL : on_host(s->k, g->x, g->N * cols);
    int32_t *ids = xmalloc((size_t)g->N * sizeof *ids);
    if (g->ids) s->k->download(ids, g->ids, (size_t)g->N * sizeof *ids);
    for (int64_t n = 0; n < g->N; n++)
        for (int64_t r = 0; r < (g->ids ? 1 : rows); r++)
            for (int64_t c = 0; c < cols; c++)
                s->of[i][(g->ids ? ids[n] : r) * cols + c] +=
                    g->ids ? dy[n * cols + c] : dy[n * rows + r] * x[n * cols + c];
    free(dy);
    free(x);
    free(ids);
}

static void with_targets(batch *b, const int32_t *ids, int32_t targets[BATCH * LENGTH]) {
    for (int i = 0; i < BATCH * LENGTH; i++) targets[i] = ids[(i + 1) % (BATCH * LENGTH)];
    b->target_ids = targets;
}

/* What the observer sees, put together, is every matrix's gradient, with blocks run again in backward too. */
static void products_show_their_gradients(void **state) {
    (void)state;
    const model_config config = tiny_config();
    const kernels *k = kernels_for(DTYPE_F32);
    model *m;
    pass *p;
    int32_t ids[BATCH * LENGTH], targets[BATCH * LENGTH];
    batch b = tiny_batch(ids, 3);
    with_targets(&b, ids, targets);
    assert_ok(model_create(&m, &config, k, MODEL_TRAIN));
    assert_ok(model_init(m, 7));
    for (int i = 0; i < m->param_count; i++) {
        rng r = rng_named(5, m->params[i]->name);
        float *w = xmalloc(tensor_bytes(&m->params[i]->value));
        rng_normal(&r, w, (size_t)param_count(m->params[i]), 0.2f);
        tensor_write(k, &m->params[i]->value, w);
        free(w);
    }
    assert_ok(model_refresh(m));
    assert_ok(pass_create(&p, m));
    for (int again = 0; again < 2; again++) {
        sums s = {k, m, xcalloc((size_t)m->param_count, sizeof *s.of)};
        for (int i = 0; i < m->param_count; i++) s.of[i] = xcalloc((size_t)param_count(m->params[i]), sizeof **s.of);
        pass_set_recompute(p, again);
        pass_watch_gradients(p, add_gradient, &s);
        model_zero_grad(m);
        assert_ok(pass_train(p, &b, 1));
        int compared = 0;
        for (int i = 0; i < m->param_count; i++) {
            const param *w = m->params[i];
            if (w->is_matrix && w->role != ROLE_ROUTER) {
                float *grad = xmalloc(tensor_bytes(&w->value));
                double off = 0, all = 0;
                k->download(grad, w->grad, tensor_bytes(&w->value));
                for (int64_t j = 0; j < param_count(w); j++) {
                    off += pow((double)grad[j] - s.of[i][j], 2);
                    all += pow(grad[j], 2);
                }
                if (off > 1e-8 * all) fail_msg("%s: %g of %g", w->name, off, all);
                compared += all > 0;
                free(grad);
            }
            free(s.of[i]);
        }
        assert_true(compared > 15);
        free(s.of);
    }
    pass_destroy(p);
    model_destroy(m);
}

/* ---- artifacts ---- */

typedef struct shared {
    fixture *f;
    sensitivities *s;
    char *candidates;
} shared;

static int shared_setup(void **state) {
    shared *t = xcalloc(1, sizeof *t);
    int32_t ids[BATCH * LENGTH], targets[BATCH * LENGTH];
    setup((void **)&t->f);
    t->s = sensitivities_create(t->f->p);
    for (uint64_t seed = 0; seed < 4; seed++) {
        batch b = tiny_batch(ids, seed);
        with_targets(&b, ids, targets);
        assert_ok(sensitivities_add(t->s, &b, 3 * BATCH * LENGTH));
    }
    t->candidates = path_join(t->f->folder, "candidates");
    *state = t;
    return 0;
}

static int shared_teardown(void **state) {
    shared *t = *state;
    sensitivities_destroy(t->s);
    teardown((void **)&t->f);
    free(t->candidates);
    free(t);
    return 0;
}

static pack_options shared_options(const shared *t, double bits) {
    pack_options o = tiny_options();
    o.allocation = (pack_allocation){
        .on = true, .bits = bits, .quantizer = QUANTIZER_GPTQ, .candidates = t->candidates, .sensitivities = t->s};
    return o;
}

static void every_matrix_has_a_curvature(void **state) {
    const shared *t = *state;
    assert_int_equal(sensitivities_tokens(t->s), 4 * BATCH * LENGTH);
    assert_float_equal(sensitivities_bpb_of_nat(t->s), 1 / (3 * log(2)), 1e-12);
    for (int i = 0; i < t->f->m->param_count; i++) {
        const param *p = t->f->m->params[i];
        matrix_curvature c;
        double sum = 0;
        if (!p->is_matrix || p->role == ROLE_ROUTER) continue;
        assert_ok(matrix_curvature_of(&c, t->s, t->f->h, p));
        for (int64_t r = 0; r < tensor_rows(&p->value); r++) {
            assert_true(c.row_weight[r] > 0 && isfinite(c.row_weight[r]));
            sum += c.row_weight[r];
        }
        assert_true(sum > 0);
        if (p->role == ROLE_TOK_EMB) assert_non_null(c.mixed); /* it is the head too */
        matrix_curvature_free(&c);
    }
}

static void bits_are_what_was_asked(void **state) {
    const shared *t = *state;
    double loss = 0;
    for (double bits = 5; bits >= 2; bits -= 1.5) {
        pack_options o = shared_options(t, bits);
        pack_report r;
        model *m;
        assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r));
        assert_true(r.grid_bits <= bits && r.grid_bits >= 0.995 * bits);
        assert_true(r.loss > loss && r.loss_a_byte > 0);
        assert_int_equal(r.tensor_count, t->f->m->param_count);
        assert_ok(artifact_read(t->f->path, t->f->m->k, MODEL_RUN, &m, NULL, NULL));
        loss = r.loss;
        pack_report_free(&r);
        model_destroy(m);
    }
}

static void budgets_are_filled(void **state) {
    const shared *t = *state;
    pack_options o = shared_options(t, 0);
    pack_report r;
    o.budget_bytes = 14000;
    assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r));
    assert_true(r.artifact_bytes <= 14000 && r.artifact_bytes >= 0.99 * 14000);
    pack_report_free(&r);
    unlink(t->f->path);
    o.budget_bytes = 3000;
    assert_fails(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r), "expected a budget of at least about");
    assert_false(path_exists(t->f->path));
    /* what it says is enough, within what a coarse file's size can be foretold */
    long long least;
    assert_int_equal(sscanf(strstr(error_message(), "about "), "about %lld", &least), 1);
    o.budget_bytes = least * 23 / 20;
    assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r));
    assert_true(r.artifact_bytes <= o.budget_bytes);
    pack_report_free(&r);
    o = shared_options(t, 0.3);
    assert_fails(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r), "bits a weight");
    o = shared_options(t, 9);
    assert_fails(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r),
                 "bits: expected 0.25 to 8 a weight, found 9");
    o = shared_options(t, 0);
    assert_fails(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, &r), "found neither");
}

/* A second packing, and one whose candidates were cut, gives the same file. */
static void packing_goes_on(void **state) {
    const shared *t = *state;
    const pack_options o = shared_options(t, 3);
    uint8_t *first, *again, *text;
    size_t first_count, again_count, text_count;
    assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, NULL));
    assert_ok(file_read(t->f->path, FILE_ANY_SIZE, &first, &first_count));
    assert_ok(file_read(t->candidates, FILE_ANY_SIZE, &text, &text_count));
    for (int i = 0; i < 3; i++) {
        assert_ok(file_write_whole(t->candidates, text, text_count * (size_t)i / 2 - (i == 2 ? 7 : 0)));
        assert_ok(artifact_write(t->f->path, t->f->m, NULL, t->f->h, &o, NULL));
        assert_ok(file_read(t->f->path, FILE_ANY_SIZE, &again, &again_count));
        assert_int_equal(again_count, first_count);
        assert_memory_equal(again, first, first_count);
        free(again);
    }
    free(first);
    free(text);
}

static void lines_that_are_none_are_passed_over(void **state) {
    (void)state;
    static const char text[] = "\n00000000000000ab 3.000000 100 0.5\n00000000000000ab 4.0 nan 0.5\nrubbish\n"
                               "00000000000000ab 2.000000 -1 0.5\n00000000000000ab 99 1 1\n"
                               "00000000000000ab 5.0 1 1 1\n00000000000000ab 6.000000 200 0.1";
    candidate_file *f;
    candidate c;
    candidate_file_parse(&f, text, sizeof text - 1);
    assert_true(candidate_file_find(f, 0xab, 3, &c) && c.bytes == 100 && c.error == 0.5);
    static const double none[] = {2, 4, 5, 6}; /* the last line was cut */
    for (int i = 0; i < 4; i++) assert_false(candidate_file_find(f, 0xab, none[i], &c));
    assert_false(candidate_file_find(f, 0xac, 3, &c));
    candidate_file_close(f);
}

/* ---- recipes ---- */

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
        assert_float_equal(plan.tensors[i].bytes, packed_matrix_bytes(&q), 0.01 * plan.tensors[i].bytes + 4);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_show_their_gradients),
        cmocka_unit_test(lines_that_are_none_are_passed_over),
        cmocka_unit_test_setup_teardown(every_matrix_has_a_curvature, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(bits_are_what_was_asked, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(budgets_are_filled, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(packing_goes_on, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(recipes_say_which_and_how, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(recipes_are_kept, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(corrections_are_what_was_written, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(corrections_compete_for_bytes, shared_setup, shared_teardown),
        cmocka_unit_test_setup_teardown(every_kind_of_grid_is_run, shared_setup, shared_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

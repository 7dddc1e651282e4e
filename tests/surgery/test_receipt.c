/* What surgery says it did, against what it did. */
#include "parents.h"

#include "float_rows.h"
#include "surgery/receipt.h"

static const int32_t text[] = {3, 14, 15, 92, 65, 35, 89, 79, 32, 38, 46, 26};
enum { TOKENS = sizeof text / sizeof *text };

static surgery_receipt receipt_of(const made *m) {
    surgery_receipt r = {0};
    assert_ok(surgery_compare(&r, m->parents[0], m->weights, kernels_for(DTYPE_F32), text, TOKENS));
    assert_ok(surgery_measure(&r, m->parents[0], m->weights));
    return r;
}

static void nothing_changed(void **state) {
    (void)state;
    for (int i = 0; i < PARENT_KINDS; i++) {
        const model_config c = parent_kinds[i].make();
        model *parent = random_model(&c);
        upcycle_options o = usual_options();
        made m;
        make(&m, parent, &o);
        const surgery_receipt r = receipt_of(&m);
        assert_int_equal(r.tokens, TOKENS);
        assert_true(r.scale > 0.1);
        const double most = float_rows_are_equal() ? 0 : 1e-5 * r.scale; /* experts have fewer rows than the MLP had */
        assert_true(r.largest <= most && r.mean <= most);
        assert_true(fabs(r.expert_cosine - 1) < 1e-12);
        unmake(&m);
        model_destroy(parent);
    }
}

/* All logits by whole models in memory. */
static void assert_differences(const made *m, model *parent, const surgery_receipt *r) {
    static float ours[TOKENS * VOCAB], theirs[TOKENS * VOCAB];
    model *whole;
    const batch b = {.batch = 1, .length = TOKENS, .input_ids = text};
    pass *p;
    double largest = 0, sum = 0, squares = 0;
    assert_ok(model_create(&whole, &m->weights->config, parent->k, MODEL_VALUES));
    assert_ok(weight_source_fill(m->weights, whole));
    assert_ok(pass_create(&p, whole));
    assert_ok(pass_logits(p, &b, ours));
    pass_destroy(p);
    assert_ok(pass_create(&p, parent));
    assert_ok(pass_logits(p, &b, theirs));
    pass_destroy(p);
    model_destroy(whole);
    for (int i = 0; i < TOKENS * VOCAB; i++) {
        largest = fmax(largest, fabs((double)ours[i] - (double)theirs[i]));
        sum += fabs((double)ours[i] - (double)theirs[i]);
        squares += (double)theirs[i] * (double)theirs[i];
    }
    assert_true(largest > 0.01);
    assert_true(fabs(r->largest - largest) < 1e-5);
    assert_true(fabs(r->mean - sum / (TOKENS * VOCAB)) < 1e-6);
    assert_true(fabs(r->scale - sqrt(squares / (TOKENS * VOCAB))) < 1e-6);
}

/* Two texts, one after the other, are counted together. */
static void texts_add_up(void **state) {
    (void)state;
    enum { FIRST = 5 };
    const model_config c = qwen2();
    model *parent = random_model(&c);
    upcycle_options o = usual_options();
    made m;
    o.drop = 0.3;
    make(&m, parent, &o);
    surgery_receipt a = {0}, b = {0}, both = {0};
    assert_ok(surgery_compare(&a, m.parents[0], m.weights, parent->k, text, FIRST));
    assert_ok(surgery_compare(&b, m.parents[0], m.weights, parent->k, text + FIRST, TOKENS - FIRST));
    assert_ok(surgery_compare(&both, m.parents[0], m.weights, parent->k, text, FIRST));
    assert_ok(surgery_compare(&both, m.parents[0], m.weights, parent->k, text + FIRST, TOKENS - FIRST));
    const double part = (double)FIRST / TOKENS;
    assert_int_equal(both.tokens, TOKENS);
    assert_true(both.largest == fmax(a.largest, b.largest));
    assert_true(fabs(both.mean - (part * a.mean + (1 - part) * b.mean)) < 1e-12);
    assert_true(fabs(both.scale - sqrt(part * a.scale * a.scale + (1 - part) * b.scale * b.scale)) < 1e-12);
    assert_fails(surgery_compare(&both, m.parents[0], m.weights, parent->k, text, 0), "at least one token");
    unmake(&m);
    model_destroy(parent);
}

/* The cosine of the weights of each pair of experts, by the definition. */
static double cosine_by_hand(const made *m, int layers) {
    const int E = m->weights->config.moe.experts;
    double sum = 0;
    for (int layer = 0; layer < layers; layer++)
        for (int a = 0; a < E; a++)
            for (int b = a + 1; b < E; b++) {
                double ab = 0, aa = 0, bb = 0;
                for (int proj = 0; proj < 2; proj++) {
                    const param_role role = proj ? ROLE_EXPERT_PROJ : ROLE_EXPERT_FC;
                    const param_spec spec = spec_of_role(&m->weights->config, role, layer, a);
                    float *x = values_of_role(m->weights, role, layer, a),
                          *y = values_of_role(m->weights, role, layer, b);
                    for (int64_t i = 0; i < spec_rows(&spec) * spec_cols(&spec); i++) {
                        ab += (double)x[i] * (double)y[i];
                        aa += (double)x[i] * (double)x[i];
                        bb += (double)y[i] * (double)y[i];
                    }
                    free(x);
                    free(y);
                }
                sum += ab / sqrt(aa * bb);
            }
    return sum / (layers * E * (E - 1) / 2);
}

static void half_is_new(void **state) {
    (void)state;
    const model_config c = qwen3();
    model *parent = random_model(&c);
    upcycle_options o = usual_options();
    made m;
    o.drop = 0.5;
    make(&m, parent, &o);
    const surgery_receipt r = receipt_of(&m);
    assert_differences(&m, parent, &r);
    assert_true(r.expert_cosine < 0.6);
    assert_true(fabs(r.expert_cosine - cosine_by_hand(&m, c.num_layers)) < 1e-9);
    unmake(&m);
    model_destroy(parent);
}

/* Counted from the shapes: three layers of 4 + 2 experts of 96, top 2. */
static void parameters_are_counted(void **state) {
    (void)state;
    const model_config c = qwen2();
    model *parent = random_model(&c);
    upcycle_options o = usual_options();
    made m;
    o.shared = 2, o.shared_gate = true;
    o.layers[0] = o.layers[1] = o.layers[2] = true;
    make(&m, parent, &o);
    const surgery_receipt r = receipt_of(&m);
    const int64_t mlp = 3 * 96 * 64, routers = 3 * (4 + 1) * 64, parents = model_param_total(parent);
    assert_int_equal(r.parent_parameters, parents);
    assert_int_equal(r.parameters, parents + 3 * 5 * mlp + routers);
    assert_int_equal(r.active, parents + 3 * 3 * mlp + routers);
    unmake(&m);
    model_destroy(parent);
}

/* A parent that is broken is seen: what is no number is no small difference. */
static void not_a_number(void **state) {
    (void)state;
    const model_config c = llama();
    model *parent = random_model(&c);
    upcycle_options o = usual_options();
    made m;
    param *norm = model_param(parent, ROLE_FINAL_NORM, -1, -1);
    float values[64];
    for (int i = 0; i < 64; i++) values[i] = NAN;
    make(&m, parent, &o);
    assert_ok(param_set(norm, parent->k, values));
    surgery_receipt r = {0};
    assert_ok(surgery_compare(&r, m.parents[0], m.weights, parent->k, text, TOKENS));
    assert_false(isfinite(r.largest));
    unmake(&m);
    model_destroy(parent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changed),        cmocka_unit_test(half_is_new),  cmocka_unit_test(texts_add_up),
        cmocka_unit_test(parameters_are_counted), cmocka_unit_test(not_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

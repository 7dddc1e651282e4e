/* Some experts of a mixture, and a lone one as a dense model: both compute what the whole mixture does where only these may be
 * chosen. */
#include "parents.h"

#include "formats/adapt.h"
#include "surgery/kept_experts.h"
#include "surgery/side_by_side.h"

enum { EXPERTS = 4 };
static const double CLOSE = 2e-5; /* of logits around 1 */

/* ---- mixtures ---- */

/* The parent's layers from `first` on, each expert drawn anew in half of its units, routers with opinions. */
typedef struct mixture_under_test {
    model *parent;
    made made;
    model *whole;
    weight_source weights;
} mixture_under_test;

static mixture_under_test begin(model_config c, int first, upcycle_options o) {
    mixture_under_test t = {.parent = random_model(&c)};
    for (int i = first; i < c.num_layers; i++) o.layers[i] = true;
    o.drop = 0.5;
    make_of(&t.made, &t.parent, 1, &o, 1);
    const model_config *made = &t.made.weights->config;
    assert_ok(model_create(&t.whole, made, kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(weight_source_fill(t.made.weights, t.whole));
    t.weights = weight_source_of(t.whole);
    return t;
}

static void end(mixture_under_test *t) {
    model_destroy(t->whole);
    unmake(&t->made);
    model_destroy(t->parent);
}

static void masked_logits(model *m, const bool *chosen, float *logits) {
    int32_t ids[LENGTH];
    rng r = rng_seed(9); /* logits_of's text */
    for (int i = 0; i < LENGTH; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
    const batch b = {.batch = 1, .length = LENGTH, .input_ids = ids};
    pass *p;
    assert_ok(pass_create(&p, m));
    assert_ok(pass_allow_experts(p, chosen, 1));
    assert_ok(pass_logits(p, &b, logits));
    pass_destroy(p);
}

static void assert_same(const weight_source *w, const float *expected, const char *what) {
    float found[LENGTH * VOCAB];
    logits_of_source(w, found);
    const double away = difference(found, expected);
    if (!(away < CLOSE)) fail_msg("%s: logits differ by %g", what, away);
}

/* ---- some experts ---- */

static void kept_is_masked(const model_config *c, upcycle_options o, const bool *chosen, const char *what) {
    float masked[LENGTH * VOCAB];
    mixture_under_test t = begin(*c, 1, o);
    kept_experts k;
    masked_logits(t.whole, chosen, masked);
    assert_ok(keep_experts(&k, &t.weights, chosen));
    assert_same(&k.weights, masked, what);
    end(&t);
}

static void kept_experts_compute_the_masked_mixture(void **state) {
    (void)state;
    static const bool sets[][EXPERTS] = {
        {false, false, true, false}, {true, false, true, false}, {true, true, false, true}, {true, true, true, true}};
    static const gate_kind gates[] = {GATE_NORMALIZED, GATE_RENORMALIZED, GATE_PROBABILITY};
    for (int kind = 0; kind < PARENT_KINDS; kind++)
        for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
            for (size_t g = 0; g < sizeof gates / sizeof *gates; g++) {
                const model_config c = parent_kinds[kind].make();
                upcycle_options o = usual_options();
                o.gate = gates[g];
                o.top_k = 1 + (int)i % 3;
                o.shared_gate = kind == 1;
                kept_is_masked(&c, o, sets[i], parent_kinds[kind].name);
            }
}

/* Widths that are parts, a selection bias, soft gates. */
static void unusual_mixtures_are_kept_too(void **state) {
    (void)state;
    model_config kinds[3];
    for (int i = 0; i < 3; i++) {
        kinds[i] = mixture(base(), EXPERTS, 2, GATE_RENORMALIZED);
        kinds[i].moe.expert_hidden = 0;
    }
    kinds[0].moe.split = true;
    kinds[1].moe.bias_rate = 0.01f;
    kinds[2].moe.gate = GATE_SOFT;
    kinds[2].moe.top_k = 1;
    const bool chosen[EXPERTS] = {false, true, false, true};
    for (int i = 0; i < 3; i++) {
        float masked[LENGTH * VOCAB];
        model *m = random_model(&kinds[i]);
        const weight_source whole = weight_source_of(m);
        kept_experts k;
        masked_logits(m, chosen, masked);
        assert_ok(keep_experts(&k, &whole, chosen));
        assert_int_equal(k.weights.config.moe.experts, 2);
        assert_same(&k.weights, masked, "an unusual mixture");
        model_destroy(m);
    }
}

static void names_go_along(void **state) {
    (void)state;
    model_config c = mixture(base(), 3, 2, GATE_NORMALIZED);
    const bool chosen[] = {true, false, true}, none[3] = {false}, dense[3] = {true, true, true};
    labels_add(&c.moe.names, "code");
    labels_add(&c.moe.names, "prose");
    labels_add(&c.moe.names, "math");
    model_config kept;
    assert_ok(keep_experts_config(&kept, &c, chosen));
    assert_int_equal(kept.moe.names.count, 2);
    assert_string_equal(kept.moe.names.label[1], "math");
    assert_fails(keep_experts_config(&kept, &c, none), "at least one that is kept, found none");
    const model_config plain = base();
    assert_fails(keep_experts_config(&kept, &plain, dense), "expected a model with experts, found a dense one");
}

/* Nothing of the others is asked for. */
typedef struct watched {
    weight_source from;
    int allowed;
} watched;
static status watch(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const watched *w = context;
    if (role_has_expert(spec->role)) assert_int_equal(spec->expert, w->allowed);
    if (spec->role == ROLE_ROUTER) assert_true(first == w->allowed && rows == 1);
    return w->from.read(w->from.context, spec, first, rows, out);
}

static void other_experts_are_not_read(void **state) {
    (void)state;
    mixture_under_test t = begin(llama(), 0, usual_options());
    watched w = {t.weights, 3};
    const weight_source source = {.config = t.weights.config, .read = watch, .context = &w};
    const bool chosen[EXPERTS] = {[3] = true};
    float logits[LENGTH * VOCAB];
    kept_experts k;
    side_by_side s;
    assert_ok(keep_experts(&k, &source, chosen));
    logits_of_source(&k.weights, logits);
    assert_ok(place_side_by_side(&s, &k.weights));
    logits_of_source(&s.weights, logits);
    end(&t);
}

/* ---- a dense model ---- */

static void dense_is_masked(model_config c, int first, upcycle_options o, int padded, const char *what) {
    float masked[LENGTH * VOCAB];
    mixture_under_test t = begin(c, first, o);
    const bool chosen[EXPERTS] = {[1] = true};
    kept_experts k;
    side_by_side s;
    masked_logits(t.whole, chosen, masked);
    assert_ok(keep_experts(&k, &t.weights, chosen));
    assert_ok(place_side_by_side(&s, &k.weights));
    assert_false(model_config_has_moe(&s.weights.config));
    assert_int_equal(s.padded, padded);
    if (padded) assert_int_equal(s.least_hidden, model_config_hidden(&c));
    assert_int_equal(model_config_hidden(&s.weights.config), (1 + o.shared) * model_config_hidden(&c));
    assert_same(&s.weights, masked, what);
    end(&t);
}

/* SwiGLU's families and the record's ReLU², all layers and the upper ones, with and without shared experts. */
static void a_lone_expert_is_a_dense_model(void **state) {
    (void)state;
    for (int kind = 0; kind < PARENT_KINDS; kind++)
        for (int shared = 0; shared < 3; shared++)
            for (int first = 0; first < 2; first++) {
                upcycle_options o = usual_options();
                o.shared = shared;
                dense_is_masked(parent_kinds[kind].make(), first, o, shared > 0 ? first : 0, parent_kinds[kind].name);
            }
}

/* As a mixture without a gate comes back from Qwen2-MoE's format. */
static void a_gate_that_knows_nothing_is_a_factor(void **state) {
    (void)state;
    float masked[LENGTH * VOCAB];
    upcycle_options o = usual_options();
    o.gate = GATE_PROBABILITY;
    mixture_under_test t = begin(qwen2(), 0, o);
    const bool chosen[EXPERTS] = {[2] = true};
    adapted a;
    kept_experts k;
    side_by_side s;
    masked_logits(t.whole, chosen, masked);
    assert_ok(adapt_to_gguf(&a, &t.weights, family_of_type("qwen2_moe")));
    assert_true(a.gated);
    assert_ok(keep_experts(&k, &a.weights, chosen));
    assert_ok(place_side_by_side(&s, &k.weights));
    assert_same(&s.weights, masked, "a gate of next to nothing");
    end(&t);
}

static void what_no_dense_model_computes_is_refused(void **state) {
    (void)state;
    const bool chosen[EXPERTS] = {[1] = true}, two[EXPERTS] = {true, true};
    const model_config gated = qwen2_moe();
    model *m = random_model(&gated);
    const weight_source whole = weight_source_of(m);
    kept_experts k;
    side_by_side s;
    assert_ok(keep_experts(&k, &whole, chosen));
    assert_fails(place_side_by_side(&s, &k.weights), "layer 0: its shared MLP has a gate that looks at each token");
    assert_ok(keep_experts(&k, &whole, two));
    assert_fails(place_side_by_side(&s, &k.weights), "expected a mixture of one expert, found 2");
    model_destroy(m);

    model_config random = record();
    random.random_up.layers[0] = true;
    random.moe.layers[1] = true;
    random.moe.shared_hidden = 32;
    m = random_model(&random);
    const weight_source other = weight_source_of(m);
    assert_ok(keep_experts(&k, &other, chosen));
    assert_fails(place_side_by_side(&s, &k.weights),
                 "layer 0: a random up-projection of 128 units cannot be padded to the 160");
    model_destroy(m);
}

/* Pieces of any size are the same values. */
static void rows_come_in_any_pieces(void **state) {
    (void)state;
    mixture_under_test t = begin(llama(), 1, usual_options());
    const bool chosen[EXPERTS] = {[0] = true};
    kept_experts k;
    side_by_side s;
    assert_ok(keep_experts(&k, &t.weights, chosen));
    assert_ok(place_side_by_side(&s, &k.weights));
    static const param_role roles[] = {ROLE_MLP_FC, ROLE_MLP_PROJ};
    for (int i = 0; i < 2; i++)
        for (int layer = 0; layer < 2; layer++) {
            const param_spec spec = spec_of_role(&s.weights.config, roles[i], layer, -1);
            const int64_t rows = spec_rows(&spec), cols = spec_cols(&spec);
            float *whole = values_of(&s.weights, &spec), *piece = xmalloc((size_t)(rows * cols) * sizeof *piece);
            for (int64_t first = 0, run; first < rows; first += run) {
                run = rows - first < 37 ? rows - first : 37;
                assert_ok(s.weights.read(s.weights.context, &spec, first, run, piece + first * cols));
            }
            assert_memory_equal(whole, piece, (size_t)(rows * cols) * sizeof *piece);
            free(whole);
            free(piece);
        }
    end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_experts_compute_the_masked_mixture),
        cmocka_unit_test(unusual_mixtures_are_kept_too),
        cmocka_unit_test(names_go_along),
        cmocka_unit_test(other_experts_are_not_read),
        cmocka_unit_test(a_lone_expert_is_a_dense_model),
        cmocka_unit_test(a_gate_that_knows_nothing_is_a_factor),
        cmocka_unit_test(what_no_dense_model_computes_is_refused),
        cmocka_unit_test(rows_come_in_any_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

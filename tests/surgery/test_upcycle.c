/* Drop 0: the mixture computes what its parent computes; what it is made of; and what is refused. */
#include "parents.h"

#include "float_rows.h"

/* ---- the same function ---- */

static double largest(const float *x) {
    double most = 0;
    for (int i = 0; i < LENGTH * VOCAB; i++) most = fmax(most, fabs((double)x[i]));
    return most;
}

/* How many combinations there were, and how many of them were the same to the last bit. */
typedef struct tally {
    int all, exact;
} tally;

static void compare_with_parent(model *parent, const float *logits, const upcycle_options *o, double router_std,
                                const char *name, tally *t) {
    static float found[LENGTH * VOCAB];
    made m;
    make_of(&m, &parent, 1, o, router_std);
    logits_of_source(m.weights, found);
    const double off = difference(logits, found);
    t->all++;
    t->exact += off == 0;
    if (!(off <= 1e-6 * fmax(1, largest(logits))))
        fail_msg("%s: %d experts, top %d, %d shared%s, gates %d: logits of up to %g differ by %g", name, o->experts,
                 o->top_k, o->shared, o->shared_gate ? " with a gate" : "", (int)o->gate, largest(logits), off);
    unmake(&m);
}

static const gate_kind gates[] = {GATE_NORMALIZED, GATE_RENORMALIZED, GATE_PROBABILITY};

static void every_combination(model *parent, const char *name, tally *t) {
    static float logits[LENGTH * VOCAB];
    logits_of(parent, logits);
    for (int experts = 3; experts <= 4; experts++)
        for (int top_k = 1; top_k <= 2; top_k++)
            for (int shared = 0; shared <= 2; shared++)
                for (int gate = 0; gate < 3; gate++)
                    for (int some = 0; some < 2; some++) {
                        upcycle_options o = usual_options();
                        o.experts = experts, o.top_k = top_k, o.shared = shared, o.gate = gates[gate];
                        o.layers[0] = o.layers[2] = some;
                        o.shared_gate = shared > 0 && some;
                        compare_with_parent(parent, logits, &o, 1e-9, name, t);
                    }
}

static void drop_0_computes_the_parent(void **state) {
    (void)state;
    for (int i = 0; i < PARENT_KINDS; i++) {
        const model_config c = parent_kinds[i].make();
        model *parent = random_model(&c);
        tally t = {0};
        every_combination(parent, parent_kinds[i].name, &t);
        print_message("%s: %d of %d combinations to the last bit\n", parent_kinds[i].name, t.exact, t.all);
        if (float_rows_are_equal())
            assert_true(2 * t.exact >= t.all); /* where experts / top_k is a power of two nothing is rounded */
        model_destroy(parent);
    }
}

/* Gates that are divided by their sum hide what the router thinks. */
static void normalized_gates_hide_any_router(void **state) {
    (void)state;
    static float logits[LENGTH * VOCAB];
    const model_config c = llama();
    model *parent = random_model(&c);
    tally t = {0};
    logits_of(parent, logits);
    for (int experts = 2; experts <= 8; experts++)
        for (int top_k = 1; top_k <= 3 && top_k <= experts; top_k++) {
            upcycle_options o = usual_options();
            o.experts = experts, o.top_k = top_k;
            compare_with_parent(parent, logits, &o, 1, "llama", &t);
        }
    model_destroy(parent);
}

/* ---- what it is made of ---- */

static void assert_same_floats(const float *found, const float *expected, int64_t count, float factor) {
    for (int64_t i = 0; i < count; i++) assert_true(found[i] == factor * expected[i]);
}

static void check_experts(const made *m, const weight_source *parent, int layer, float routed) {
    const param_spec fc = spec_of_role(&parent->config, ROLE_MLP_FC, layer, -1);
    const param_spec proj = spec_of_role(&parent->config, ROLE_MLP_PROJ, layer, -1);
    float *parent_fc = values_of(parent, &fc), *parent_proj = values_of(parent, &proj);
    for (int e = 0; e < m->weights->config.moe.experts; e++) {
        float *expert_fc = values_of_role(m->weights, ROLE_EXPERT_FC, layer, e);
        float *expert_proj = values_of_role(m->weights, ROLE_EXPERT_PROJ, layer, e);
        assert_same_floats(expert_fc, parent_fc, fc.shape[0] * fc.shape[1], 1);
        assert_same_floats(expert_proj, parent_proj, proj.shape[0] * proj.shape[1], routed);
        free(expert_fc);
        free(expert_proj);
    }
    free(parent_fc);
    free(parent_proj);
}

/* S copies side by side: the gates of all, then the ups of all, and the projections in one row. */
static void check_shared(const made *m, const weight_source *parent, int layer, int copies, float factor) {
    const int64_t h = model_config_hidden(&parent->config), d = parent->config.model_dim;
    const int halves = parent->config.mlp.activation == ACTIVATION_SWIGLU ? 2 : 1;
    float *parent_fc = values_of_role(parent, ROLE_MLP_FC, layer, -1);
    float *parent_proj = values_of_role(parent, ROLE_MLP_PROJ, layer, -1);
    float *fc = values_of_role(m->weights, ROLE_SHARED_FC, layer, -1);
    float *proj = values_of_role(m->weights, ROLE_SHARED_PROJ, layer, -1);
    for (int half = 0; half < halves; half++)
        for (int s = 0; s < copies; s++)
            assert_same_floats(fc + (half * copies + s) * h * d, parent_fc + half * h * d, h * d, 1);
    for (int64_t row = 0; row < d; row++)
        for (int s = 0; s < copies; s++)
            assert_same_floats(proj + (row * copies + s) * h, parent_proj + row * h, h, factor);
    free(parent_fc);
    free(parent_proj);
    free(fc);
    free(proj);
}

static void experts_are_copies(void **state) {
    (void)state;
    for (int i = 0; i < PARENT_KINDS; i++) {
        const model_config c = parent_kinds[i].make();
        model *parent = random_model(&c);
        upcycle_options o = usual_options();
        made m;
        o.shared = 2;
        o.layers[1] = true;
        make(&m, parent, &o);
        assert_int_equal(model_plan(&m.weights->config, 0).mlp.kind, MLP_DENSE);
        assert_int_equal(model_plan(&m.weights->config, 1).mlp.kind, MLP_EXPERTS);
        check_experts(&m, &m.sources[0], 1, 0.5f);
        check_shared(&m, &m.sources[0], 1, 2, 0.25f);
        unmake(&m);
        o.scaled = false; /* as mergekit has them */
        o.shared_gate = true;
        make(&m, parent, &o);
        check_experts(&m, &m.sources[0], 1, 1);
        check_shared(&m, &m.sources[0], 1, 2, 1);
        unmake(&m);
        model_destroy(parent);
    }
}

/* Whatever is no MLP of a chosen layer is the parent's. */
static void the_rest_is_the_parents(void **state) {
    (void)state;
    const model_config c = record();
    model *parent = random_model(&c);
    upcycle_options o = usual_options();
    made m;
    o.drop = 0.5;
    o.layers[2] = true;
    make(&m, parent, &o);
    int count, compared = 0;
    param_spec *specs = stored_specs(&m.weights->config, &count);
    for (int i = 0; i < count; i++) {
        const component part = role_component(specs[i].role);
        if (specs[i].layer == 2 && (part == COMPONENT_EXPERTS || part == COMPONENT_SHARED || part == COMPONENT_ROUTER))
            continue;
        float *found = values_of(m.weights, &specs[i]), *expected = values_of(&m.sources[0], &specs[i]);
        assert_same_floats(found, expected, spec_rows(&specs[i]) * spec_cols(&specs[i]), 1);
        free(found);
        free(expected);
        compared++;
    }
    assert_int_equal(compared, parent->param_count - 2); /* all but one layer's fc and proj */
    free(specs);
    unmake(&m);
    model_destroy(parent);
}

/* ---- what is refused ---- */

static void refuse(const model_config *c, const upcycle_options *o, const char *part) {
    model_config made;
    assert_fails(upcycle_config_of(&made, c, o), part);
}

static void wrong_options(void **state) {
    (void)state;
    const model_config c = llama();
    const upcycle_options usual = usual_options();
    upcycle_options o = usual;
    o.experts = 0;
    refuse(&c, &o, "experts: expected 1 to 512, found 0");
    o.experts = MODEL_MAX_EXPERTS + 1;
    refuse(&c, &o, "experts: expected 1 to 512, found 513");
    o = usual, o.top_k = 0;
    refuse(&c, &o, "top_k: expected 1 to experts 4, found 0");
    o.top_k = 5;
    refuse(&c, &o, "top_k: expected 1 to experts 4, found 5");
    o = usual, o.shared = -1;
    refuse(&c, &o, "shared: expected 0 to");
    o = usual, o.drop = -0.1;
    refuse(&c, &o, "drop: expected a part from 0 to 1, found -0.1");
    o.drop = 1.01;
    refuse(&c, &o, "drop: expected a part from 0 to 1, found 1.01");
    o.drop = NAN;
    refuse(&c, &o, "drop: expected a part from 0 to 1");
    o = usual, o.gate = GATE_SOFT;
    refuse(&c, &o, "gates: expected normalized, renormalized or probability");
    o = usual, o.layers[1] = o.layers[3] = true;
    refuse(&c, &o, "layers: expected layers below the parent's 3, found 3");
}

static void wrong_parents(void **state) {
    (void)state;
    upcycle_options o = usual_options();
    const model_config moe = mixtral();
    refuse(&moe, &o, "the parent is a mixture already");
    model_config c = moe;
    c.moe.layers[0] = false;
    o.layers[0] = true; /* even where that layer is dense */
    refuse(&c, &o, "the parent is a mixture already");
    c = llama(), c.mlp.bias = true;
    o = usual_options();
    refuse(&c, &o, "mlp_bias: experts have no biases");
    c = record(), c.random_up.layers[1] = true;
    refuse(&c, &o, "layers: layer 1 of the parent has a random up-projection");
    model_config made;
    o.layers[0] = true; /* another layer may */
    assert_ok(upcycle_config_of(&made, &c, &o));
}

static void widths_that_are_too_large(void **state) {
    (void)state;
    upcycle_options o = usual_options();
    model_config c = llama();
    c.mlp.hidden = 1 << 23;
    o.shared = 4;
    refuse(&c, &o, "moe_shared_hidden");
    o.shared = 300; /* 300 · 2²³ is beyond an int */
    refuse(&c, &o, "shared");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drop_0_computes_the_parent),
        cmocka_unit_test(normalized_gates_hide_any_router),
        cmocka_unit_test(experts_are_copies),
        cmocka_unit_test(the_rest_is_the_parents),
        cmocka_unit_test(wrong_options),
        cmocka_unit_test(wrong_parents),
        cmocka_unit_test(widths_that_are_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

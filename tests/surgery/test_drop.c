/* Drop-upcycling: which hidden units are drawn anew, from what, and that it hangs on nothing but the seed. */
#include "parents.h"

/* ---- which units ---- */

/* Marks the hidden units of an expert whose weights are not the parent's: by its gate rows, its up rows and its columns. */
typedef struct changed {
    bool *gate, *up, *down; /* [hidden] */
    int64_t hidden;
} changed;

static bool row_differs(const float *a, const float *b, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        if (a[i] != b[i]) return true;
    return false;
}

static changed changed_units(const made *m, int layer, int expert, float scale) {
    const weight_source *parent = &m->sources[0];
    const model_config *c = &parent->config;
    const bool gated = c->mlp.activation == ACTIVATION_SWIGLU;
    const int64_t h = model_config_hidden(c), d = c->model_dim;
    changed found = {xcalloc((size_t)h, 1), xcalloc((size_t)h, 1), xcalloc((size_t)h, 1), h};
    float *fc = values_of_role(m->weights, ROLE_EXPERT_FC, layer, expert);
    float *proj = values_of_role(m->weights, ROLE_EXPERT_PROJ, layer, expert);
    float *old_fc = values_of_role(parent, ROLE_MLP_FC, layer, -1);
    float *old_proj = values_of_role(parent, ROLE_MLP_PROJ, layer, -1);
    for (int64_t u = 0; u < h; u++) {
        found.gate[u] = row_differs(fc + u * d, old_fc + u * d, d);
        found.up[u] = gated ? row_differs(fc + (h + u) * d, old_fc + (h + u) * d, d) : found.gate[u];
        for (int64_t row = 0; row < d; row++) found.down[u] |= proj[row * h + u] != scale * old_proj[row * h + u];
    }
    free(fc);
    free(proj);
    free(old_fc);
    free(old_proj);
    return found;
}

static void free_changed(changed *c) {
    free(c->gate);
    free(c->up);
    free(c->down);
}

static int64_t count_units(const changed *c) {
    int64_t count = 0;
    for (int64_t u = 0; u < c->hidden; u++) {
        assert_int_equal(c->gate[u], c->up[u]);
        assert_int_equal(c->gate[u], c->down[u]);
        count += c->gate[u];
    }
    return count;
}

/* gate, up and down of one unit go together, and as many units as were asked for, in every expert. */
static void the_asked_share_differs(void **state) {
    (void)state;
    static const double parts[] = {0.001, 0.3, 0.5, 0.99, 1};
    for (int kind = 0; kind < PARENT_KINDS; kind++) {
        const model_config c = parent_kinds[kind].make();
        model *parent = random_model(&c);
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
            upcycle_options o = usual_options();
            made m;
            o.drop = parts[i];
            o.experts = 2;
            make(&m, parent, &o);
            for (int e = 0; e < o.experts; e++) {
                changed units = changed_units(&m, 1, e, 0.5f);
                assert_int_equal(count_units(&units), llround(parts[i] * (double)model_config_hidden(&c)));
                free_changed(&units);
            }
            unmake(&m);
        }
        model_destroy(parent);
    }
}

/* Each expert, and each layer, has its own. */
static void units_differ_between_experts(void **state) {
    (void)state;
    const model_config c = llama();
    model *parent = random_model(&c);
    upcycle_options o = usual_options();
    made m;
    o.drop = 0.5;
    make(&m, parent, &o);
    changed first = changed_units(&m, 0, 0, 0.5f), other = changed_units(&m, 0, 1, 0.5f),
            next_layer = changed_units(&m, 1, 0, 0.5f);
    assert_memory_not_equal(first.gate, other.gate, (size_t)first.hidden);
    assert_memory_not_equal(first.gate, next_layer.gate, (size_t)first.hidden);
    free_changed(&first);
    free_changed(&other);
    free_changed(&next_layer);
    unmake(&m);
    model_destroy(parent);
}

/* What every token meets stays what it was. */
static void shared_experts_lose_nothing(void **state) {
    (void)state;
    const model_config c = qwen2();
    model *parent = random_model(&c);
    upcycle_options o = usual_options();
    made m;
    o.drop = 1;
    make(&m, parent, &o);
    float *shared = values_of_role(m.weights, ROLE_SHARED_FC, 1, -1);
    float *dense = values_of_role(&m.sources[0], ROLE_MLP_FC, 1, -1);
    assert_memory_equal(shared, dense, (size_t)(2 * 96 * c.model_dim) * sizeof *dense);
    free(shared);
    free(dense);
    unmake(&m);
    model_destroy(parent);
}

/* ---- from what ---- */

typedef struct law {
    double mean, deviation;
} law;

static void set_normal(model *m, param_role role, int layer, int64_t first, int64_t rows, law l) {
    param *p = model_param(m, (int)role, layer, -1);
    const int64_t cols = p->value.shape[1];
    float *values = xmalloc((size_t)(rows * cols) * sizeof *values);
    rng r = rng_seed((uint64_t)(role * 100 + first));
    rng_normal(&r, values, (size_t)(rows * cols), (float)l.deviation);
    for (int64_t i = 0; i < rows * cols; i++) values[i] += (float)l.mean;
    assert_ok(param_set_rows(p, m->k, first, rows, values));
    free(values);
}

static void assert_law(const float *values, int64_t count, law expected, const char *name) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)values[i];
    const double mean = sum / (double)count, error = 5 * expected.deviation / sqrt((double)count);
    for (int64_t i = 0; i < count; i++) squares += ((double)values[i] - mean) * ((double)values[i] - mean);
    const double deviation = sqrt(squares / (double)count);
    if (!(fabs(mean - expected.mean) < 2 * error && fabs(deviation - expected.deviation) < 2 * error))
        fail_msg("%s: mean %g, deviation %g, expected %g and %g to %g", name, mean, deviation, expected.mean,
                 expected.deviation, 2 * error);
}

/* Three laws that are far apart; everything is dropped, so that what is there is what was drawn. */
static void new_weights_have_the_old_ones_statistics(void **state) {
    (void)state;
    const law gate = {0.5, 0.1}, up = {-0.2, 0.3}, down = {0.05, 0.02};
    model_config c = llama();
    c.mlp.hidden = 512;
    model *parent = random_model(&c);
    set_normal(parent, ROLE_MLP_FC, 1, 0, 512, gate);
    set_normal(parent, ROLE_MLP_FC, 1, 512, 512, up);
    set_normal(parent, ROLE_MLP_PROJ, 1, 0, c.model_dim, down);
    upcycle_options o = usual_options();
    made m;
    o.drop = 1;
    make(&m, parent, &o);
    const int64_t half = 512 * c.model_dim;
    float *fc = values_of_role(m.weights, ROLE_EXPERT_FC, 1, 2);
    float *proj = values_of_role(m.weights, ROLE_EXPERT_PROJ, 1, 2);
    assert_law(fc, half, gate, "gate");
    assert_law(fc + half, half, up, "up");
    assert_law(proj, half, (law){down.mean / 2, down.deviation / 2}, "down, scaled by a half");
    free(fc);
    free(proj);
    unmake(&m);
    model_destroy(parent);
}

/* ... of the units that are dropped, not of those that stay: here the first half of the units is far from the second. */
static void statistics_are_of_what_is_dropped(void **state) {
    (void)state;
    model_config c = llama();
    c.mlp.hidden = 4;
    model *parent = random_model(&c);
    set_normal(parent, ROLE_MLP_FC, 0, 0, 2, (law){1, 0.01});
    set_normal(parent, ROLE_MLP_FC, 0, 2, 2, (law){-1, 0.01});
    param *down = model_param(parent, ROLE_MLP_PROJ, 0, -1);
    for (int64_t row = 0; row < c.model_dim; row++)
        assert_ok(param_set_rows(down, parent->k, row, 1, (const float[4]){1, 1, -1, -1}));
    upcycle_options o = usual_options();
    made m;
    o.drop = 0.25; /* one unit: its weights have a mean of 1 or −1, never one between */
    make(&m, parent, &o);
    for (int e = 0; e < o.experts; e++) {
        float *fc = values_of_role(m.weights, ROLE_EXPERT_FC, 0, e);
        float *proj = values_of_role(m.weights, ROLE_EXPERT_PROJ, 0, e);
        for (int64_t i = 0; i < 4 * c.model_dim; i++) {
            assert_true(fabs(fabs((double)fc[i]) - 1) < 0.1);
            assert_true(fabs(fabs((double)proj[i]) - 0.5) < 1e-6);
        }
        free(fc);
        free(proj);
    }
    unmake(&m);
    model_destroy(parent);
}

/* ---- on what it hangs ---- */

static void same_seed_same_weights(void **state) {
    (void)state;
    const model_config c = llama();
    model *parent = random_model(&c);
    upcycle_options o = usual_options();
    made m, again, other;
    o.drop = 0.5;
    make(&m, parent, &o);
    make(&again, parent, &o);
    o.seed++;
    make(&other, parent, &o);
    for (int role = 0; role < 2; role++) {
        const param_spec spec = spec_of_role(&m.weights->config, role ? ROLE_EXPERT_PROJ : ROLE_EXPERT_FC, 2, 3);
        const size_t bytes = (size_t)(spec_rows(&spec) * spec_cols(&spec)) * sizeof(float);
        float *a = values_of(m.weights, &spec), *b = values_of(again.weights, &spec),
              *x = values_of(other.weights, &spec);
        assert_memory_equal(a, b, bytes);
        assert_memory_not_equal(a, x, bytes);
        free(a);
        free(b);
        free(x);
    }
    unmake(&m);
    unmake(&again);
    unmake(&other);
    model_destroy(parent);
}

/* Whoever reads may take pieces of any size, in any order of rows, experts and layers. */
static void pieces_in_any_order_are_the_same(void **state) {
    (void)state;
    const model_config c = qwen2();
    model *parent = random_model(&c);
    upcycle_options o = usual_options();
    made whole, pieces;
    int count;
    o.drop = 0.4;
    o.shared = 2;
    o.shared_gate = true;
    make(&whole, parent, &o);
    make(&pieces, parent, &o);
    param_spec *specs = stored_specs(&whole.weights->config, &count);
    for (int i = count - 1; i >= 0; i--) {
        const param_spec *spec = &specs[i];
        const int64_t rows = spec_rows(spec), cols = spec_cols(spec), most = spec->ndim < 2 ? 1 : 1 + i % 7;
        float *expected = values_of(whole.weights, spec), *found = xmalloc((size_t)(most * cols) * sizeof *found);
        for (int64_t left = rows, size; left > 0; left -= size) {
            size = left < most ? left : most;
            assert_ok(pieces.weights->read(pieces.weights->context, spec, left - size, size, found));
            assert_memory_equal(found, expected + (left - size) * cols, (size_t)(size * cols) * sizeof *found);
        }
        free(expected);
        free(found);
    }
    free(specs);
    unmake(&whole);
    unmake(&pieces);
    model_destroy(parent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_asked_share_differs),           cmocka_unit_test(units_differ_between_experts),
        cmocka_unit_test(shared_experts_lose_nothing),       cmocka_unit_test(new_weights_have_the_old_ones_statistics),
        cmocka_unit_test(statistics_are_of_what_is_dropped), cmocka_unit_test(same_seed_same_weights),
        cmocka_unit_test(pieces_in_any_order_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

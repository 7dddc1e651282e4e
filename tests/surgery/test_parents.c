/* Several parents of one shape: whose MLP an expert is, what is the mean and what the first one's, and who cannot be a parent
 * beside another. */
#include "parents.h"

#include "float_rows.h"

enum { PARENTS = 3 };

typedef struct parents {
    model *models[PARENTS];
    weight_source sources[PARENTS];
} parents;

static parents three_of(const model_config *c) {
    parents p;
    for (int i = 0; i < PARENTS; i++) {
        p.models[i] = random_model_by(c, (uint64_t)(20 + i));
        p.sources[i] = weight_source_of(p.models[i]);
    }
    return p;
}

static void free_parents(parents *p) {
    for (int i = 0; i < PARENTS; i++) model_destroy(p->models[i]);
}

static void experts_are_the_parents_in_turn(void **state) {
    (void)state;
    const model_config c = qwen3();
    parents p = three_of(&c);
    upcycle_options o = usual_options();
    made m;
    o.experts = 5, o.shared = 0, o.scaled = false;
    make_of(&m, p.models, PARENTS, &o, 1e-9);
    for (int e = 0; e < o.experts; e++) {
        const param_role roles[2][2] = {{ROLE_EXPERT_FC, ROLE_MLP_FC}, {ROLE_EXPERT_PROJ, ROLE_MLP_PROJ}};
        for (int i = 0; i < 2; i++) {
            float *expert = values_of_role(m.weights, roles[i][0], 2, e);
            float *mlp = values_of_role(&p.sources[e % PARENTS], roles[i][1], 2, -1);
            assert_memory_equal(expert, mlp, (size_t)(96 * c.model_dim) * sizeof *mlp);
            free(expert);
            free(mlp);
        }
    }
    unmake(&m);
    free_parents(&p);
}

/* What is not an expert, by role: the first parent's, or the mean. */
static void check_common(const made *m, const parents *p, bool average) {
    int count, compared = 0;
    param_spec *specs = stored_specs(&m->weights->config, &count);
    for (int i = 0; i < count; i++) {
        const component part = role_component(specs[i].role);
        if (part == COMPONENT_EXPERTS || part == COMPONENT_ROUTER || part == COMPONENT_SHARED) continue;
        const int64_t size = spec_rows(&specs[i]) * spec_cols(&specs[i]);
        float *found = values_of(m->weights, &specs[i]), *of[PARENTS];
        for (int j = 0; j < PARENTS; j++) of[j] = values_of(&p->sources[j], &specs[i]);
        for (int64_t v = 0; v < size; v++) {
            const double mean = ((double)of[0][v] + (double)of[1][v] + (double)of[2][v]) / PARENTS;
            if (average)
                assert_true(fabs((double)found[v] - mean) <= 1e-6);
            else
                assert_true(found[v] == of[0][v]);
        }
        free(found);
        for (int j = 0; j < PARENTS; j++) free(of[j]);
        compared++;
    }
    free(specs);
    assert_true(compared > 20);
}

/* The shared MLP meets every token, as attention does. */
static void check_shared(const made *m, const parents *p, bool average) {
    const int64_t size = 2 * 96 * p->models[0]->config.model_dim;
    float *shared = values_of_role(m->weights, ROLE_SHARED_FC, 0, -1), *of[PARENTS];
    for (int j = 0; j < PARENTS; j++) of[j] = values_of_role(&p->sources[j], ROLE_MLP_FC, 0, -1);
    for (int64_t v = 0; v < size; v++) {
        const double mean = ((double)of[0][v] + (double)of[1][v] + (double)of[2][v]) / PARENTS;
        assert_true(fabs((double)shared[v] - (average ? mean : (double)of[0][v])) <= (average ? 1e-6 : 0));
    }
    free(shared);
    for (int j = 0; j < PARENTS; j++) free(of[j]);
}

static void the_rest_is_the_first_ones_or_the_mean(void **state) {
    (void)state;
    const model_config c = qwen2();
    parents p = three_of(&c);
    for (int average = 0; average < 2; average++) {
        upcycle_options o = usual_options();
        made m;
        o.average = average;
        make_of(&m, p.models, PARENTS, &o, 1e-9);
        check_common(&m, &p, average);
        check_shared(&m, &p, average);
        unmake(&m);
    }
    free_parents(&p);
}

/* The mean of a model with itself is the model. */
static void the_same_parent_twice_is_one(void **state) {
    (void)state;
    static float expected[LENGTH * VOCAB], found[LENGTH * VOCAB];
    const model_config c = qwen2();
    model *parent = random_model(&c), *const twice[] = {parent, parent};
    upcycle_options o = usual_options();
    made m;
    o.average = true;
    make_of(&m, twice, 2, &o, 1e-9);
    logits_of(parent, expected);
    logits_of_source(m.weights, found);
    assert_true(difference(expected, found) <= (float_rows_are_equal() ? 0 : 1e-5)); /* of logits of some units */
    unmake(&m);
    model_destroy(parent);
}

/* ---- who cannot be one ---- */

static void refuse(model *first, const model_config *other, const char *part) {
    model *second = random_model(other);
    const weight_source a = weight_source_of(first), b = weight_source_of(second);
    const weight_source *const both[] = {&a, &b};
    upcycle_options o = usual_options();
    router_rows routers = router_rows_create(&first->config, &o);
    upcycled *u;
    assert_fails(upcycle_begin(&u, both, 2, &o, &routers), part);
    assert_non_null(strstr(error_message(), "parent 2"));
    router_rows_free(&routers);
    model_destroy(second);
}

static void parents_of_other_shapes(void **state) {
    (void)state;
    const model_config c = qwen2();
    model *first = random_model(&c);
    model_config other = c;
    other.mlp.hidden = 80;
    refuse(first, &other, "mlp_hidden: expected 96, found 80");
    other = c, other.vocab_size = 95;
    refuse(first, &other, "vocab_size: expected 96, found 95");
    other = c, other.num_layers = 2, other.residual.parallel_start_layer = 2;
    refuse(first, &other, "num_layers: expected 3, found 2");
    other = c, other.attention.qkv_bias = false;
    refuse(first, &other, "qkv_bias: expected true, found false");
    other = c, other.rotary.base = 500000;
    refuse(first, &other, "rope_base");
    other = c, other.norm.eps = 1e-5f;
    refuse(first, &other, "norm_eps");
    other = c, other.head.tied = true;
    refuse(first, &other, "tie_embeddings");
    other = c, other.rotary.style = ROTARY_NEIGHBOURS;
    refuse(first, &other, "rope_style");
    other = mixtral(), other.attention = c.attention, other.rotary = c.rotary;
    refuse(first, &other, "it is a mixture already");
    model_destroy(first);
}

/* What only training asks for, and widths that are said in another way, are no difference. */
static void parents_that_say_it_otherwise(void **state) {
    (void)state;
    const model_config c = qwen2();
    model_config other = c;
    other.mlp.hidden = 0, other.mlp.mult = 1.5f;
    other.attention.head_dim = 16;
    other.init.embed_std = 0.7f;
    other.moe.aux_weight = 0.5f;
    other.rotary.low_freq_factor = 9; /* yarn does not read it */
    model *both[] = {random_model(&c), random_model(&other)};
    upcycle_options o = usual_options();
    made m;
    make_of(&m, both, 2, &o, 1e-9);
    unmake(&m);
    for (int i = 0; i < 2; i++) model_destroy(both[i]);
}

static void more_parents_than_experts(void **state) {
    (void)state;
    const model_config c = llama();
    parents p = three_of(&c);
    const weight_source *const all[] = {&p.sources[0], &p.sources[1], &p.sources[2]};
    upcycle_options o = usual_options();
    o.experts = 2;
    router_rows routers = router_rows_create(&c, &o);
    upcycled *u;
    assert_fails(upcycle_begin(&u, all, PARENTS, &o, &routers),
                 "experts: expected at least as many as parents, 3, found 2");
    router_rows_free(&routers);
    free_parents(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(experts_are_the_parents_in_turn), cmocka_unit_test(the_rest_is_the_first_ones_or_the_mean),
        cmocka_unit_test(the_same_parent_twice_is_one),    cmocka_unit_test(parents_of_other_shapes),
        cmocka_unit_test(parents_that_say_it_otherwise),   cmocka_unit_test(more_parents_than_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Routers from clusters of what a layer's MLP reads. */
#include "parents.h"

#include "surgery/router_init.h"

enum { GROUPS = 4, TOKENS = 400 };

/* Tokens of one group have nearly one embedding, groups have others, and all have a part in common; attention gives nothing, so
 * that this is what the first layer's MLP reads. */
static model *planted_parent(const model_config *c) {
    model *m = random_model(c);
    const int d = c->model_dim;
    float *table = xmalloc((size_t)(VOCAB * d) * sizeof *table);
    for (int t = 0; t < VOCAB; t++) {
        rng centre = rng_seed((uint64_t)(t % GROUPS)), noise = rng_seed((uint64_t)(100 + t));
        float near[64];
        rng_normal(&centre, table + t * d, (size_t)d, 1);
        rng_normal(&noise, near, (size_t)d, 0.1f);
        for (int i = 0; i < d; i++) table[t * d + i] += near[i] + (i % 2 ? 2.f : -2.f);
    }
    assert_ok(param_set(model_param(m, ROLE_TOK_EMB, -1, -1), m->k, table));
    memset(table, 0, (size_t)(d * d) * sizeof *table);
    assert_ok(param_set(model_param(m, ROLE_ATTENTION_PROJ, 0, -1), m->k, table));
    free(table);
    return m;
}

/* What the first layer's MLP reads of each token, RMS norm by hand: [VOCAB, d]. */
static float *inputs_of(const model *m) {
    const weight_source w = weight_source_of(m);
    const int d = m->config.model_dim;
    float *x = values_of_role(&w, ROLE_TOK_EMB, -1, -1), *norm = values_of_role(&w, ROLE_MLP_NORM, 0, -1);
    for (int t = 0; t < VOCAB; t++) {
        double squares = 0;
        for (int i = 0; i < d; i++) squares += (double)x[t * d + i] * (double)x[t * d + i];
        for (int i = 0; i < d; i++) x[t * d + i] *= norm[i] / (float)sqrt(squares / d + (double)m->config.norm.eps);
    }
    free(norm);
    return x;
}

static void chance(int32_t ids[TOKENS], uint64_t seed) {
    rng r = rng_seed(seed);
    for (int i = 0; i < TOKENS; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
}

static status cluster(router_rows *rows, model *m, const int32_t *ids, int64_t length, int batches, uint64_t seed) {
    const weight_source w = weight_source_of(m);
    batch b[2];
    for (int i = 0; i < batches; i++) b[i] = (batch){.batch = 1, .length = length, .input_ids = ids + i * length};
    return router_rows_from_clusters(rows, &w, m->k, b, batches, seed);
}

/* The centres of the groups less their mean, to unit length: [GROUPS, d]. */
static void planted_rows(const float *x, int d, double *rows) {
    for (int t = 0; t < VOCAB; t++)
        for (int i = 0; i < d; i++) rows[t % GROUPS * d + i] += (double)x[t * d + i] * GROUPS / VOCAB;
    for (int i = 0; i < d; i++) {
        double mean = 0;
        for (int g = 0; g < GROUPS; g++) mean += rows[g * d + i] / GROUPS;
        for (int g = 0; g < GROUPS; g++) rows[g * d + i] -= mean;
    }
    for (int g = 0; g < GROUPS; g++) {
        double squares = 0;
        for (int i = 0; i < d; i++) squares += rows[g * d + i] * rows[g * d + i];
        for (int i = 0; i < d; i++) rows[g * d + i] /= sqrt(squares);
    }
}

/* The group whose row it is; −1: of none. */
static int group_of(const float *row, const double *planted, int d) {
    for (int g = 0; g < GROUPS; g++) {
        double most = 0;
        for (int i = 0; i < d; i++) most = fmax(most, fabs((double)row[i] - planted[g * d + i]));
        if (most < 1e-4) return g;
    }
    return -1;
}

static void planted_clusters_are_found(void **state) {
    (void)state;
    const model_config c = llama();
    const int d = c.model_dim;
    model *m = planted_parent(&c);
    upcycle_options o = usual_options();
    o.shared_gate = true;
    router_rows rows = router_rows_create(&c, &o);
    int32_t ids[2 * VOCAB];
    double planted[GROUPS * 64] = {0};
    for (int i = 0; i < 2 * VOCAB; i++) ids[i] = i % VOCAB;
    assert_ok(cluster(&rows, m, ids, VOCAB, 2, 7));
    float *x = inputs_of(m);
    planted_rows(x, d, planted);
    bool taken[GROUPS] = {false};
    for (int e = 0; e < GROUPS; e++) {
        const int g = group_of(rows.rows[0] + e * d, planted, d);
        assert_true(g >= 0);
        assert_false(taken[g]);
        taken[g] = true;
    }
    for (int i = 0; i < d; i++) assert_true(rows.rows[0][GROUPS * d + i] == 0); /* the shared gate */
    free(x);
    router_rows_free(&rows);
    model_destroy(m);
}

static void rows_are_unit_vectors_and_depend_on_the_seed(void **state) {
    (void)state;
    const model_config c = qwen2();
    model *m = random_model(&c);
    upcycle_options o = usual_options();
    o.experts = 8;
    o.layers[1] = true;
    router_rows a = router_rows_create(&c, &o), b = router_rows_create(&c, &o), other = router_rows_create(&c, &o);
    int32_t ids[TOKENS];
    chance(ids, 2);
    assert_ok(cluster(&a, m, ids, TOKENS, 1, 7));
    assert_ok(cluster(&b, m, ids, TOKENS, 1, 7));
    assert_ok(cluster(&other, m, ids, TOKENS, 1, 8));
    assert_null(a.rows[0]);
    const size_t bytes = (size_t)(8 * a.d) * sizeof(float);
    assert_memory_equal(a.rows[1], b.rows[1], bytes);
    assert_memory_not_equal(a.rows[1], other.rows[1], bytes);
    for (int e = 0; e < 8; e++) {
        double squares = 0;
        for (int64_t i = 0; i < a.d; i++) squares += (double)a.rows[1][e * a.d + i] * (double)a.rows[1][e * a.d + i];
        assert_true(fabs(squares - 1) < 1e-5);
    }
    router_rows_free(&a);
    router_rows_free(&b);
    router_rows_free(&other);
    model_destroy(m);
}

static void too_little_text(void **state) {
    (void)state;
    const model_config c = llama();
    model *m = random_model(&c);
    upcycle_options o = usual_options();
    router_rows rows = router_rows_create(&c, &o);
    int32_t ids[TOKENS];
    chance(ids, 3);
    assert_fails(cluster(&rows, m, ids, 3, 1, 7), "calibration text of at least 4 tokens, found 3");
    assert_fails(cluster(&rows, m, ids, 3, 0, 7), "found 0");
    assert_ok(cluster(&rows, m, ids, 4, 1, 7));
    router_rows_free(&rows);
    model_destroy(m);
}

/* Fewer kinds of tokens than experts: some centres coincide, and nothing is not a number. */
static void one_token_again_and_again(void **state) {
    (void)state;
    const model_config c = llama();
    model *m = random_model(&c);
    upcycle_options o = usual_options();
    router_rows rows = router_rows_create(&c, &o);
    int32_t ids[TOKENS] = {0};
    assert_ok(cluster(&rows, m, ids, TOKENS, 1, 7));
    for (int layer = 0; layer < c.num_layers; layer++)
        for (int64_t i = 0; i < o.experts * rows.d; i++) assert_true(isfinite(rows.rows[layer][i]));
    router_rows_free(&rows);
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planted_clusters_are_found),
        cmocka_unit_test(rows_are_unit_vectors_and_depend_on_the_seed),
        cmocka_unit_test(too_little_text),
        cmocka_unit_test(one_token_again_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

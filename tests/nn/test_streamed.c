/* Models whose layers' weights come when the pass comes to them, and weights that are filled in pieces. */
#include "test.h"

#include "base/random.h"
#include "nn/pass.h"
#include "nn/streamed.h"

enum { VOCAB = 80, BATCH = 2, LENGTH = 20 };

/* The record family: U-Net skips, a parallel layer, hashes, the embedding mixed into each block. */
static model_config dense(void) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB;
    c.num_layers = 4;
    c.model_dim = 64;
    c.attention.heads = 4;
    c.attention.kv_heads = 2;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.residual.parallel_start_layer = 3;
    c.stem.bigram_buckets = 32;
    c.stem.bigram_dim = 16;
    c.loop.extra_passes = 0;
    c.head.tied = true;
    return c;
}

static model_config looped(void) {
    model_config c = dense();
    c.loop = (loop_config){.extra_passes = 2, .first = 1, .last = 2, .on = true};
    return c;
}

static model_config untied(void) {
    model_config c = dense();
    c.head.tied = false;
    c.norm.weight = true;
    c.attention.qkv_bias = c.attention.proj_bias = true;
    c.mlp.bias = true;
    return c;
}

static model_config mixture(void) {
    model_config c = looped();
    c.moe.layers[1] = c.moe.layers[3] = true;
    c.moe.experts = 4;
    c.moe.top_k = 2;
    c.moe.gate = GATE_NORMALIZED;
    c.moe.shared_hidden = 32;
    c.moe.shared_gate = true;
    c.moe.bias_rate = 0.01f;
    return c;
}

static model_config (*const makers[])(void) = {dense, looped, untied, mixture};
enum { MAKERS = sizeof makers / sizeof *makers };

static model *random_model(const model_config *c) {
    model *m;
    assert_ok(model_create(&m, c, kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(model_init(m, 3));
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (p->derived) continue;
        float *values = xmalloc(tensor_bytes(&p->value));
        rng r = rng_named(5, p->name);
        rng_normal(&r, values, (size_t)param_count(p), 0.2f);
        assert_ok(param_set(p, m->k, values));
        free(values);
    }
    return m;
}

static status logits_of(model *m, float *logits) {
    int32_t ids[BATCH * LENGTH];
    rng r = rng_seed(9);
    for (int i = 0; i < BATCH * LENGTH; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
    const batch b = {.batch = BATCH, .length = LENGTH, .input_ids = ids};
    pass *p;
    assert_ok(pass_create(&p, m));
    const status s = pass_logits(p, &b, logits);
    pass_destroy(p);
    return s;
}

/* ---- streamed ---- */

static int weights_there(const model *m) {
    int count = 0;
    for (int i = 0; i < m->param_count; i++) count += m->params[i]->layer >= 0 && m->params[i]->matrix.rows > 0;
    return count;
}

static void a_streamed_model_computes_the_same(void **state) {
    (void)state;
    static float whole[BATCH * LENGTH * VOCAB], streamed[BATCH * LENGTH * VOCAB];
    for (int i = 0; i < MAKERS; i++) {
        const model_config c = makers[i]();
        model *m = random_model(&c), *s;
        const weight_source w = weight_source_of(m);
        assert_ok(logits_of(m, whole));
        assert_ok(model_create_streamed(&s, &w, m->k));
        assert_true(weights_there(m) > 0);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(weights_there(s), 0);
            memset(streamed, 0, sizeof streamed);
            assert_ok(logits_of(s, streamed));
            assert_memory_equal(whole, streamed, sizeof whole);
        }
        assert_int_equal(weights_there(s), 0);
        model_destroy(s);
        model_destroy(m);
    }
}

/* A source that fails for the layers from `layer` on. */
typedef struct broken {
    weight_source of;
    int layer;
} broken;

static status read_broken(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const broken *b = context;
    if (spec->layer >= b->layer && role_is_matrix(spec->role)) return fail("layer %d is broken", spec->layer);
    return b->of.read(b->of.context, spec, first, rows, out);
}

/* The pass fails with the source's message, the first one; nothing stays. */
static void a_source_that_fails(void **state) {
    (void)state;
    static float logits[BATCH * LENGTH * VOCAB];
    const model_config c = mixture();
    model *m = random_model(&c), *s;
    for (int layer = 0; layer < c.num_layers; layer++) {
        broken b = {weight_source_of(m), layer};
        const weight_source w = {.config = c, .read = read_broken, .context = &b};
        char expected[32];
        snprintf(expected, sizeof expected, "layer %d is broken", layer);
        assert_ok(model_create_streamed(&s, &w, m->k));
        assert_fails(logits_of(s, logits), expected);
        assert_int_equal(weights_there(s), 0);
        model_destroy(s);
    }
    broken b = {weight_source_of(m), -1}; /* what is in no layer is read at once */
    const weight_source w = {.config = c, .read = read_broken, .context = &b};
    assert_fails(model_create_streamed(&s, &w, m->k), "layer -1 is broken");
    model_destroy(m);
}

static void random_up_projections_are_refused(void **state) {
    (void)state;
    model_config c = dense();
    c.random_up.layers[2] = true;
    model *m = random_model(&c), *s;
    const weight_source w = weight_source_of(m);
    assert_fails(model_create_streamed(&s, &w, m->k), "layer 2 has random up-projections");
    model_destroy(m);
}

/* ---- in pieces ---- */

/* A number for each place of a parameter. */
static float place(const param_spec *spec, int64_t row, int64_t col) {
    return (float)((int)spec->role * 7 + (spec->layer + 1) * 3 + row % 1009) + (float)(col % 13) / 16;
}

typedef struct record {
    int64_t next;  /* the row that comes next of the parameter that is being read */
    int pieces;    /* of the embedding */
    bool in_order; /* pieces were small enough, and one after the other */
} record;

static status read_places(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    record *r = context;
    const int64_t cols = spec_cols(spec);
    if (first == 0) r->next = 0;
    r->in_order &= first == r->next && rows > 0 && rows <= spec_piece(spec) && first + rows <= spec_rows(spec);
    r->next = first + rows;
    r->pieces += spec->role == ROLE_TOK_EMB;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) out[i * cols + j] = place(spec, first + i, j);
    return STATUS_OK;
}

/* 100000 rows of 64 floats are more than one piece; every value comes to its place, in vectors too. */
static void pieces_cover_every_parameter(void **state) {
    (void)state;
    model_config c = dense();
    c.vocab_size = 100000;
    for (int use = MODEL_VALUES; use <= MODEL_RUN; use++) {
        model *m;
        record r = {.in_order = true};
        const weight_source w = {.config = c, .read = read_places, .context = &r};
        assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), (model_use)use));
        assert_ok(weight_source_fill(&w, m));
        assert_true(r.in_order && r.pieces > 1);
        const weight_source own = weight_source_of(m);
        int count;
        param_spec *specs = stored_specs(&c, &count);
        assert_int_equal(count, m->param_count);
        for (int i = 0; i < count; i++) {
            const int64_t rows = spec_rows(&specs[i]), cols = spec_cols(&specs[i]);
            float *values = xmalloc((size_t)(rows * cols) * sizeof *values);
            assert_ok(own.read(own.context, &specs[i], 0, rows, values));
            for (int64_t v = 0; v < rows * cols; v++) assert_true(values[v] == place(&specs[i], v / cols, v % cols));
            free(values);
        }
        free(specs);
        model_destroy(m);
    }
}

static void a_parameter_that_is_not_there(void **state) {
    (void)state;
    const model_config c = dense();
    model *m = random_model(&c);
    const weight_source w = weight_source_of(m);
    const param_spec router = {ROLE_ROUTER, 1, -1, 2, {4, 64}};
    float row[64];
    assert_fails(w.read(w.context, &router, 0, 1, row), "the model has no blocks.1.mlp.router.weight");
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_streamed_model_computes_the_same), cmocka_unit_test(a_source_that_fails),
        cmocka_unit_test(random_up_projections_are_refused),  cmocka_unit_test(pieces_cover_every_parameter),
        cmocka_unit_test(a_parameter_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

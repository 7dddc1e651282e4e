/* Each family of the record scripts as a small model: decoding against the full pass, documents, causality; and what only
 * some have: frozen random weights, balancing without a loss, noise, other numbers of experts at evaluation. */
#include "test.h"

#include "base/memory.h"
#include "base/random.h"
#include "nn/pass.h"
#include <math.h>

enum { LENGTH = 24, VOCAB = 50 };

/* ---- the families ---- */

static model_config plain(void) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB, c.num_layers = 5, c.model_dim = 64, c.attention.heads = 4, c.attention.kv_heads = 2,
    c.mlp.mult = 2;
    c.mlp.activation = ACTIVATION_RELU2;
    c.rotary.dims = 0, c.norm.depth_scaled = c.attention.xsa = c.residual.gated_skips = false,
    c.residual.smear_width = 0;
    c.residual.parallel_start_layer = 5, c.stem.bigram_buckets = 0, c.loop.extra_passes = 0;
    c.stem.hash_projection = false;
    return c;
}

static model_config soft(void) { /* #480 */
    model_config c = plain();
    c.stem.smear = true;
    c.stem.bigram_buckets = 33, c.stem.bigram_dim = 16, c.stem.bigram_hash = BIGRAM_XOR, c.stem.hash_scale = 0.05f;
    c.init.hash = HASH_ZERO_TABLE;
    c.moe.start_layer = 0, c.moe.gate = GATE_SOFT, c.moe.aux_mean = true;
    return c;
}

static model_config standard(void) { /* #660 */
    model_config c = soft();
    c.stem.trigram_buckets = 29, c.stem.trigram_dim = 64;
    c.moe.start_layer = 2, c.moe.gate = GATE_RENORMALIZED, c.moe.experts = 4, c.moe.top_k = 2;
    c.moe.aux_mean = false;
    return c;
}

static model_config shared_routed(void) {
    model_config c = standard();
    c.moe.top_k = 1, c.moe.expert_mult = 1, c.moe.shared_mult = 2;
    return c;
}

static model_config straight_through(void) {
    model_config c = shared_routed();
    c.moe.gate = GATE_STRAIGHT_THROUGH, c.moe.split = true, c.moe.shared_mult = 0, c.moe.start_layer = 0;
    return c;
}

static model_config whole_loops(void) { /* #660's NUM_LOOPS */
    model_config c = soft();
    c.moe.start_layer = -1, c.moe.gate = GATE_RENORMALIZED;
    c.loop.extra_passes = 2, c.loop.first = 0, c.loop.last = 4, c.loop.skips = LOOP_SKIPS_EACH_PASS, c.loop.on = true;
    return c;
}

static model_config randup(void) { /* #1692 */
    model_config c = plain();
    c.random_up.layers[0] = c.random_up.layers[3] = true;
    c.random_up.experts = 3, c.random_up.rank = 8;
    c.init.matrix = MATRIX_UNIFORM;
    return c;
}

static model_config mixed(void) { /* what no script has together */
    model_config c = randup();
    c.head.tied = false, c.residual.smear_width = 8, c.stem.smear = true, c.attention.xsa = true,
    c.residual.gated_skips = true;
    c.stem.bigram_buckets = 32, c.stem.bigram_dim = 16, c.stem.trigram_buckets = 32, c.stem.trigram_dim = 16,
    c.residual.parallel_start_layer = 2;
    c.moe.layers[1] = c.moe.layers[2] = true, c.moe.experts = 8, c.moe.top_k = 3, c.moe.bias_rate = 0.01f;
    c.moe.gate = GATE_PROBABILITY, c.moe.z_weight = 0.1f;
    c.loop.extra_passes = 1, c.loop.first = 1, c.loop.last = 3, c.loop.on = true;
    return c;
}

static model_config (*const families[])(void) = {plain,       soft,   standard, shared_routed, straight_through,
                                                 whole_loops, randup, mixed};
enum { FAMILIES = sizeof families / sizeof *families };

/* ---- helpers ---- */

/* Every trained tensor moves away from its initial zeros and ones, so that nothing is switched off. */
static void perturb(model *m) {
    for (int i = 0; i < m->param_count; i++) {
        param *p = m->params[i];
        if (p->derived) continue;
        int64_t count = param_count(p);
        float *values = xmalloc((size_t)count * sizeof *values), *noise = xmalloc((size_t)count * sizeof *noise);
        rng r = rng_named(3, p->name);
        rng_normal(&r, noise, (size_t)count,
                   strstr(p->name, "router") || strstr(p->name, "gate.weight") ? 0.5f : 0.05f);
        tensor_read(m->k, &p->value, values);
        for (int64_t j = 0; j < count; j++) values[j] += noise[j];
        tensor_write(m->k, &p->value, values);
        free(values);
        free(noise);
    }
    assert_ok(model_refresh(m));
}

static model *make_as(model_config c, dtype act) {
    model *m;
    assert_ok(model_create(&m, &c, kernels_for(act), MODEL_TRAIN));
    assert_ok(model_init(m, 1));
    perturb(m);
    return m;
}

static model *make(model_config c) {
    return make_as(c, DTYPE_F32);
}

static void make_ids(int32_t *ids, uint64_t seed) {
    rng r = rng_seed(seed);
    for (int i = 0; i < LENGTH; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
}

static pass *make_pass(model *m) {
    pass *p;
    assert_ok(pass_create(&p, m));
    return p;
}

/* What one batch finds. */
static const pass_statistics *evaluated(pass *p, const batch *b) {
    pass_clear(p);
    assert_ok(pass_evaluate(p, b, NULL));
    return pass_read(p);
}
static const pass_statistics *trained(pass *p, const batch *b) {
    pass_clear(p);
    assert_ok(pass_train(p, b, 1));
    return pass_read(p);
}

static void logits_of(model *m, const int32_t *ids, const int32_t *first, float *logits) {
    batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .first = first};
    pass *p = make_pass(m);
    assert_ok(pass_logits(p, &b, logits));
    pass_destroy(p);
}

/* ---- what holds for all ---- */

/* In pieces of 1, 1, 5 and then single tokens: hashes need the tokens before a piece, smearing the embedding before it. */
static void decoding_equals_forward(void **state) {
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        model *m = make(families[i]());
        int32_t ids[LENGTH];
        float full[LENGTH * VOCAB], step[VOCAB];
        make_ids(ids, 2);
        logits_of(m, ids, NULL, full);
        kv_cache *cache;
        pass *p = make_pass(m);
        assert_ok(kv_cache_create(&cache, m, 1, LENGTH));
        for (int round = 0; round < 2; round++) { /* the second one after a reset */
            for (int64_t at = 0, count; at < LENGTH; at += count) {
                count = at == 2 ? 5 : 1;
                assert_ok(pass_decode(p, cache, ids + at, count, step));
                for (int v = 0; v < VOCAB; v++) assert_float_equal(step[v], full[(at + count - 1) * VOCAB + v], 2e-4);
            }
            kv_cache_cut(cache, 0, 0);
        }
        kv_cache_destroy(cache);
        pass_destroy(p);
        model_destroy(m);
    }
}

/* What a second document predicts depends neither on the first nor on where it stands: no hash, gate or head looks back. */
static void documents_are_separate(void **state) {
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        model_config c = families[i]();
        c.attention.within_document = true;
        model *m = make(c);
        int32_t a[LENGTH], b[LENGTH], first[LENGTH], alone[LENGTH] = {0};
        float from_a[LENGTH * VOCAB], from_b[LENGTH * VOCAB], from_alone[LENGTH * VOCAB];
        make_ids(a, 2);
        make_ids(b, 3);
        memcpy(b + 10, a + 10, (LENGTH - 10) * sizeof *a);
        memcpy(alone, a + 10, (LENGTH - 10) * sizeof *a);
        for (int t = 0; t < LENGTH; t++) first[t] = t < 10 ? 0 : 10;
        logits_of(m, a, first, from_a);
        logits_of(m, b, first, from_b);
        logits_of(m, alone, NULL, from_alone);
        for (int n = 10 * VOCAB; n < LENGTH * VOCAB; n++) {
            assert_float_equal(from_a[n], from_b[n], 1e-5);
            assert_float_equal(from_a[n], from_alone[n - 10 * VOCAB], 1e-4); /* rotary positions are relative */
        }
        assert_true(fabsf(from_a[9 * VOCAB] - from_b[9 * VOCAB]) > 1e-4f);
        model_destroy(m);
    }
}

static void causal(void **state) {
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        model *m = make(families[i]());
        int32_t ids[LENGTH];
        float before[LENGTH * VOCAB], after[LENGTH * VOCAB];
        make_ids(ids, 2);
        logits_of(m, ids, NULL, before);
        ids[15] = (ids[15] + 1) % VOCAB;
        logits_of(m, ids, NULL, after);
        for (int n = 0; n < 15 * VOCAB; n++) assert_float_equal(before[n], after[n], 1e-6);
        model_destroy(m);
    }
}

/* A step of plain gradient descent on every trained parameter. */
static void descend(model *m, float rate) {
    int64_t n = m->layout.trained;
    float *w = xmalloc((size_t)n * sizeof *w), *g = xmalloc((size_t)n * sizeof *g);
    m->k->download(w, m->values.data, (size_t)n * sizeof *w);
    m->k->download(g, m->gradients.data, (size_t)n * sizeof *g);
    for (int64_t j = 0; j < n; j++) w[j] -= rate * g[j];
    m->k->upload(m->values.data, w, (size_t)n * sizeof *w);
    free(w);
    free(g);
    assert_ok(model_refresh(m));
}

static void loss_falls_as(model_config c, dtype act) {
    model *m;
    int32_t ids[LENGTH + 1];
    double start = 0, ce = 0;
    assert_ok(model_create(&m, &c, kernels_for(act), MODEL_TRAIN));
    assert_ok(model_init(m, 1));
    make_ids(ids, 4);
    ids[LENGTH] = 1;
    batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids + 1};
    pass *p = make_pass(m);
    for (int step = 0; step < 40; step++) {
        model_zero_grad(m);
        const pass_statistics *found = trained(p, &b);
        assert_true(isfinite(found->ce) && isfinite(found->aux));
        ce = found->ce;
        if (step == 0) start = ce;
        descend(m, 0.05f);
        model_balance_experts(m, found);
    }
    assert_true(ce < start - 0.7);
    pass_destroy(p);
    model_destroy(m);
}

static void losses_fall(void **state) {
    (void)state;
    for (int i = 0; i < FAMILIES; i++) {
        model_config c = families[i]();
        c.init.projection = PROJECTION_ORTHOGONAL;
        loss_falls_as(c, DTYPE_F32);
        if (kernels_for(DTYPE_BF16)) loss_falls_as(c, DTYPE_BF16);
    }
}

/* ---- hashes ---- */

/* Row `id` of a table, found out by asking which one has a gradient. */
static bool row_is_used(model *m, const char *table, int64_t row) {
    param *p = model_find(m, table);
    int64_t cols = tensor_cols(&p->value);
    float *g = xmalloc(tensor_bytes(&p->value)), most = 0;
    m->k->download(g, p->grad, tensor_bytes(&p->value));
    for (int64_t c = 0; c < cols; c++) most = fmaxf(most, fabsf(g[row * cols + c]));
    free(g);
    return most > 0;
}

/* By hand, with wrapping int32: 36313 · 60000 = 2178780000 is −2116187296 there; xor with 27191 · 3 = 81573 it is −2116241979,
 * which mod 32 (floor) is 5. 36313 · 5 = 181565 xor 27191 · 60000 = 1631460000 is 1631379357, mod 32: 29. */
static void hashes_by_hand(void **state) {
    (void)state;
    model_config c = soft();
    c.vocab_size = 65536;
    c.stem.trigram_buckets = 29, c.stem.trigram_dim = 16;
    model *m = make(c);
    const int32_t ids[3] = {3, 60000, 5}, targets[3] = {1, 2, 3};
    batch b = {.batch = 1, .length = 3, .input_ids = ids, .target_ids = targets};
    pass *p = make_pass(m);
    trained(p, &b);
    pass_destroy(p);
    int32_t mixed_ids = (int32_t)(36313u * 60000u) ^ (int32_t)(27191u * 3u);
    int second = ((mixed_ids % 32) + 32) % 32;
    assert_true(mixed_ids < 0);
    assert_int_equal(second, 5);
    int third = 29;
    for (int row = 0; row < 33; row++)
        assert_int_equal(row_is_used(m, "bigram_emb.weight", row), row == 32 || row == second || row == third);
    int three = (961 * 3 + 31 * 60000 + 5) % 29;
    for (int row = 0; row < 29; row++)
        assert_int_equal(row_is_used(m, "trigram_emb.weight", row), row == 0 || row == three);
    model_destroy(m);
}

/* Neither factor of a hash embedding may start where both have no gradient. */
static void hashes_can_learn(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        model_config c = soft();
        c.init.projection = PROJECTION_ORTHOGONAL;
        c.stem.bigram_dim = i == 2 ? 64 : 16;
        c.init.hash = i == 1 ? HASH_ZERO_PROJECTION : HASH_ZERO_TABLE;
        model *m;
        int32_t ids[LENGTH];
        make_ids(ids, 2);
        assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN));
        assert_ok(model_init(m, 1));
        batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids};
        pass *p = make_pass(m);
        trained(p, &b);
        pass_destroy(p);
        double squares = 0;
        param *table = model_find(m, "bigram_emb.weight"), *proj = model_find(m, "bigram_proj.weight");
        assert_int_equal(proj == NULL, i == 2);
        m->k->add_squares(&squares, table->grad, param_count(table));
        if (proj) m->k->add_squares(&squares, proj->grad, param_count(proj));
        assert_true(squares > 0);
        model_destroy(m);
    }
}

/* ---- frozen random up-projections ---- */

static float *values_of(const model *m, const char *name, int64_t *count) {
    param *p = model_find(m, name);
    assert_non_null(p);
    *count = param_count(p);
    float *values = xmalloc(tensor_bytes(&p->value));
    tensor_read(m->k, &p->value, values);
    return values;
}

static double row_dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Blocks of 43, 43 and 42 rows of 64 × 64 matrices: the rows of each are orthonormal, those of different blocks are not. */
static void random_rows(void **state) {
    (void)state;
    model *m = make(randup());
    int64_t count;
    float *r = values_of(m, "blocks.0.mlp.fc.random_weight", &count), *other;
    assert_int_equal(count, 128 * 64);
    for (int i = 0; i < 43; i++)
        for (int j = 0; j <= i; j++) assert_float_equal(row_dot(r + i * 64, r + j * 64, 64), i == j, 1e-6);
    assert_float_equal(row_dot(r + 127 * 64, r + 127 * 64, 64), 1, 1e-6);
    assert_true(fabs(row_dot(r, r + 43 * 64, 64)) > 1e-3);
    other = values_of(m, "blocks.3.mlp.fc.random_weight", &count);
    assert_memory_not_equal(r, other, (size_t)count * sizeof *r);
    free(other);
    model_destroy(m);
    free(r);
}

/* Wide blocks: columns are orthonormal. */
static void random_columns(void **state) {
    (void)state;
    model_config c = randup();
    c.random_up.experts = 1;
    model *m = make(c);
    int64_t count;
    float *r = values_of(m, "blocks.3.mlp.fc.random_weight", &count);
    for (int i = 0; i < 64; i++) {
        for (int j = 0; j <= i; j++) {
            double dot = 0;
            for (int row = 0; row < 128; row++) dot += (double)r[row * 64 + i] * (double)r[row * 64 + j];
            assert_float_equal(dot, i == j, 1e-6);
        }
    }
    free(r);
    model_destroy(m);
}

/* The same bits for the same seed, and these bits: files that were written with them depend on it. */
static void random_bits(void **state) {
    (void)state;
    model_config c = randup();
    model *m = make(c);
    int64_t count;
    float *a = values_of(m, "blocks.0.mlp.fc.random_weight", &count);
    model_destroy(m);
    m = make(c);
    float *b = values_of(m, "blocks.0.mlp.fc.random_weight", &count);
    assert_memory_equal(a, b, (size_t)count * sizeof *a);
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < (size_t)count * sizeof *a; i++) hash = (hash ^ ((unsigned char *)a)[i]) * 0x100000001b3u;
    assert_int_equal(hash, 0xd596c62795a029e0);
    model_destroy(m);
    free(b);
    c.random_up.seed = 1;
    m = make(c);
    b = values_of(m, "blocks.0.mlp.fc.random_weight", &count);
    assert_memory_not_equal(a, b, (size_t)count * sizeof *a);
    model_destroy(m);
    free(a);
    free(b);
}

static void random_is_frozen(void **state) {
    (void)state;
    model *m = make(randup());
    param *p = model_find(m, "blocks.0.mlp.fc.random_weight");
    assert_null(p->grad);
    assert_true(p->derived);
    bool layers[MODEL_MAX_LAYERS] = {[3] = true};
    assert_fails(model_upcycle(m, layers, 2, 1, 5, NULL, NULL), "random up-projection");
    model_destroy(m);
}

/* ---- mixtures ---- */

/* Biases move towards balance by exactly one step a call. */
static void balancing_without_a_loss(void **state) {
    (void)state;
    model_config c = standard();
    c.moe.bias_rate = 0.125f, c.moe.top_k = 1;
    model *m = make(c);
    param *bias = model_find(m, "blocks.2.mlp.router_bias");
    assert_null(bias->grad);
    assert_false(bias->derived);
    float zero[4] = {0}, values[4];
    tensor_write(m->k, &bias->value, zero);
    int32_t ids[LENGTH];
    make_ids(ids, 2);
    batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids};
    pass *p = make_pass(m);
    pass_clear(p);
    model_balance_experts(m, pass_read(p)); /* no load, no step */
    tensor_read(m->k, &bias->value, values);
    for (int e = 0; e < 4; e++) assert_true(values[e] == 0);
    const pass_statistics *found = trained(p, &b);
    model_balance_experts(m, found);
    tensor_read(m->k, &bias->value, values);
    const routing_entry *router = &found->routing[0];
    assert_int_equal(router->layer, 2);
    for (int e = 0; e < 4; e++) {
        const double share = router->share[e];
        assert_true(values[e] == (float)(share > 0.25 ? -0.125 : share < 0.25 ? 0.125 : 0));
    }
    pass_destroy(p);
    model_destroy(m);
}

/* Over many steps the bias makes a skewed router's load even, without touching the router. */
static void bias_reaches_balance(void **state) {
    (void)state;
    model_config c = standard();
    c.moe.bias_rate = 0.02f, c.moe.top_k = 1, c.moe.start_layer = 4, c.moe.aux_weight = 0;
    model *m = make(c);
    int32_t ids[8 * LENGTH];
    for (int row = 0; row < 8; row++) make_ids(ids + row * LENGTH, 10 + (uint64_t)row);
    batch b = {.batch = 8, .length = LENGTH, .input_ids = ids, .target_ids = ids};
    pass *p = make_pass(m);
    double before = 0, after = 0;
    for (int step = 0; step < 60; step++) {
        const pass_statistics *found = trained(p, &b);
        double most = 0;
        for (int e = 0; e < 4; e++) most = fmax(most, found->routing[0].share[e]);
        if (step == 0) before = most;
        after = most;
        model_balance_experts(m, found);
    }
    assert_true(before > 0.33);
    assert_true(after < before && after < 0.33);
    pass_destroy(p);
    model_destroy(m);
}

static void another_top_k(void **state) {
    (void)state;
    model *m = make(standard());
    int32_t ids[LENGTH];
    float two[LENGTH * VOCAB], one[LENGTH * VOCAB], again[LENGTH * VOCAB];
    make_ids(ids, 2);
    logits_of(m, ids, NULL, two);
    assert_ok(model_set_top_k(m, 1));
    logits_of(m, ids, NULL, one);
    assert_memory_not_equal(one, two, sizeof one);
    assert_fails(model_set_top_k(m, 5), "moe_top_k: expected at most moe_num_experts 4, found 5");
    assert_ok(model_set_top_k(m, 2));
    logits_of(m, ids, NULL, again);
    assert_memory_equal(again, two, sizeof two);
    model_destroy(m);
}

/* The same batch gives the same noise, whatever was run before: a resumed run continues to the bit. */
static void noise_needs_no_state(void **state) {
    (void)state;
    model_config c = standard();
    c.moe.noise_std = 1;
    model *m = make(c);
    int32_t ids[LENGTH], others[LENGTH];
    make_ids(ids, 2);
    make_ids(others, 3);
    batch a = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids}, b = a;
    b.input_ids = others;
    pass *p = make_pass(m);
    const pass_statistics first = *trained(p, &a);
    trained(p, &b);
    const pass_statistics again = *trained(p, &a), quiet = *evaluated(p, &a);
    pass_destroy(p);
    assert_true(first.ce == again.ce && first.aux == again.aux);
    assert_true(first.aux != quiet.aux);
    model_destroy(m);
}

/* #480 averages its balance loss over the layers, #660 sums it. */
static void mean_and_sum(void **state) {
    (void)state;
    model_config c = soft();
    int32_t ids[LENGTH];
    make_ids(ids, 2);
    batch b = {.batch = 1, .length = LENGTH, .input_ids = ids, .target_ids = ids};
    double aux[2];
    for (int i = 0; i < 2; i++) {
        c.moe.aux_mean = i == 0;
        model *m = make(c);
        pass *p = make_pass(m);
        aux[i] = evaluated(p, &b)->aux;
        pass_destroy(p);
        model_destroy(m);
    }
    assert_float_equal(aux[1], 5 * aux[0], 1e-6);
    assert_true(aux[0] >= 0.01 * 0.99);
}

/* Upcycled layers get a selection bias where the config has them, and copies of the MLP. */
static void upcycling_with_a_bias(void **state) {
    (void)state;
    model_config c = plain();
    c.moe.bias_rate = 0.001f;
    model *m = make(c);
    bool layers[MODEL_MAX_LAYERS] = {[1] = true};
    assert_ok(model_upcycle(m, layers, 3, 2, 5, NULL, NULL));
    assert_non_null(model_find(m, "blocks.1.mlp.experts_proj.2.weight"));
    assert_non_null(model_find(m, "blocks.1.mlp.router_bias"));
    assert_null(model_find(m, "blocks.1.mlp.fc.weight"));
    int32_t ids[LENGTH];
    float logits[LENGTH * VOCAB];
    make_ids(ids, 2);
    logits_of(m, ids, NULL, logits);
    model_destroy(m);
    c = standard();
    m = make(c);
    assert_fails(model_upcycle(m, layers, 3, 1, 5, NULL, NULL), "already has 4 experts");
    model_destroy(m);
    c = shared_routed();
    m = make(c);
    assert_fails(model_upcycle(m, layers, 4, 1, 5, NULL, NULL), "copies of the MLP");
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_equals_forward),
        cmocka_unit_test(documents_are_separate),
        cmocka_unit_test(causal),
        cmocka_unit_test(losses_fall),
        cmocka_unit_test(hashes_by_hand),
        cmocka_unit_test(hashes_can_learn),
        cmocka_unit_test(random_rows),
        cmocka_unit_test(random_columns),
        cmocka_unit_test(random_bits),
        cmocka_unit_test(random_is_frozen),
        cmocka_unit_test(balancing_without_a_loss),
        cmocka_unit_test(bias_reaches_balance),
        cmocka_unit_test(another_top_k),
        cmocka_unit_test(noise_needs_no_state),
        cmocka_unit_test(mean_and_sum),
        cmocka_unit_test(upcycling_with_a_bias),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

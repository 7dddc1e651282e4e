/* Magnitude pruning: how many weights of which matrices, and that they are exactly 0 in the artifact. */
#include "test.h"

#include "base/random.h"
#include "nn/specs.h"
#include "quant/prune.h"
#include "quant/quantize.h"
#include "store/artifact.h"
#include <math.h>

static int by_size(const void *a, const void *b) {
    const float x = fabsf(*(const float *)a), y = fabsf(*(const float *)b);
    return (x > y) - (x < y);
}

/* Exactly ⌊fraction · count⌋, and none that stays is smaller than one that goes. */
static void check_mask(const float *w, int64_t count, double fraction) {
    uint8_t *mask;
    const int64_t target = (int64_t)(fraction * (double)count);
    assert_int_equal(prune_smallest(&mask, w, count, fraction), target);
    float *sorted = xmalloc((size_t)count * sizeof *sorted);
    memcpy(sorted, w, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_size);
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++) {
        found += mask[i];
        if (mask[i]) assert_true(fabsf(w[i]) <= fabsf(sorted[target - 1]));
        if (!mask[i] && target > 0) assert_true(fabsf(w[i]) >= fabsf(sorted[target - 1]));
    }
    assert_int_equal(found, target);
    free(sorted);
    free(mask);
}

static void the_smallest_go(void **state) {
    (void)state;
    enum { COUNT = 5000 };
    float *w = xmalloc(COUNT * sizeof *w);
    rng r = rng_seed(3);
    rng_normal(&r, w, COUNT, 0.05f);
    for (double fraction = 0; fraction < 0.99; fraction += 0.07) check_mask(w, COUNT, fraction);
    for (int i = 0; i < COUNT; i++) w[i] = (float)(i % 5 - 2) * 0.125f; /* many are equal */
    for (double fraction = 0; fraction < 0.99; fraction += 0.07) check_mask(w, COUNT, fraction);
    uint8_t *mask;
    assert_int_equal(prune_smallest(&mask, (float[4]){-0.5f, 0.25f, -0.25f, 0.25f}, 4, 0.5), 2);
    assert_memory_equal(mask, ((uint8_t[4]){0, 1, 1, 0}), 4); /* the earlier one of equals */
    free(mask);
    free(w);
}

/* Pruning inside GPTQ beats zeroing first: the weights that stay make up for those that go. */
static void gptq_makes_up_for_it(void **state) {
    (void)state;
    enum { ROWS = 24, COLS = 96, SAMPLES = 300 };
    float *w = xmalloc(ROWS * COLS * sizeof *w), *zeroed = xmalloc(ROWS * COLS * sizeof *w);
    float *h = xcalloc(COLS * COLS, sizeof *h), *x = xmalloc(COLS * sizeof *x), *out = xmalloc(ROWS * COLS * sizeof *w);
    rng r = rng_seed(4);
    rng_normal(&r, w, ROWS * COLS, 0.1f);
    for (int n = 0; n < SAMPLES; n++) {
        rng_normal(&r, x, COLS, 1);
        for (int c = 1; c < COLS; c++) x[c] = 0.8f * x[c - 1] + 0.6f * x[c]; /* neighbours are alike */
        for (int i = 0; i < COLS; i++)
            for (int j = 0; j < COLS; j++) h[i * COLS + j] += x[i] * x[j];
    }
    uint8_t *mask;
    prune_smallest(&mask, w, ROWS * COLS, 0.4);
    for (int i = 0; i < ROWS * COLS; i++) zeroed[i] = mask[i] ? 0 : w[i];
    quantized inside, before;
    assert_ok(quantize_gptq(&inside, w, h, ROWS, COLS, &(grid_options){.bits = 6, .pruned = mask}, 0.01));
    assert_ok(quantize_gptq(&before, zeroed, h, ROWS, COLS, &(grid_options){.bits = 6, .pruned = mask}, 0.01));
    for (int i = 0; i < ROWS * COLS; i++)
        if (mask[i]) assert_int_equal(inside.q[i], 0);
    quantized_expand(&inside, out);
    const double error = hessian_error(w, out, h, ROWS, COLS);
    quantized_expand(&before, out);
    assert_true(error < 0.6 * hessian_error(w, out, h, ROWS, COLS));
    quantized_free(&inside);
    quantized_free(&before);
    free(mask);
    free(out);
    free(x);
    free(h);
    free(zeroed);
    free(w);
}

/* ---- a whole artifact ---- */

enum { BATCH = 2, LENGTH = 24, VOCAB = 96 };

/* Experts with a shared one, a random up-projection with its correction, both hashes, an untied head. */
static model *every_kind(void) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB;
    c.num_layers = 3;
    c.model_dim = 32;
    c.attention.heads = 2;
    c.attention.kv_heads = 1;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.residual.parallel_start_layer = 3;
    c.stem.bigram_buckets = 64;
    c.stem.bigram_dim = 8;
    c.loop.extra_passes = 0;
    c.head.tied = false;
    c.moe.layers[1] = true;
    c.moe.shared_mult = 1;
    c.random_up.layers[2] = true;
    c.random_up.experts = 2;
    c.random_up.rank = 4;
    model *m;
    assert_ok(model_create(&m, &c, kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(model_init(m, 7));
    for (int i = 0; i < m->param_count; i++) { /* nothing stays zero */
        param *p = m->params[i];
        if (p->derived) continue;
        float *w = xmalloc(tensor_bytes(&p->value));
        rng r = rng_named(5, p->name);
        rng_normal(&r, w, (size_t)param_count(p), 0.1f);
        tensor_write(m->k, &p->value, w);
        free(w);
    }
    assert_ok(model_refresh(m));
    return m;
}

static hessians *calibrated(pass *p) {
    hessians *h = hessians_create(p, HESSIANS_MEMORY);
    int32_t ids[BATCH * LENGTH];
    rng r = rng_seed(1);
    for (int n = 0; n < 4; n++) {
        for (int i = 0; i < BATCH * LENGTH; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
        batch b = {.batch = BATCH, .length = LENGTH, .input_ids = ids};
        hessians_add(h, &b);
    }
    return h;
}

static model *packed(const model *m, hessians *h, const pack_options *o, const char *path, pack_report *r) {
    model *back;
    assert_ok(artifact_write(path, m, NULL, o->quant.gptq ? h : NULL, o, r));
    assert_ok(artifact_read(path, m->k, MODEL_VALUES, &back, NULL, NULL));
    return back;
}

static float *values(const model *m, int i) {
    float *w = xmalloc(tensor_bytes(&m->params[i]->value));
    tensor_read(m->k, &m->params[i]->value, w);
    return w;
}

/* What must be pruned, by name; everything else has to come back as it would without pruning. */
static bool in_a_block(const char *name) {
    static const char *const parts[] = {".c_q.",      ".c_k.",      ".c_v.",        ".proj.",
                                        ".fc.weight", "experts_fc", "experts_proj", ".shared"};
    if (strncmp(name, "blocks.", 7) != 0 || strstr(name, "adapter")) return false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(name, parts[i])) return true;
    return false;
}

static void check_artifact(bool gptq, double fraction) {
    char *folder = scratch_create(), *path = path_join(folder, "model.moec");
    model *m = every_kind();
    pass *p;
    assert_ok(pass_create(&p, m));
    hessians *h = calibrated(p);
    pack_options o = pack_options_default();
    o.context_tokens = 8;
    pack_report r;
    o.quant.gptq = gptq;
    model *whole = packed(m, h, &o, path, &r);
    assert_int_equal(r.pruned, 0);
    const int64_t bytes = r.artifact_bytes;
    o.quant.prune_fraction = fraction;
    model *pruned = packed(m, h, &o, path, &r);
    assert_true(r.artifact_bytes < bytes);
    int64_t total = 0;
    int spared = 0, concerned = 0;
    for (int i = 0; i < m->param_count; i++) {
        const param *p = m->params[i];
        const int64_t count = param_count(p);
        float *w = values(m, i), *a = values(whole, i), *b = values(pruned, i);
        assert_int_equal(prune_concerns(p), in_a_block(p->name));
        if (in_a_block(p->name)) {
            uint8_t *mask;
            const int64_t gone = prune_smallest(&mask, w, count, fraction);
            assert_int_equal(gone, (int64_t)(fraction * (double)count));
            for (int64_t n = 0; n < count; n++)
                if (mask[n]) assert_true(b[n] == 0);
            total += gone;
            concerned++;
            free(mask);
        } else {
            assert_memory_equal(a, b, (size_t)count * sizeof *a);
            spared += strstr(p->name, "router") || strstr(p->name, "emb") || strstr(p->name, "head");
        }
        free(w);
        free(a);
        free(b);
    }
    assert_int_equal(r.pruned, total);
    assert_true(concerned > 10 && spared >= 5);
    model_destroy(pruned);
    model_destroy(whole);
    hessians_destroy(h);
    pass_destroy(p);
    model_destroy(m);
    free(path);
    scratch_remove(folder);
}

static void an_artifact_has_exact_zeros(void **state) {
    (void)state;
    check_artifact(true, 0.3);
    check_artifact(false, 0.3);
    check_artifact(true, 0.55);
}

static void a_fraction_that_cannot_be(void **state) {
    (void)state;
    model *m = every_kind();
    pack_options o = pack_options_default();
    o.context_tokens = 8;
    o.quant.gptq = false;
    const double fractions[] = {-0.1, 1, NAN};
    for (int i = 0; i < 3; i++) {
        o.quant.prune_fraction = fractions[i];
        assert_fails(artifact_write("/nowhere", m, NULL, NULL, &o, NULL), "prune_fraction: expected a number from 0");
    }
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_smallest_go), cmocka_unit_test(gptq_makes_up_for_it),
                                       cmocka_unit_test(an_artifact_has_exact_zeros),
                                       cmocka_unit_test(a_fraction_that_cannot_be)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

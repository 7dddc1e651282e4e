/* Keys and values kept in fewer bits: near the exact ones, the same however they came to be there, and as small as said. */
#include "disturb.h"

#include "base/random.h"
#include "nn/pass.h"
#include <math.h>

enum { VOCAB = 70, CAPACITY = 48, TOKENS = 30, LAYERS = 3, HEADS = 4, KV_HEADS = 2, DIM = 48, HEAD_DIM = DIM / HEADS };

static model *make(dtype type) {
    model_config c = model_config_default();
    model *m;
    c.vocab_size = VOCAB;
    c.num_layers = LAYERS;
    c.model_dim = DIM;
    c.attention.heads = HEADS;
    c.attention.kv_heads = KV_HEADS;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.residual.parallel_start_layer = LAYERS;
    c.residual.smear_width = 6;
    c.loop.first = c.loop.last = 1;
    c.loop.on = false;
    assert_ok(model_create(&m, &c, kernels_for(type), MODEL_VALUES));
    assert_ok(model_init(m, 5));
    disturb(m, 3, 0.2f);
    return m;
}

static void make_ids(int32_t ids[TOKENS]) {
    rng r = rng_seed(8);
    for (int i = 0; i < TOKENS; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
}

static void decode(pass *p, kv_cache *c, int sequence, const int32_t *ids, int count, float *logits) {
    const decode_span span = {.sequence = sequence, .count = count, .logits = 1};
    assert_ok(pass_decode_spans(p, c, &span, 1, ids, logits));
}

/* A prompt of 20, then token by token; the logits behind each of the last tokens. */
static void write(pass *p, kv_cache *c, const int32_t *ids, float logits[][VOCAB]) {
    decode(p, c, 0, ids, 20, logits[0]);
    for (int i = 20; i < TOKENS; i++) decode(p, c, 0, ids + i, 1, logits[i - 19]);
}

static double distance(const float *a, const float *b, int count) {
    double away = 0, size = 0;
    for (int i = 0; i < count; i++) {
        away += (double)(a[i] - b[i]) * (a[i] - b[i]);
        size += (double)a[i] * a[i];
    }
    return sqrt(away / size);
}

static void near_the_exact_ones(void **state) {
    (void)state;
    static float exact[TOKENS - 19][VOCAB], found[TOKENS - 19][VOCAB];
    static const double most[] = {[CACHE_ACT] = 0, [CACHE_BF16] = 0.01, [CACHE_INT8] = 0.02};
    int32_t ids[TOKENS];
    model *m = make(DTYPE_F32);
    pass *p;
    kv_cache *c;
    make_ids(ids);
    assert_ok(pass_create(&p, m));
    for (int type = CACHE_ACT; type <= CACHE_INT8; type++) {
        m->cache = (cache_type)type;
        assert_ok(kv_cache_create(&c, m, 1, CAPACITY));
        write(p, c, ids, type == CACHE_ACT ? exact : found);
        kv_cache_destroy(c);
        if (type == CACHE_ACT) continue;
        const double away = distance(exact[0], found[0], (TOKENS - 19) * VOCAB);
        if (!(away > 1e-6 && away < most[type])) fail_msg("type %d: %g away", type, away);
    }
    pass_destroy(p);
    model_destroy(m);
}

/* Copied to another sequence, or cut and written again, in the same pieces: the same bits. */
static void the_same_however_they_came(void **state) {
    (void)state;
    int32_t ids[TOKENS];
    float first[VOCAB], again[VOCAB], other[VOCAB];
    make_ids(ids);
    for (int t = 0; t < 2; t++) {
        if (t && !kernels_for(DTYPE_BF16)) continue;
        model *m = make(t ? DTYPE_BF16 : DTYPE_F32);
        pass *p;
        assert_ok(pass_create(&p, m));
        for (int type = CACHE_ACT; type <= CACHE_INT8; type++) {
            kv_cache *c;
            m->cache = (cache_type)type;
            assert_ok(kv_cache_create(&c, m, 3, CAPACITY));
            decode(p, c, 0, ids, 20, first);
            kv_cache_copy(c, 2, 0, 17);
            decode(p, c, 0, ids + 20, 1, first);
            decode(p, c, 0, ids + 21, 3, first);
            kv_cache_cut(c, 0, 20);
            decode(p, c, 0, ids + 20, 1, again);
            decode(p, c, 0, ids + 21, 3, again);
            assert_memory_equal(first, again, sizeof first);
            decode(p, c, 1, ids, 20, other);
            kv_cache_copy(c, 2, 1, 20);
            decode(p, c, 2, ids + 20, 1, other);
            decode(p, c, 2, ids + 21, 3, other);
            assert_memory_equal(first, other, sizeof first);
            kv_cache_destroy(c);
        }
        pass_destroy(p);
        model_destroy(m);
    }
}

static void as_small_as_said(void **state) {
    (void)state;
    for (int t = 0; t < 2; t++) {
        if (t && !kernels_for(DTYPE_BF16)) continue;
        const int64_t act = t ? 2 : 4, width = KV_HEADS * HEAD_DIM, rows = 2 * LAYERS;
        const int64_t numbers[] = {act * width, 2 * width, width + 4 * KV_HEADS};
        model *m = make(t ? DTYPE_BF16 : DTYPE_F32);
        int64_t whole = 0;
        for (int type = CACHE_ACT; type <= CACHE_INT8; type++) {
            kv_cache *c;
            m->cache = (cache_type)type;
            assert_ok(kv_cache_create(&c, m, 1, 8));
            if (type == CACHE_ACT) whole = kv_cache_token_bytes(c);
            assert_int_equal(kv_cache_token_bytes(c), whole - rows * (numbers[CACHE_ACT] - numbers[type]));
            kv_cache_destroy(c);
        }
        model_destroy(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_the_exact_ones),
        cmocka_unit_test(the_same_however_they_came),
        cmocka_unit_test(as_small_as_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

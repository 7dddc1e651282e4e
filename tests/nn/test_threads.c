/* Several threads at once: one model by two passes, two models, generating and training beside each other. Each must find
 * what it finds alone. Under ThreadSanitizer (./run tsan) it also shows that nothing is shared that must not be. */
#include "test.h"

#include "base/random.h"
#include "nn/pass.h"
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

enum { VOCAB = 80, LENGTH = 24, ROUNDS = 6, THREADS = 4 };

/* Rotary tables, experts, hashes, a looped layer: everything that keeps something somewhere. */
static model *make(uint64_t seed, int dims) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB;
    c.num_layers = 4;
    c.model_dim = 64;
    c.attention.heads = 4;
    c.attention.kv_heads = 2;
    c.mlp.mult = 2;
    c.rotary.dims = dims;
    c.residual.parallel_start_layer = 3;
    c.stem.bigram_buckets = 32;
    c.stem.bigram_dim = 16;
    c.loop.extra_passes = 1;
    c.loop.first = 1;
    c.loop.last = 2;
    c.loop.on = true;
    c.moe.layers[1] = true;
    c.init.projection = PROJECTION_ORTHOGONAL;
    model *m;
    assert_ok(model_create(&m, &c, kernels_for(kernels_best_act()), MODEL_TRAIN));
    assert_ok(model_init(m, seed));
    return m;
}

/* One thread's work: its sequences in rounds of growing length, so that caches grow while others read them. */
typedef struct work {
    model *m;
    bool trains, decodes;
    int32_t ids[LENGTH + 1];
    double ce[ROUNDS];   /* of each round */
    float logits[VOCAB]; /* of the last token */
    status result;
} work;

static status run_round(work *w, pass *p, int round) {
    const int64_t length = LENGTH * (round + 1) / ROUNDS;
    const batch b = {.batch = 1, .length = length, .input_ids = w->ids, .target_ids = w->ids + 1};
    pass_clear(p);
    if (w->trains) model_zero_grad(w->m);
    TRY(w->trains ? pass_train(p, &b, 1) : pass_evaluate(p, &b, NULL));
    w->ce[round] = pass_read(p)->ce;
    return STATUS_OK;
}

static status decode(work *w, pass *p) {
    kv_cache *cache;
    TRY(kv_cache_create(&cache, w->m, 1, LENGTH));
    status s = pass_decode(p, cache, w->ids, 5, w->logits);
    for (int t = 5; t < LENGTH && s == STATUS_OK; t++) s = pass_decode(p, cache, w->ids + t, 1, w->logits);
    kv_cache_destroy(cache);
    return s;
}

static void *run(void *context) {
    work *w = context;
    pass *p = NULL;
    w->result = pass_create(&p, w->m);
    for (int round = 0; round < ROUNDS && w->result == STATUS_OK; round++) w->result = run_round(w, p, round);
    if (w->decodes && w->result == STATUS_OK) w->result = decode(w, p);
    pass_destroy(p);
    return NULL;
}

static work prepare(model *m, uint64_t seed, bool trains, bool decodes) {
    work w = {.m = m, .trains = trains, .decodes = decodes};
    rng r = rng_seed(seed);
    for (int i = 0; i <= LENGTH; i++) w.ids[i] = (int32_t)rng_below(&r, VOCAB);
    return w;
}

static void run_beside(const work *work_to_do, int count) {
    work beside[THREADS], alone[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < count; i++) beside[i] = alone[i] = work_to_do[i];
    for (int i = 0; i < count; i++) assert_int_equal(pthread_create(&threads[i], NULL, run, &beside[i]), 0);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < count; i++) {
        run(&alone[i]);
        assert_int_equal(beside[i].result, STATUS_OK);
        assert_memory_equal(beside[i].ce, alone[i].ce, sizeof alone[i].ce);
        if (alone[i].decodes) assert_memory_equal(beside[i].logits, alone[i].logits, sizeof alone[i].logits);
    }
}

/* The first products make the packed forms that all threads read. */
static void one_model(void **state) {
    (void)state;
    model *m = make(1, 8);
    const work all[] = {prepare(m, 1, false, true), prepare(m, 2, false, true), prepare(m, 3, false, true),
                        prepare(m, 4, true, false)};
    run_beside(all, 4);
    model_destroy(m);
}

static void several_models(void **state) {
    (void)state;
    model *a = make(1, 8), *b = make(2, 16), *c = make(3, 0);
    const work all[] = {prepare(a, 1, true, true), prepare(b, 2, true, true), prepare(c, 3, false, true)};
    run_beside(all, 3);
    model_destroy(a);
    model_destroy(b);
    model_destroy(c);
}

/* A model without values of its own, as generating has it: what products read, made by whoever comes first. */
static void a_model_that_is_only_run(void **state) {
    (void)state;
    model *values = make(1, 8), *m;
    assert_ok(model_create(&m, &values->config, values->k, MODEL_RUN));
    for (int i = 0; i < m->param_count; i++) {
        float *w = xmalloc(tensor_bytes(&m->params[i]->value));
        assert_ok(param_get(values->params[i], m->k, w));
        assert_ok(param_set(m->params[i], m->k, w));
        free(w);
    }
    const work all[] = {prepare(m, 1, false, true), prepare(m, 2, false, true), prepare(m, 3, false, true)};
    run_beside(all, 3);
    model_destroy(values);
    model_destroy(m);
}

static size_t bytes_in_use(void) {
    const struct mallinfo2 now = mallinfo2();
    return now.uordblks + now.hblkhd;
}

/* What kernels keep for a thread goes with it: a program that makes a thread for each request does not grow. OpenMP's own threads
 * end a little after the one that they worked for. */
static void ended_threads_leave_nothing(void **state) {
    (void)state;
    model *m = make(1, 8);
    size_t before = 0;
    for (int i = 0; i < 24; i++) {
        work w = prepare(m, 1, true, false);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, run, &w), 0);
        pthread_join(thread, NULL);
        assert_int_equal(w.result, STATUS_OK);
        if (i == 3) before = bytes_in_use();
    }
    for (int wait = 0; wait < 500 && bytes_in_use() > before + (256 << 10); wait++) usleep(10000);
    assert_true(bytes_in_use() <= before + (256 << 10));
    model_destroy(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_model),
        cmocka_unit_test(several_models),
        cmocka_unit_test(a_model_that_is_only_run),
        cmocka_unit_test(ended_threads_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Mixtures of which only some experts are in memory: the same bits as with all of them, whoever asks at the same time; what is counted; the
 * memory that it saves; files that fail in the middle. */
#include "foreign.h"
#include "letters_tokenizer.h"

#include "base/child.h"
#include "nn/hot_experts.h"
#include "store/artifact.h"
#include "store/checkpoint_alone.h"
#include "store/open.h"
#include <malloc.h>
#include <pthread.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

enum { STEPS = 6 };
static const model_use uses[] = {MODEL_RUN, MODEL_RUN_8, (model_use)(MODEL_RUN_4 | MODEL_RUN_INPUTS_8)};
enum { USES = sizeof uses / sizeof *uses };

static model *load_all(const weight_source *w, model_use use) {
    model *m;
    assert_ok(model_create(&m, &w->config, kernels_for(DTYPE_F32), use));
    assert_ok(weight_source_fill(w, m));
    return m;
}

static model *load_hot(const weight_source *w, model_use use, int most) {
    model *m;
    assert_ok(model_create_hot(&m, w, kernels_for(DTYPE_F32), use, most));
    return m;
}

/* Two prompts in one pass, and some tokens behind them. */
static status write(model *m, float logits[][2 * VOCAB]) {
    int32_t ids[2 * LENGTH];
    rng r = rng_seed(9);
    pass *p;
    kv_cache *c;
    for (int i = 0; i < 2 * LENGTH; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
    TRY(pass_create(&p, m));
    status s = kv_cache_create(&c, m, 2, LENGTH + STEPS);
    if (s == STATUS_OK) s = pass_decode(p, c, ids, LENGTH, logits[0]);
    for (int i = 1; i < STEPS && s == STATUS_OK; i++) s = pass_decode(p, c, ids + 2 * i, 1, logits[i]);
    kv_cache_destroy(c);
    pass_destroy(p);
    return s;
}

static void the_same_bits(void **state) {
    (void)state;
    model_config (*const makes[])(void) = {mixtral, qwen2_moe, qwen3_moe};
    static float expected[STEPS][2 * VOCAB], found[STEPS][2 * VOCAB];
    for (int i = 0; i < 3; i++)
        for (int u = 0; u < USES; u++) {
            model_config c = makes[i]();
            c.moe.layers[1] = false; /* a dense layer between them */
            model *values = random_model(&c);
            const weight_source w = weight_source_of(values);
            model *all = load_all(&w, uses[u]);
            assert_ok(write(all, expected));
            for (int most = 1; most <= c.moe.experts + 1; most++) {
                hot_experts_statistics n;
                model *hot = load_hot(&w, uses[u], most);
                assert_ok(write(hot, found));
                assert_memory_equal(expected, found, sizeof expected);
                hot_experts_read(hot, &n);
                assert_int_equal(n.most, most < c.moe.experts ? most : c.moe.experts);
                assert_true(n.misses > 0);
                if (most >= c.moe.experts) assert_true(n.misses <= 2 * c.moe.experts && n.hits > 0);
                if (most == 1) assert_true(n.misses > 2 * c.moe.experts);
                model_destroy(hot);
            }
            model_destroy(all);
            model_destroy(values);
        }
}

/* Soft gates: every token goes to every expert. */
static void soft_gates(void **state) {
    (void)state;
    static float expected[LENGTH * VOCAB], found[LENGTH * VOCAB];
    model_config c = mixture(base(), 4, 1, GATE_SOFT);
    model *values = random_model(&c);
    const weight_source w = weight_source_of(values);
    model *all = load_all(&w, MODEL_RUN), *hot = load_hot(&w, MODEL_RUN, 2);
    logits_of(all, expected);
    logits_of(hot, found);
    assert_memory_equal(expected, found, sizeof expected);
    model_destroy(all);
    model_destroy(hot);
    model_destroy(values);
}

typedef struct work {
    model *m;
    float logits[STEPS][2 * VOCAB];
    status result;
} work;

static void *run(void *context) {
    work *w = context;
    for (int i = 0; i < 3 && w->result == STATUS_OK; i++) w->result = write(w->m, w->logits);
    return NULL;
}

static void several_passes(void **state) {
    (void)state;
    enum { THREADS = 3 };
    static work works[THREADS];
    static float expected[STEPS][2 * VOCAB];
    pthread_t threads[THREADS];
    const model_config c = mixtral();
    model *values = random_model(&c);
    const weight_source w = weight_source_of(values);
    model *hot = load_hot(&w, MODEL_RUN_8, 2);
    assert_ok(write(hot, expected));
    for (int i = 0; i < THREADS; i++) {
        works[i] = (work){.m = hot};
        assert_int_equal(pthread_create(&threads[i], NULL, run, &works[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_ok(works[i].result);
        assert_memory_equal(expected, works[i].logits, sizeof expected);
    }
    model_destroy(hot);
    model_destroy(values);
}

/* ---- sources that fail ---- */

typedef struct failing {
    weight_source inner;
    bool fails;
} failing;

static status read_or_fail(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const failing *f = context;
    if (f->fails && spec->expert == 1) return fail("the disk is gone");
    return f->inner.read(f->inner.context, spec, first, rows, out);
}

static void a_failure_is_one_pass(void **state) {
    (void)state;
    static float expected[STEPS][2 * VOCAB], found[STEPS][2 * VOCAB];
    const model_config c = mixtral();
    model *values = random_model(&c);
    failing f = {.inner = weight_source_of(values)};
    const weight_source w = {.config = c, .read = read_or_fail, .context = &f};
    model *hot = load_hot(&w, MODEL_RUN_8, 2);
    assert_ok(write(hot, expected));
    f.fails = true;
    assert_fails(write(hot, found), "the disk is gone");
    f.fails = false;
    assert_ok(write(hot, found));
    assert_memory_equal(expected, found, sizeof expected);
    model_destroy(hot);
    const model_config d = llama();
    model *dense = random_model(&d), *none;
    const weight_source plain = weight_source_of(dense);
    assert_fails(model_create_hot(&none, &plain, kernels_for(DTYPE_F32), MODEL_RUN, 2), "found a dense one");
    model_destroy(dense);
    model_destroy(values);
}

/* ---- memory that runs out ---- */

typedef struct decoding {
    pass *p;
    kv_cache *c;
    float *logits;
} decoding;

static status decode(void *context) {
    const decoding *d = context;
    static const int32_t ids[2 * LENGTH];
    return pass_decode(d->p, d->c, ids, LENGTH, d->logits);
}

/* What a call that gives up holds stays allocated (base/memory.h): no leak to be told of. */
static status decode_with(const decoding *d, int64_t allocations) {
#ifdef __SANITIZE_ADDRESS__
    __lsan_disable();
#endif
    memory_fail_after(allocations);
    const status s = memory_guarded(decode, (void *)d);
    memory_fail_after(-1);
#ifdef __SANITIZE_ADDRESS__
    __lsan_enable();
#endif
    return s;
}

/* Wherever a pass gives up, the experts are there for the next one. */
static void memory_that_runs_out(void **state) {
    (void)state;
    static float expected[STEPS][2 * VOCAB], found[STEPS][2 * VOCAB];
    const model_config c = mixtral();
    model *values = random_model(&c);
    const weight_source w = weight_source_of(values);
    status s = STATUS_FAILED;
    int failures = 0;
    for (int64_t allocations = 0; s != STATUS_OK; allocations++) {
        model *hot = load_hot(&w, MODEL_RUN_8, 2); /* none is there: the first pass brings them */
        decoding d = {.logits = found[0]};
        if (failures == 0) assert_ok(write(hot, expected));
        assert_ok(pass_create(&d.p, hot));
        assert_ok(kv_cache_create(&d.c, hot, 2, LENGTH));
        s = decode_with(&d, allocations);
        kv_cache_destroy(d.c);
        pass_destroy(d.p);
        failures += s != STATUS_OK;
        assert_ok(write(hot, found));
        assert_memory_equal(expected, found, sizeof expected);
        model_destroy(hot);
    }
    assert_true(failures > 10);
    model_destroy(values);
}

/* ---- files ---- */

static void files(void **state) {
    static float expected[STEPS][2 * VOCAB], found[STEPS][2 * VOCAB];
    char *checkpoint = path_join(*state, "checkpoint"), *artifact = path_join(*state, "model.moec");
    const model_config c = mixtral();
    const kernels *k = kernels_for(DTYPE_F32);
    model *values = random_model(&c), *all, *hot;
    tokenizer *tok = letters_tokenizer(VOCAB), *read;
    pack_options pack = pack_options_default();
    pack_report report;
    int context;
    const weight_source w = weight_source_of(values);
    pack.quant.gptq = false;
    pack.context_tokens = 512;
    assert_ok(checkpoint_write_alone(checkpoint, &w, STORAGE_F32, tok, 512, NULL, NULL));
    assert_ok(artifact_write(artifact, values, tok, NULL, &pack, &report));
    assert_ok(open_model(checkpoint, k, "chosen", MODEL_RUN_8, &all, &read, NULL));
    assert_ok(write(all, expected));
    tokenizer_close(read);
    assert_ok(open_model_hot(checkpoint, k, "chosen", MODEL_RUN_8, 2, &hot, &read, &context));
    assert_int_equal(context, 512);
    assert_ok(folder_remove(checkpoint)); /* it holds what it reads */
    assert_ok(write(hot, found));
    assert_memory_equal(expected, found, sizeof expected);
    tokenizer_close(read);
    model_destroy(hot);
    model_destroy(all);
    assert_fails(open_model_hot(artifact, k, "chosen", MODEL_RUN_8, 2, &hot, &read, NULL), "found an artifact");
    assert_fails(open_model_hot("/nowhere/at/all", k, "chosen", MODEL_RUN_8, 2, &hot, &read, NULL), "/nowhere/at/all");
    model_destroy(values);
    tokenizer_close(tok);
    free(checkpoint);
    free(artifact);
}

/* ---- memory ---- */

enum { BIG_EXPERTS = 8 };
static model_config big(void) {
    model_config c = mixture(base(), BIG_EXPERTS, 2, GATE_NORMALIZED);
    c.num_layers = 2;
    c.residual.parallel_start_layer = 2;
    c.moe.layers[2] = false;
    c.model_dim = 512;
    c.moe.expert_hidden = 2304; /* of 8 bits and a scale for 32: 8 · 2 · 3 · 512 · 2304 · 1.0625 = 60 MB */
    return c;
}

typedef struct job {
    const char *path;
    int most; /* 0: all */
} job;

static status write_big(void *context, uint8_t **bytes, size_t *count) {
    const job *j = context;
    const model_config c = big();
    model *m = random_model(&c);
    const weight_source w = weight_source_of(m);
    *bytes = NULL;
    *count = 0;
    return checkpoint_write_alone(j->path, &w, STORAGE_BF16, letters_tokenizer(VOCAB), 512, NULL, NULL);
}

/* Bytes of the process behind a text that all experts took part in. */
static status measure(void *context, uint8_t **bytes, size_t *count) {
    const job *j = context;
    const kernels *k = kernels_for(DTYPE_F32);
    static float logits[STEPS][2 * VOCAB];
    tokenizer *tok;
    model *m;
    letters_tokenizer(VOCAB); /* its kind is known from then on */
    mallopt(M_MMAP_THRESHOLD, 1 << 16);
    TRY(j->most ? open_model_hot(j->path, k, "chosen", MODEL_RUN_8, j->most, &m, &tok, NULL)
                : open_model(j->path, k, "chosen", MODEL_RUN_8, &m, &tok, NULL));
    TRY(write(m, logits));
    int64_t *numbers = xmalloc(2 * sizeof *numbers);
    memory_trim();
    numbers[0] = (int64_t)memory_resident();
    numbers[1] = model_expert_bytes(m);
    *bytes = (uint8_t *)numbers;
    *count = 2 * sizeof *numbers;
    return STATUS_OK;
}

static void in_child(child_work work, job j, int64_t numbers[2]) {
    uint8_t *bytes;
    size_t count;
    assert_ok(child_run("hot", work, &j, &bytes, &count));
    if (numbers) memcpy(numbers, bytes, 2 * sizeof *numbers);
    free(bytes);
}

/* First of all tests: a process that has threads already is no place to fork from. */
static void the_others_take_no_memory(void **state) {
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    skip();
#endif
    char *path = path_join(*state, "big");
    int64_t all[2], hot[2];
    in_child(write_big, (job){.path = path}, NULL);
    in_child(measure, (job){.path = path}, all);
    in_child(measure, (job){.path = path, .most = 2}, hot);
    const double saved = (double)(all[0] - hot[0]), expected = (double)all[1] * (BIG_EXPERTS - 2) / BIG_EXPERTS;
    print_message("%.1f MB saved, %.1f MB expected\n", saved / 1e6, expected / 1e6);
    if (!(fabs(saved / expected - 1) < 0.05)) fail_msg("expected them to be within 5 %%");
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_others_take_no_memory, scratch_setup, scratch_teardown),
        cmocka_unit_test(the_same_bits),
        cmocka_unit_test(soft_gates),
        cmocka_unit_test(several_passes),
        cmocka_unit_test(a_failure_is_one_pass),
        cmocka_unit_test(memory_that_runs_out),
        cmocka_unit_test_setup_teardown(files, scratch_setup, scratch_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

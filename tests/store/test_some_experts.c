/* Models that are opened with some of their experts: what they compute, and that the memory of the others is not taken. */
#include "foreign.h"
#include "letters_tokenizer.h"

#include "base/child.h"
#include "eval/secretary.h"
#include "formats/gguf_write.h"
#include "formats/hf_write.h"
#include "nn/streamed.h"
#include "store/artifact.h"
#include "store/checkpoint_alone.h"
#include "store/open.h"
#include "store/source.h"
#include "surgery/kept_experts.h"
#include <malloc.h>

/* ---- one model in every format ---- */

enum { CHECKPOINT, FOLDER, GGUF, ARTIFACT, FORMATS };
static const char *const format_names[] = {"checkpoint", "folder", "model.gguf", "model.moec"};

static status write_as(int format, const char *path, const model *m, const tokenizer *tok) {
    const weight_source w = weight_source_of(m);
    const family *f = family_of_type(m->config.moe.shared_hidden > 0 ? "qwen2-moe" : "mixtral");
    const hf_write_options hf = {.family = f, .type = STORAGE_F32, .context_tokens = 512, .bos = -1, .eos = -1};
    const gguf_write_options gguf = {.family = f, .type = STORAGE_F32, .context_tokens = 512};
    const gguf_builder none = {0};
    pack_options pack = pack_options_default();
    pack_report report;
    pack.quant.gptq = false;
    pack.quant.bits = 8;
    pack.context_tokens = 512;
    switch (format) {
    case CHECKPOINT:
        return checkpoint_write_alone(path, &w, STORAGE_F32, tok, 512, NULL, NULL);
    case FOLDER:
        TRY(folder_create(path));
        return hf_write(path, &w, &hf);
    case GGUF:
        return gguf_write(path, &w, &none, &gguf);
    default:
        return artifact_write(path, m, tok, NULL, &pack, &report);
    }
}

/* chosen NULL: all. Folder and GGUF have no tokenizer here, which open_model would ask for. */
static status load(const char *path, int format, const kernels *k, const bool *chosen, model **m) {
    tokenizer *tok;
    if (format == CHECKPOINT || format == ARTIFACT) {
        TRY(chosen ? open_model_experts(path, k, "chosen", MODEL_RUN, chosen, m, &tok, NULL)
                   : open_model(path, k, "chosen", MODEL_RUN, m, &tok, NULL));
        tokenizer_close(tok);
        return STATUS_OK;
    }
    model_source *s;
    kept_experts kept;
    TRY(model_source_open(&s, path, "chosen"));
    const weight_source *w = model_source_weights(s);
    if (chosen) TRY(keep_experts(&kept, w, chosen));
    if (chosen) w = &kept.weights;
    TRY(model_create(m, &w->config, k, MODEL_RUN));
    TRY(weight_source_fill(w, *m));
    model_source_close(s);
    return STATUS_OK;
}

/* ---- what they compute ---- */

static void masked_logits(model *m, const bool *chosen, float *logits) {
    int32_t ids[LENGTH];
    rng r = rng_seed(9); /* logits_of's text */
    for (int i = 0; i < LENGTH; i++) ids[i] = (int32_t)rng_below(&r, VOCAB);
    const batch b = {.batch = 1, .length = LENGTH, .input_ids = ids};
    pass *p;
    assert_ok(pass_create(&p, m));
    assert_ok(pass_allow_experts(p, chosen, 1));
    assert_ok(pass_logits(p, &b, logits));
    pass_destroy(p);
}

/* Beside the same file opened whole: an artifact's weights are rounded. */
static void assert_masked(const char *path, int format, const bool *chosen, int count) {
    static float expected[LENGTH * VOCAB], found[LENGTH * VOCAB];
    const kernels *k = kernels_for(DTYPE_F32);
    model *whole, *some;
    assert_ok(load(path, format, k, NULL, &whole));
    assert_ok(load(path, format, k, chosen, &some));
    assert_int_equal(some->config.moe.experts, count);
    assert_int_equal(model_expert_bytes(whole) * count, model_expert_bytes(some) * whole->config.moe.experts);
    masked_logits(whole, chosen, expected);
    logits_of(some, found);
    const double away = difference(expected, found);
    if (!(away < 2e-5)) fail_msg("%s: logits differ by %g", path, away);
    model_destroy(whole);
    model_destroy(some);
}

static void some_experts_compute_the_masked_mixture(void **state) {
    tokenizer *tok = letters_tokenizer(VOCAB);
    for (int shared = 0; shared < 2; shared++)
        for (int format = 0; format < FORMATS; format++) {
            model_config c = shared ? qwen2_moe() : mixtral();
            if (!shared) labels_add(&c.moe.names, "a"), labels_add(&c.moe.names, "b");
            if (!shared) labels_add(&c.moe.names, "c"), labels_add(&c.moe.names, "d");
            const bool one[4] = {[2] = true}, three[4] = {true, false, true, true};
            char *path = xasprintf("%s/%d-%s", (char *)*state, shared, format_names[format]);
            model_config read;
            model *m = random_model(&c);
            assert_ok(write_as(format, path, m, tok));
            assert_masked(path, format, one, 1);
            assert_masked(path, format, three, 3);
            assert_ok(open_model_config(path, &read));
            assert_int_equal(read.moe.names.count, shared ? 0 : 4);
            assert_ok(config_same(&c, &read, path));
            model_destroy(m);
            free(path);
        }
    tokenizer_close(tok);
}

static void what_cannot_be_opened(void **state) {
    tokenizer *tok = letters_tokenizer(VOCAB), *unused;
    const kernels *k = kernels_for(DTYPE_F32);
    const bool none[4] = {false}, one[4] = {true};
    static const int formats[] = {CHECKPOINT, ARTIFACT};
    for (int i = 0; i < 2; i++) {
        char *path = path_join(*state, format_names[formats[i]]), *dense = xasprintf("%s-dense", path);
        const model_config c = mixtral(), d = llama();
        model *m = random_model(&c), *plain = random_model(&d), *opened;
        assert_ok(write_as(formats[i], path, m, tok));
        assert_ok(write_as(formats[i], dense, plain, tok));
        assert_fails(open_model_experts(path, k, "chosen", MODEL_RUN, none, &opened, &unused, NULL),
                     "at least one that is kept");
        assert_fails(open_model_experts(dense, k, "chosen", MODEL_RUN, one, &opened, &unused, NULL),
                     "-dense: expected");
        model_destroy(m);
        model_destroy(plain);
        free(path);
        free(dense);
    }
    model_config read;
    assert_fails(open_model_config("/nowhere/at/all", &read), "/nowhere/at/all: no such file or folder");
    tokenizer_close(tok);
}

/* ---- the secretary ---- */

/* The mean over tokens and routers, from what an observer sees; of a layer that loops the last pass. */
typedef struct seen {
    double sums[4];
    int64_t count;
    int layers[8];
} seen;
static void see(void *context, int layer, int pass, const moe_choice *choice) {
    seen *s = context;
    s->layers[layer]++;
    if (layer == 1 && pass == 0) return; /* it loops once */
    for (int64_t i = 0; i < choice->tokens * choice->experts; i++)
        s->sums[i % choice->experts] += (double)choice->probs[i];
    s->count += choice->tokens;
}

static void the_secretary_is_the_mean_of_the_routers(void **state) {
    (void)state;
    model_config c = mixtral();
    c.moe.layers[0] = false;
    c.loop = (loop_config){.extra_passes = 1, .first = 1, .last = 1, .on = true};
    model *m = random_model(&c);
    int32_t ids[LENGTH];
    double found[4], lone[4], halves[4], sum = 0;
    seen s = {0};
    pass *p;
    for (int i = 0; i < LENGTH; i++) ids[i] = i * 7 % VOCAB;
    const batch b = {.batch = 1, .length = LENGTH, .input_ids = ids};
    assert_ok(pass_create(&p, m));
    pass_watch_routing(p, see, &s);
    assert_ok(pass_observe(p, &b, -1));
    pass_watch_routing(p, NULL, NULL);
    assert_ok(secretary_ask(p, NULL, ids, LENGTH, 512, found));
    for (int e = 0; e < 4; e++) {
        assert_true(fabs(found[e] - s.sums[e] / (double)s.count) < 1e-12);
        sum += found[e];
    }
    assert_true(fabs(sum - 1) < 1e-6);
    assert_int_equal(s.layers[1], 2);

    /* Other layers, other answers; longer texts in sequences; streamed it is the same. */
    bool layers[MODEL_MAX_LAYERS] = {[1] = true};
    assert_ok(secretary_ask(p, layers, ids, LENGTH, 512, lone));
    assert_true(fabs(lone[0] - found[0]) > 1e-9);
    assert_ok(secretary_ask(p, NULL, ids, LENGTH, LENGTH / 2, halves));
    assert_true(fabs(halves[0] - found[0]) > 1e-9);
    /* Sequences side by side, and what is left of them, say what they say one by one. */
    enum { PART = (LENGTH - 1) / 2 };
    double one[4], all[4] = {0};
    for (int64_t at = 0; at < LENGTH; at += PART) {
        const int64_t tokens = LENGTH - at < PART ? LENGTH - at : PART;
        assert_ok(secretary_ask(p, NULL, ids + at, tokens, PART, one));
        for (int e = 0; e < 4; e++) all[e] += one[e] * (double)tokens / LENGTH;
    }
    assert_ok(secretary_ask(p, NULL, ids, LENGTH, PART, one));
    for (int e = 0; e < 4; e++) assert_true(fabs(one[e] - all[e]) < 1e-6);
    const weight_source w = weight_source_of(m);
    model *streamed;
    pass *q;
    assert_ok(model_create_streamed(&streamed, &w, m->k));
    assert_ok(pass_create(&q, streamed));
    assert_ok(secretary_ask(q, NULL, ids, LENGTH, 512, halves));
    for (int e = 0; e < 4; e++) assert_true(fabs(halves[e] - found[e]) < 1e-6);
    assert_int_equal(secretary_choice((const double[]){0.1, 0.6, 0.3}, 3), 1);

    layers[0] = true;
    assert_fails(secretary_ask(p, layers, ids, LENGTH, 512, lone), "layers: expected layers with experts, found 0");
    assert_fails(secretary_ask(p, NULL, ids, 0, 512, lone), "at least one token, found none");
    pass_destroy(p);
    pass_destroy(q);
    model_destroy(streamed);
    model_destroy(m);
    const model_config dense = llama();
    m = random_model(&dense);
    assert_ok(pass_create(&p, m));
    assert_fails(secretary_ask(p, NULL, ids, LENGTH, 512, lone), "expected a model with experts, found a dense one");
    pass_destroy(p);
    model_destroy(m);
}

/* ---- memory ---- */

enum { BIG_EXPERTS = 8 };
static model_config big(void) {
    model_config c = mixture(base(), BIG_EXPERTS, 1, GATE_NORMALIZED);
    c.num_layers = 2;
    c.residual.parallel_start_layer = 2;
    c.moe.layers[2] = false;
    c.model_dim = 256;
    c.moe.expert_hidden =
        1152; /* 8 · 2 · 3 · 256 · 1152 weights: 57 MB as float32; fc has 2.4 MB, a little more than a huge page */
    return c;
}

typedef struct work {
    const char *path;
    int format;
    bool some, asks; /* one expert alone; after the secretary was asked */
} work;

static status write_big(void *context, uint8_t **bytes, size_t *count) {
    const work *w = context;
    const model_config c = big();
    model *m = random_model(&c);
    tokenizer *tok = letters_tokenizer(VOCAB);
    *bytes = NULL;
    *count = 0;
    return write_as(w->format, w->path, m, tok);
}

static status ask(const char *path, const kernels *k) {
    static const int32_t ids[] = {1, 2, 3, 4, 5, 6, 7, 8};
    double probabilities[BIG_EXPERTS];
    model_source *s;
    model *m;
    pass *p;
    TRY(model_source_open(&s, path, "chosen"));
    TRY(model_create_streamed(&m, model_source_weights(s), k));
    TRY(pass_create(&p, m));
    TRY(secretary_ask(p, NULL, ids, 8, 512, probabilities));
    pass_destroy(p);
    model_destroy(m);
    model_source_close(s);
    malloc_trim(0); /* as `moec generate --secretary` does */
    return STATUS_OK;
}

/* What the process has in memory when the model is there, and what the experts are to weigh, as two numbers. */
static status measure(void *context, uint8_t **bytes, size_t *count) {
    const work *w = context;
    const kernels *k = kernels_for(DTYPE_F32);
    const bool one[BIG_EXPERTS] = {[5] = true};
    model *m;
    letters_tokenizer(VOCAB);
    mallopt(M_MMAP_THRESHOLD,
            1 << 16); /* what is freed is gone at once: holes of the heap come and go with its history */
    if (w->asks) TRY(ask(w->path, k));
    TRY(load(w->path, w->format, k, w->some ? one : NULL, &m));
    int64_t *numbers = xmalloc(2 * sizeof *numbers);
    numbers[0] = (int64_t)memory_resident();
    numbers[1] = model_expert_bytes(m);
    *bytes = (uint8_t *)numbers;
    *count = 2 * sizeof *numbers;
    return STATUS_OK;
}

static void in_child(child_work job, work w, int64_t numbers[2]) {
    uint8_t *bytes;
    size_t count;
    assert_ok(child_run(format_names[w.format], job, &w, &bytes, &count));
    if (numbers) memcpy(numbers, bytes, 2 * sizeof *numbers);
    free(bytes);
}

/* Beside the whole model in a process that did the same otherwise: that the secretary ran brings the libraries' own memory. */
static void assert_saved(work w) {
    int64_t whole[2], some[2];
    in_child(measure, w, whole);
    w.some = true;
    in_child(measure, w, some);
    const double saved = (double)(whole[0] - some[0]), expected = (double)(whole[1] - some[1]);
    print_message("%s%s: %.1f MB saved, %.1f MB expected\n", format_names[w.format], w.asks ? ", asked first" : "",
                  saved / 1e6, expected / 1e6);
    assert_int_equal(some[1] * BIG_EXPERTS, whole[1]);
    if (!(fabs(saved / expected - 1) < 0.05)) fail_msg("%s: expected them to be within 5 %%", format_names[w.format]);
}

/* First of all tests: a process that has threads already is no place to fork from. */
static void the_others_memory_is_not_taken(void **state) {
#ifdef __SANITIZE_ADDRESS__ /* keeps what is freed for a while */
    skip();
#endif
    for (int format = 0; format < FORMATS; format++) {
        char *path = path_join(*state, format_names[format]);
        work w = {.path = path, .format = format};
        in_child(write_big, w, NULL);
        assert_saved(w);
        w.asks = true;
        assert_saved(w);
        free(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(the_others_memory_is_not_taken),
        in_scratch(some_experts_compute_the_masked_mixture),
        in_scratch(what_cannot_be_opened),
        cmocka_unit_test(the_secretary_is_the_mean_of_the_routers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Scoring a text, whole and in samples, against windows that are run one by one. */
#include "small_model.h"
#include "test.h"

#include "base/random.h"
#include "eval/bpb.h"
#include "text/loader.h"
#include "text/sentencepiece.h"
#include <math.h>

enum { VOCAB = 300, TOKENS = 700, DOCUMENTS = 5 };

typedef struct fixture {
    model *m;
    pass *p;
    tokenizer *tok;
    int32_t ids[TOKENS];
    shard s;
    document_table documents;
} fixture;

static bool next_line(void *context, const char **text, size_t *bytes) {
    static const char line[] = "a line of some words that a tokenizer can be trained on, and a few numbers 1 2 3 4\n";
    int *left = context;
    *text = line;
    *bytes = sizeof line - 1;
    return (*left)-- > 0;
}

static int create(void **state) {
    fixture *f = xcalloc(1, sizeof *f);
    model_config c = small_model(VOCAB);
    int lines = 20;
    assert_ok(model_create(&f->m, &c, kernels_for(DTYPE_F32), MODEL_TRAIN));
    assert_ok(model_init(f->m, 3));
    assert_ok(pass_create(&f->p, f->m));
    assert_ok(sentencepiece_train(&f->tok, VOCAB, next_line, &lines, 1));
    rng r = rng_seed(4);
    const int pieces = tokenizer_vocab_size(f->tok);
    for (int i = 0; i < TOKENS; i++) f->ids[i] = 3 + (int32_t)rng_below(&r, (uint64_t)pieces - 3);
    f->documents = (document_table){.count = DOCUMENTS, .domain_count = 2};
    f->documents.documents = xcalloc(DOCUMENTS, sizeof(document));
    f->documents.domains = xcalloc(2, sizeof(char *));
    f->documents.domains[0] = xstrdup("first");
    f->documents.domains[1] = xstrdup("second");
    for (int i = 0; i < DOCUMENTS; i++) {
        const int64_t start = i * (TOKENS / DOCUMENTS);
        f->documents.documents[i] = (document){.start = start, .count = TOKENS / DOCUMENTS, .domain = i >= 3};
        f->ids[start] = tokenizer_bos(f->tok);
    }
    f->s = shard_of_ids("ids", f->ids, TOKENS);
    *state = f;
    return 0;
}

static int destroy(void **state) {
    fixture *f = *state;
    pass_destroy(f->p);
    model_destroy(f->m);
    tokenizer_close(f->tok);
    document_table_free(&f->documents);
    shard_close(&f->s);
    free(f);
    return 0;
}

/* nll of every target of ids[start … start + length], in nll[start + 1 …] */
static void run_window(fixture *f, int64_t start, int64_t length, float *nll) {
    int32_t *first = xmalloc((size_t)length * sizeof *first);
    document_starts(f->ids + start, length, tokenizer_bos(f->tok), first);
    batch b = {
        .batch = 1, .length = length, .input_ids = f->ids + start, .target_ids = f->ids + start + 1, .first = first};
    assert_ok(pass_evaluate(f->p, &b, nll + start + 1));
    free(first);
}

/* The first window scores all its targets, each later one `stride` more, the last one ends with the text. */
static void whole_by_hand(fixture *f, int64_t seq, int64_t stride, double *nll, double *second) {
    float of[TOKENS];
    int64_t scored = 0;
    *nll = *second = 0;
    while (scored < TOKENS - 1) {
        int64_t end = scored == 0 ? seq : scored + stride;
        if (end > TOKENS - 1) end = TOKENS - 1;
        run_window(f, end - seq, seq, of);
        for (int64_t i = scored + 1; i <= end; i++) {
            *nll += of[i];
            if (i >= 3 * (TOKENS / DOCUMENTS)) *second += of[i];
        }
        scored = end;
    }
}

static void the_whole_text(void **state) {
    fixture *f = *state;
    static const int64_t shapes[][3] = {{64, 64, 3}, {64, 20, 2}, {50, 1, 16}, {TOKENS - 1, 7, 1}};
    for (int i = 0; i < 4; i++) {
        double nll, second;
        whole_by_hand(f, shapes[i][0], shapes[i][1], &nll, &second);
        bpb_options o = {.seq = shapes[i][0], .stride = shapes[i][1], .batch = shapes[i][2]};
        bpb_result r;
        assert_ok(bpb_evaluate(f->p, f->tok, &f->s, &f->documents, &o, &r));
        assert_true(r.whole);
        assert_int_equal(r.total.tokens, TOKENS - 1);
        assert_float_equal(r.total.nll, nll, 1e-3);
        assert_float_equal(r.domain[1].nll, second, 1e-3);
        assert_float_equal(r.domain[0].nll, nll - second, 1e-3);
        assert_int_equal(r.domain[1].tokens, 2 * (TOKENS / DOCUMENTS));
        assert_float_equal(perplexity(&r.total), exp(nll / (TOKENS - 1)), 1e-3);
        cJSON *domains = bpb_by_domain(&r, bpb);
        assert_int_equal(cJSON_GetArraySize(domains), 2);
        assert_float_equal(cJSON_GetObjectItem(domains, "second")->valuedouble, bpb(&r.domain[1]), 1e-12);
        cJSON_Delete(domains);
        bpb_result_free(&r);
    }
}

/* A window that holds the whole text gives each token the same context, sampled or not. */
static void a_sample_is_a_part_of_the_whole(void **state) {
    fixture *f = *state;
    float of[TOKENS];
    run_window(f, 0, TOKENS - 1, of);
    static const int64_t asked[] = {1, 10, 300, 600};
    for (int i = 0; i < 4; i++) {
        token_sample s = sample_take(TOKENS, &f->documents, asked[i], 5);
        double nll = 0, domain[2] = {0};
        for (int64_t n = 0; n < s.count; n++)
            for (int64_t t = s.spans[n].first; t < s.spans[n].end; t++) {
                nll += of[t];
                domain[t >= 3 * (TOKENS / DOCUMENTS)] += of[t];
            }
        bpb_options o = {.seq = TOKENS, .stride = TOKENS, .batch = 2, .tokens = asked[i], .seed = 5};
        bpb_result r;
        assert_ok(bpb_evaluate(f->p, f->tok, &f->s, &f->documents, &o, &r));
        assert_false(r.whole);
        assert_int_equal(r.total.tokens, s.tokens);
        assert_float_equal(r.total.nll, nll, 1e-3);
        for (int d = 0; d < 2; d++) assert_float_equal(r.domain[d].nll, domain[d], 1e-3);
        bpb_result_free(&r);
        sample_free(&s);
    }
}

/* Every token of the sample is scored once, whatever the windows; what stands before it is its context. */
static void windows_do_not_choose_the_text(void **state) {
    fixture *f = *state;
    static const int64_t shapes[][3] = {{64, 64, 3}, {64, 20, 2}, {300, 100, 1}, {9, 4, 5}};
    bpb_result first;
    for (int i = 0; i < 4; i++) {
        bpb_options o = {.seq = shapes[i][0], .stride = shapes[i][1], .batch = shapes[i][2], .tokens = 350, .seed = 2};
        bpb_result r;
        assert_ok(bpb_evaluate(f->p, f->tok, &f->s, &f->documents, &o, &r));
        if (i == 0) first = r;
        assert_int_equal(r.total.tokens, first.total.tokens);
        assert_int_equal(r.total.bytes, first.total.bytes);
        for (int d = 0; d < 2; d++) assert_int_equal(r.domain[d].bytes, first.domain[d].bytes);
        if (i > 0) bpb_result_free(&r);
    }
    bpb_result_free(&first);
}

static void bad_windows(void **state) {
    fixture *f = *state;
    bpb_result r;
    bpb_options o = {.seq = 4, .stride = 5, .batch = 1};
    assert_fails(bpb_evaluate(f->p, f->tok, &f->s, NULL, &o, &r), "stride 5, window 4");
    shard one = shard_of_ids("one", f->ids, 1);
    o.stride = 4;
    assert_fails(bpb_evaluate(f->p, f->tok, &one, NULL, &o, &r), "one: expected at least two tokens");
    shard_close(&one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_text),
        cmocka_unit_test(a_sample_is_a_part_of_the_whole),
        cmocka_unit_test(windows_do_not_choose_the_text),
        cmocka_unit_test(bad_windows),
    };
    return cmocka_run_group_tests(tests, create, destroy);
}

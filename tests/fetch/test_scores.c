/* A text before servers of either dialect: what is handed on is what each token's server said, in order, each once. */
#include "base/progress.h"
#include "fake_scorer.h"
#include "fetch/scores.h"

enum { TOKENS = 200, BOS = 1, VOCAB = 97 };

typedef struct fixture {
    fake_scorer f;
    http_client c;
    scores_request q;
    int32_t text[TOKENS];
    int64_t handed;  /* tokens */
    int64_t refuses; /* the keeper's disk is full at that token; 0: never */
    int32_t sample[4];
} fixture;

static int32_t *tokenize(void *context, const char *text, size_t *count) {
    (void)text;
    const fixture *x = context;
    int32_t *ids = calloc(4, sizeof *ids);
    memcpy(ids, x->sample, sizeof x->sample);
    *count = 4;
    return ids;
}

static void read_text(void *context, int64_t first, int64_t count, int32_t *ids) {
    const fixture *x = context;
    assert_true(first >= 0 && first + count <= TOKENS);
    memcpy(ids, x->text + first, (size_t)count * sizeof *ids);
}

static status begin(void *context, const char *model, int64_t *there) {
    fixture *x = context;
    assert_string_equal(model, "tiny");
    *there = x->handed;
    return STATUS_OK;
}

static status add(void *context, const int32_t *ids, const float *log_probs, float rest) {
    fixture *x = context;
    const int64_t at = x->handed;
    if (x->refuses && at == x->refuses) return fail("the disk is full");
    if (x->text[at] == BOS) {
        assert_true(ids[0] == -1 && rest == 0);
    } else {
        double sum = 0;
        for (int j = 0; j < SCORER_TOP; j++) {
            const double wanted = scorer_log_prob(x->text[at - 1], j);
            assert_int_equal(ids[j], scorer_id(&x->f, x->text[at - 1], j));
            assert_true(fabs((double)log_probs[j] - wanted) < 1e-5);
            sum += exp(wanted);
        }
        assert_true(fabs((double)rest - log1p(-sum)) < 1e-5);
    }
    x->handed++;
    return STATUS_OK;
}

static int setup(void **state) {
    fixture *x = calloc(1, sizeof *x);
    for (int i = 0; i < TOKENS; i++) x->text[i] = 2 + (i * 31 + i / 7) % (VOCAB - 2);
    x->text[0] = x->text[5] = x->text[6] = x->text[150] = BOS; /* documents of 5, 1, 144 and 50 tokens */
    memcpy(x->sample, (int32_t[]){4, 3, 2, 5}, sizeof x->sample);
    server_start(&x->f.s, scorer_answers, &x->f);
    x->f.vocab_size = VOCAB;
    x->f.tokenize = tokenize;
    x->f.context = x;
    assert_ok(http_open(&x->c, x->f.s.url, "hf_secret"));
    x->c.pause_seconds = 0.01;
    x->c.attempts = 3;
    x->q = (scores_request){.k = SCORER_TOP,
                            .vocab_size = VOCAB,
                            .seq = 32,
                            .stride = 16,
                            .parallel = 1,
                            .timeout = 0.4,
                            .tokens = TOKENS,
                            .bos = BOS,
                            .sample = "text",
                            .sample_ids = x->sample,
                            .sample_count = 4,
                            .read = read_text,
                            .begin = begin,
                            .add = add,
                            .context = x};
    *state = x;
    return 0;
}

static int teardown(void **state) {
    fixture *x = *state;
    http_close(&x->c);
    server_stop(&x->f.s);
    free(x);
    return 0;
}

/* All is there afterwards. */
static void scores(fixture *x, int64_t requests) {
    scores_result r;
    assert_ok(scores_fetch(&x->c, &x->q, &r));
    assert_int_equal(x->handed, TOKENS);
    assert_int_equal(r.there, TOKENS);
    if (requests >= 0) assert_int_equal(r.requests, requests);
    scores_result_free(&r);
}

static void refuses(fixture *x, const char *part) {
    scores_result r;
    assert_fails(scores_fetch(&x->c, &x->q, &r), part);
    assert_null(strstr(error_message(), "hf_secret"));
    assert_int_equal(r.there, x->handed);
    scores_result_free(&r);
}

static void test_windows(void **state) {
    (void)state;
    /* Every token is new in one window, wherever one begins to ask. */
    for (int64_t behind = 101; behind < 180; behind += 13)
        for (int64_t at = 100; at < behind; at++) {
            const scores_window w = scores_window_at(100, behind, at, 32, 16);
            assert_true(w.start >= 100 && w.start <= w.first && w.first <= at && at < w.end && w.end <= behind);
            assert_true(w.end - w.start <= 33);
            assert_true(w.first == 100 || w.first - w.start >= 16);
            for (int64_t other = w.first; other < w.end; other++)
                assert_int_equal(scores_window_at(100, behind, other, 32, 16).first, w.first);
        }
}

static void test_echo(void **state) {
    fixture *x = *state;
    scores(x, 1 + 8 + 3); /* windows of the documents of more than one token */
    assert_int_equal(x->f.sent_most, 33);
    scores(x, 0);
    x->handed = 0;
    x->q.parallel = 4;
    scores(x, 12);
    x->handed = 0;
    x->q.bos = -1; /* one document, in which BOS is a token as any other */
    x->text[0] = BOS;
    x->text[5] = x->text[6] = x->text[150] = 2;
    scores(x, 12);
}

static void test_llama(void **state) {
    fixture *x = *state;
    x->f.llama = true;
    x->q.parallel = 3;
    scores(x, TOKENS - 4);
}

static void test_goes_on_anywhere(void **state) {
    fixture *x = *state;
    for (int64_t there = 0; there <= TOKENS; there += 9) {
        x->handed = there;
        scores(x, -1);
    }
}

static void test_faults(void **state) {
    fixture *x = *state;
    scorer_go_wrong(&x->f, SCORES_WELL, SCORES_BUSY, SCORES_BREAKS, SCORES_WELL, SCORES_NAN, SCORES_STALLS);
    scores(x, 16);
    static const struct {
        scorer_fault what;
        const char *part;
    } lasting[] = {{SCORES_401, "the key in MOEC_API_KEY or OPENAI_API_KEY does not open it"},
                   {SCORES_OTHERS, "the tokens of another model"}};
    for (size_t i = 0; i < sizeof lasting / sizeof *lasting; i++) {
        x->handed = 0;
        scorer_go_wrong(&x->f, SCORES_WELL, SCORES_WELL, lasting[i].what);
        refuses(x, lasting[i].part);
        assert_int_equal(x->handed, 39); /* the documents and the window before */
        scores(x, 10);
    }
    x->handed = 0;
    scorer_go_wrong(&x->f, SCORES_WELL, SCORES_NAN, SCORES_NAN, SCORES_NAN);
    refuses(x, "given up after 3 attempts");
    scores(x, 11);
    x->handed = 0;
    x->f.llama = true;
    scorer_go_wrong(&x->f, SCORES_WELL, SCORES_OTHERS);
    refuses(x, "expected an answer behind 2 tokens, found one behind 1");
}

static void test_full_disk(void **state) {
    fixture *x = *state;
    x->q.parallel = 4;
    x->refuses = 60;
    refuses(x, "the disk is full");
    assert_int_equal(x->handed, 60);
    x->refuses = 0;
    scores(x, -1);
}

static void test_budget(void **state) {
    fixture *x = *state;
    scores_result r;
    x->q.requests = 4;
    x->q.parallel = 3;
    scorer_go_wrong(&x->f, SCORES_BUSY);
    assert_ok(scores_fetch(&x->c, &x->q, &r));
    assert_int_equal(r.requests, 4);
    assert_int_equal(r.there, x->handed);
    assert_true(x->handed < TOKENS);
    scores_result_free(&r);
    x->q.requests = 0;
    scores(x, -1);
}

static void test_another_vocabulary(void **state) {
    fixture *x = *state;
    const int32_t own[] = {4, 3, 2, 6};
    x->q.sample_ids = own;
    refuses(x, "the server's model has another vocabulary");
    assert_int_equal(x->f.asked, 0);
}

#define served(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_windows),
                                       served(test_echo),
                                       served(test_llama),
                                       served(test_goes_on_anywhere),
                                       served(test_faults),
                                       served(test_full_disk),
                                       served(test_budget),
                                       served(test_another_vocabulary)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

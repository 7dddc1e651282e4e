/* moec teach --endpoint --data: real shards and their tokenizer before a server, and the cache that comes of it, read. */
#include "fetch/command.h"
#include "fetch/fake_scorer.h"
#include "text/shard_set.h"
#include "text/teacher_cache.h"
#include "text/tokenizer.h"

typedef struct fixture {
    fake_scorer f;
    char *scratch, *data, *out;
    tokenizer *tok;
    bool other; /* the server's vocabulary */
} fixture;

static int32_t *tokenize(void *context, const char *text, size_t *count) {
    const fixture *x = context;
    int32_t *ids;
    assert_ok(tokenizer_encode(x->tok, text, strlen(text), &ids, count));
    if (x->other) ids[*count / 2]++;
    return ids;
}

static void make_data(fixture *x) {
    char *text = path_join(x->scratch, "text.jsonl"), *domain = xasprintf("t=%s", text);
    FILE *out = fopen(text, "w");
    for (int i = 0; i < 12; i++) {
        fprintf(out, "{\"text\": \"");
        for (int j = 0; j < 1 + i; j++)
            fprintf(out, "Paragraph %d of a text that is made for this test, with caf\u00e9 and %d words.\\n", i,
                    j * i);
        fprintf(out, "\"}\n");
    }
    fclose(out);
    command_gives(x->scratch, 0, "", "data", x->data, "--domain", domain, "--vocab", "300", "--heldout", "0.2");
    free(domain);
    free(text);
}

static int setup(void **state) {
    fixture *x = calloc(1, sizeof *x);
    x->scratch = scratch_create();
    x->data = path_join(x->scratch, "data");
    x->out = path_join(x->scratch, "cache");
    setenv("OPENAI_API_KEY", "hf_secret", 1);
    setenv("MOEC_FETCH_PAUSE", "0.01", 1);
    make_data(x);
    assert_ok(tokenizer_open(&x->tok, x->data));
    server_start(&x->f.s, scorer_answers, &x->f);
    x->f.vocab_size = tokenizer_vocab_size(x->tok);
    x->f.tokenize = tokenize;
    x->f.context = x;
    *state = x;
    return 0;
}

static int teardown(void **state) {
    fixture *x = *state;
    server_stop(&x->f.s);
    tokenizer_close(x->tok);
    scratch_remove(x->scratch);
    free(x->data);
    free(x->out);
    free(x);
    return 0;
}

#define teaches(x, code, part, ...)                                                                                    \
    command_gives((x)->scratch, code, part, "teach", "--endpoint", (x)->f.s.url, "--data", (x)->data, "-o", (x)->out,  \
                  "--top", "3", "--seq", "64", "--stride", "48", __VA_ARGS__)

static void check_part(const fixture *x, shard_part part) {
    shard_set text;
    teacher_cache *cache;
    assert_ok(shard_set_open(&text, x->data, part, x->f.vocab_size));
    assert_ok(
        teacher_cache_open(&cache, x->out, text.shards, text.count, tokenizer_fingerprint(x->tok), x->f.vocab_size));
    assert_string_equal(teacher_cache_facts(cache)->name, "tiny");
    for (int s = 0; s < text.count; s++)
        for (int64_t at = 0; at < text.shards[s].count; at++) {
            int32_t ids[3];
            float log_probs[3], rest;
            assert_ok(teacher_cache_read(cache, s, at, 1, ids, log_probs, &rest));
            if (shard_token(&text.shards[s], at) == tokenizer_bos(x->tok)) {
                assert_int_equal(ids[0], -1);
                continue;
            }
            const int32_t before = shard_token(&text.shards[s], at - 1);
            for (int j = 0; j < 3; j++) {
                assert_int_equal(ids[j], scorer_id(&x->f, before, j));
                assert_true(fabs((double)log_probs[j] - scorer_log_prob(before, j)) < 2e-3); /* float16 */
            }
        }
    teacher_cache_close(cache);
    shard_set_close(&text);
}

static void test_cache(void **state) {
    fixture *x = *state;
    teaches(x, 0, "results in ", "--held-out");
    check_part(x, SHARDS_TRAINING);
    check_part(x, SHARDS_HELD_OUT);
    const int asked = x->f.asked;
    teaches(x, 0, "results in ", "--held-out");
    assert_int_equal(x->f.asked, asked);
}

static void test_llama_and_budget(void **state) {
    fixture *x = *state;
    x->f.llama = true;
    teaches(x, 0, "the budget of requests (300) is spent", "--requests", "300", "--json");
    teaches(x, 0, "results in ", "--parallel", "2");
    check_part(x, SHARDS_TRAINING);
}

static void test_failure_and_kill(void **state) {
    fixture *x = *state;
    scorer_go_wrong(&x->f, SCORES_WELL, SCORES_WELL, SCORES_401);
    teaches(x, 1, "does not open it", "--parallel", "1");
    scorer_go_wrong(&x->f, SCORES_WELL, SCORES_WELL, SCORES_WELL, SCORES_WELL, SCORES_WELL, SCORES_WELL, SCORES_WELL,
                    SCORES_STALLS);
    command_run c = command_start(x->scratch, (const char *const[]){"teach", "--endpoint", x->f.s.url, "--data",
                                                                    x->data, "-o", x->out, "--top", "3", "--seq", "64",
                                                                    "--stride", "48", "--parallel", "1", NULL});
    for (int i = 0; i < 400 && x->f.asked < 8; i++) usleep(10000);
    kill(c.process, SIGKILL);
    assert_int_equal(command_wait(&c), -1);
    command_end(&c);
    teaches(x, 0, "results in ", "--parallel", "1");
    check_part(x, SHARDS_TRAINING);
}

static void test_refuses(void **state) {
    fixture *x = *state;
    x->other = true;
    teaches(x, 2, "the server's model has another vocabulary", "--json");
    assert_int_equal(x->f.asked, 0);
    x->other = false;
    scorer_go_wrong(&x->f, SCORES_OTHERS);
    teaches(x, 2, "the tokens of another model", "--json");
    teaches(x, 1, "none.model: ", "--tokenizer", "none.model");
}

#define served(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {served(test_cache), served(test_llama_and_budget), served(test_failure_and_kill),
                                       served(test_refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

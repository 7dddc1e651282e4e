/* What servers say of tokens, as bytes. */
#include "fetch/token_scores.h"
#include "test.h"
#include <math.h>

static http_client client = {.endpoint = (char *)"http://x/v1", .token = (char *)"hf_secret"};
static const int32_t sent[] = {1, 5, 7};

static const char echo[] =
    "{\"model\": \"m\", \"choices\": [{\"index\": 0, \"text\": \"abc\", \"logprobs\": {\"text_offset\": [0, 1, 2], "
    "\"token_logprobs\": [null, -0.5, -1], \"tokens\": [\"token_id:1\", \"token_id:5\", \"token_id:7\"], "
    "\"top_logprobs\": [null, {\"token_id:5\": -0.5, \"token_id:9\": -1.5, \"token_id:99\": -1.9}, "
    "{\"token_id:3\": -0.25, \"token_id:4\": -9999.0, \"token_id:7\": -4}]}, \"finish_reason\": \"length\"}], "
    "\"usage\": {\"prompt_tokens\": 3}}";
static const char llama[] = "{\"index\": 0, \"content\": \" x\", \"tokens\": [], \"tokens_evaluated\": 3, "
                            "\"completion_probabilities\": [{\"id\": 4, "
                            "\"token\": \" x\", \"bytes\": [32, 120], \"logprob\": -0.5, \"top_logprobs\": [{\"id\": "
                            "4, \"token\": \"x\", \"bytes\": [], "
                            "\"logprob\": -0.5}, {\"id\": 8, \"token\": \"\", \"bytes\": [], \"logprob\": -1.25}, "
                            "{\"id\": 2, \"token\": \"y\", "
                            "\"bytes\": [1], \"logprob\": -3.4e+38}]}], \"stop\": true}";

static status parse(token_scores *s, scores_dialect dialect, const char *text, size_t bytes) {
    char *copy = xmalloc(bytes + 1);
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    status outcome = scores_parse(s, dialect, sent, 3, &client, copy, bytes, "here");
    free(copy);
    return outcome;
}

static void near(float found, double wanted) {
    if (!(fabs((double)found - wanted) < 1e-5)) fail_msg("%g instead of %g", (double)found, wanted);
}

static void test_echo(void **state) {
    (void)state;
    token_scores s;
    scores_open(&s, 2, 50, 0, 3);
    assert_ok(parse(&s, SCORES_ECHO, echo, strlen(echo)));
    assert_int_equal(s.ids[0], -1); /* of the first token nothing is known: all is "others" */
    assert_true(isinf(s.log_probs[0]) && s.rest[0] == 0);
    assert_int_equal(s.ids[2], 5);
    assert_int_equal(s.ids[3], 9);
    near(s.log_probs[2], -0.5);
    near(s.log_probs[3], -1.5);
    near(s.rest[1], log1p(-exp(-0.5) - exp(-1.5)));
    assert_int_equal(s.ids[4], 3);
    assert_int_equal(s.ids[5], 7);
    scores_close(&s);
    scores_open(&s, 3, 8, 2, 1); /* the last place only; ids beyond the vocabulary, and impossible ones, are others */
    assert_ok(parse(&s, SCORES_ECHO, echo, strlen(echo)));
    assert_int_equal(s.ids[0], 3);
    assert_int_equal(s.ids[1], 7);
    assert_int_equal(s.ids[2], -1);
    near(s.rest[0], log1p(-exp(-0.25) - exp(-4)));
    scores_close(&s);
}

static void test_llama(void **state) {
    (void)state;
    token_scores s;
    scores_open(&s, 3, 50, 0, 1);
    assert_ok(parse(&s, SCORES_LLAMA_CPP, llama, strlen(llama)));
    assert_int_equal(s.ids[0], 4);
    assert_int_equal(s.ids[1], 8);
    assert_int_equal(s.ids[2], -1);
    near(s.log_probs[1], -1.25);
    near(s.rest[0], log1p(-exp(-0.5) - exp(-1.25)));
    scores_close(&s);
}

static void test_cut_and_corrupt(void **state) {
    (void)state;
    static const char *const texts[] = {echo, llama};
    for (int dialect = 0; dialect < 2; dialect++) {
        const size_t whole = strlen(texts[dialect]);
        token_scores s;
        char *text = xstrdup(texts[dialect]);
        scores_open(&s, 2, 50, 0, dialect == SCORES_ECHO ? 3 : 1);
        for (size_t bytes = 0; bytes < whole; bytes++)
            assert_fails(parse(&s, (scores_dialect)dialect, text, bytes), "here: ");
        for (size_t i = 0; i < whole; i++)
            for (int byte = 1; byte < 256; byte += 9) { /* an answer whose numbers can be used, or an error */
                const char before = text[i];
                text[i] = (char)byte;
                if (parse(&s, (scores_dialect)dialect, text, whole) == STATUS_OK)
                    for (int64_t at = 0; at < s.count; at++) {
                        assert_true(s.rest[at] <= 0);
                        for (int j = 0; j < 2; j++) assert_true(s.ids[2 * at + j] < 50 && s.log_probs[2 * at + j] <= 0);
                    }
                text[i] = before;
            }
        free(text);
        scores_close(&s);
    }
}

#define ECHO_OF(TOKENS, TOP) "{\"choices\": [{\"logprobs\": {\"tokens\": [" TOKENS "], \"top_logprobs\": [" TOP "]}}]}"
#define SENT "\"token_id:1\", \"token_id:5\", \"token_id:7\""
#define LLAMA_OF(TOP) "{\"tokens_evaluated\": 3, \"completion_probabilities\": [{\"top_logprobs\": [" TOP "]}]}"

static void test_refuses(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"<html>", "found HTML"},
        {"{\"error\": {\"message\": \"logprobs: at most 20 hf_secret\"}}",
         "the server says: {\"message\": \"logprobs: at most 20"},
        {"{\"choices\": []}", "expected log-probabilities of the prompt's tokens"},
        {"{\"choices\": [{\"text\": \"x\", \"logprobs\": null}]}", "expected log-probabilities of the prompt's tokens"},
        {ECHO_OF("\"<s>\", \"a\", \"b\"", "null, null, null"), "does not say which tokens it means"},
        {ECHO_OF("\"token_id:1\", \"token_id:6\", \"token_id:7\"", "null"),
         "token 1: expected 5, which was sent, found 6"},
        {ECHO_OF("\"token_id:1\", \"token_id:5\"", "null, {\"token_id:1\": -1}"),
         "expected 3 tokens with their candidates, found 2"},
        {ECHO_OF(SENT, "null, {\"token_id:1\": -1}"), "expected 3 tokens with their candidates, found 2"},
        {ECHO_OF(SENT, "null, {\"a\": -1}"), "does not say which tokens it means"},
        {ECHO_OF(SENT, "null, {\"token_id:-1\": -1}"), "does not say which tokens it means"},
        {ECHO_OF(SENT, "null, {\"token_id:\": -1}"), "does not say which tokens it means"},
        {ECHO_OF(SENT, "null, {\"token_id:1\": NaN}"), "expected a finite log-probability"},
        {ECHO_OF(SENT, "null, {\"token_id:1\": -Infinity}"), "expected a finite log-probability"},
        {ECHO_OF(SENT, "null, {\"token_id:1\": null}"), "expected a finite log-probability"},
        {ECHO_OF(SENT, "null, {\"token_id:1\": 0.5}"), "token 1: expected a log-probability, found 0.5"},
        {ECHO_OF(SENT, "null, {\"token_id:1\": -0.1, \"token_id:2\": -0.1}"), "expected probabilities, found 1.8"},
        {ECHO_OF(SENT, "null, {\"token_id:1\": -3, \"token_id:1\": -3}"), "found token 1 twice"},
        {ECHO_OF(SENT, "null, {}"), "token 1: expected the most probable tokens, found none"},
        {ECHO_OF(SENT, "null, null, null"), "expected a token's candidates"}};
    static const char *const wrong_llama[][2] = {
        {"{\"content\": \"x\", \"tokens_evaluated\": 3}", "of the next token (n_probs), found none"},
        {"{\"tokens_evaluated\": 4, \"completion_probabilities\": [{\"top_logprobs\": [{\"id\": 1, \"logprob\": "
         "-1}]}]}",
         "expected an answer behind 3 tokens, found one behind 4"},
        {LLAMA_OF("{\"id\": 1}"), "expected a candidate's id and logprob"},
        {LLAMA_OF("{\"id\": 1.5, \"logprob\": -1}"), "expected a token's number"},
        {LLAMA_OF("{\"id\": 1, \"logprob\": null}"), "expected a finite log-probability"},
        {LLAMA_OF(""), "found none"}};
    token_scores s;
    scores_open(&s, 2, 50, 0, 3);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_fails(parse(&s, SCORES_ECHO, wrong[i][0], strlen(wrong[i][0])), wrong[i][1]);
        assert_null(strstr(error_message(), "hf_secret"));
    }
    scores_close(&s);
    scores_open(&s, 2, 50, 0, 1);
    for (size_t i = 0; i < sizeof wrong_llama / sizeof *wrong_llama; i++)
        assert_fails(parse(&s, SCORES_LLAMA_CPP, wrong_llama[i][0], strlen(wrong_llama[i][0])), wrong_llama[i][1]);
    scores_close(&s);
}

static void test_bodies_and_urls(void **state) {
    (void)state;
    size_t bytes;
    char *text = scores_body(SCORES_ECHO, "m", 4, sent, 3, &bytes);
    assert_string_equal(text,
                        "{\"model\": \"m\", \"prompt\": [1,5,7], \"echo\": true, \"logprobs\": 4, \"max_tokens\": 0, "
                        "\"temperature\": 1, \"return_tokens_as_token_ids\": true, \"add_special_tokens\": false}");
    free(text);
    text = scores_body(SCORES_LLAMA_CPP, "m", 4, sent, 2, &bytes);
    assert_string_equal(text,
                        "{\"model\": \"m\", \"prompt\": [1,5], \"n_predict\": 1, \"n_probs\": 4, \"temperature\": 1, "
                        "\"cache_prompt\": true}");
    free(text);
    static const struct {
        const char *endpoint, *echo, *llama;
    } of[] = {{"http://x", "http://x/v1/completions", "http://x/completion"},
              {"http://x/v1", "http://x/v1/completions", "http://x/completion"},
              {"http://x/a/v1", "http://x/a/v1/completions", "http://x/a/completion"}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        const http_client c = {.endpoint = (char *)of[i].endpoint};
        char *a = scores_url(&c, SCORES_ECHO), *b = scores_url(&c, SCORES_LLAMA_CPP);
        assert_string_equal(a, of[i].echo);
        assert_string_equal(b, of[i].llama);
        free(a);
        free(b);
    }
}

static status parse_tokens(const char *text) {
    char *copy = xstrdup(text);
    status s = scores_parse_tokens(sent, 3, &client, copy, strlen(copy), "here");
    free(copy);
    return s;
}

static void test_vocabulary(void **state) {
    (void)state;
    assert_ok(parse_tokens("{\"count\": 3, \"max_model_len\": 9, \"tokens\": [1, 5, 7], \"token_strs\": null}"));
    static const char *const others[] = {"{\"tokens\": [1, 5]}", "{\"tokens\": [1, 5, 7, 8]}",
                                         "{\"tokens\": [1, 5, 8]}", "{\"tokens\": []}", "{}"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_fails(parse_tokens(others[i]), "here: the server's model has another vocabulary");
    assert_fails(parse_tokens("{\"tokens\": [\"a\"]}"), "a token's number");
    assert_fails(parse_tokens("{\"tokens\": [1"), "expected");
    assert_fails(parse_tokens("{\"error\": \"hf_secret\"}"), "the server says: \"*********\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),    cmocka_unit_test(test_llama),           cmocka_unit_test(test_cut_and_corrupt),
        cmocka_unit_test(test_refuses), cmocka_unit_test(test_bodies_and_urls), cmocka_unit_test(test_vocabulary)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

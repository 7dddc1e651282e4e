/* Questions and answers as bytes. */
#include "fetch/completion.h"
#include "test.h"
#include <cjson/cJSON.h>
#include <stdio.h>

static http_client client = {.endpoint = (char *)"http://x", .token = (char *)"hf_secret"};

static void test_urls(void **state) {
    (void)state;
    static const char *const of[][2] = {{"http://h:80", "http://h:80/v1/models"},
                                        {"https://h/v1", "https://h/v1/models"},
                                        {"https://h/openai/v1", "https://h/openai/v1/models"},
                                        {"https://h/v1beta/openai", "https://h/v1beta/openai/models"}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        http_client c = {.endpoint = (char *)of[i][0]};
        char *url = completion_url(&c, "models");
        assert_string_equal(url, of[i][1]);
        free(url);
    }
}

static void body_is(const completion_request *q, const char *wanted) {
    size_t bytes;
    char *body = completion_body(q, &bytes);
    assert_string_equal(body, wanted);
    assert_int_equal(bytes, strlen(wanted));
    free(body);
}

static void test_bodies(void **state) {
    (void)state;
    completion_request q = {
        .chat = true, .model = "m\"", .prompt = "a\nb", .temperature = 0.7, .max_tokens = 16, .seed = 5};
    body_is(
        &q,
        "{\"model\": \"m\\\"\", \"messages\": [{\"role\": \"user\", \"content\": \"a\\nb\"}], \"temperature\": 0.7, "
        "\"max_tokens\": 16, \"seed\": 5}");
    q.system = "s";
    body_is(&q,
            "{\"model\": \"m\\\"\", \"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", "
            "\"content\": \"a\\nb\"}], \"temperature\": 0.7, \"max_tokens\": 16, \"seed\": 5}");
    q.chat = false;
    body_is(
        &q,
        "{\"model\": \"m\\\"\", \"prompt\": \"s\\n\\na\\nb\", \"temperature\": 0.7, \"max_tokens\": 16, \"seed\": 5}");
}

static status parse(completion *a, bool chat, const char *text, size_t bytes) {
    char *copy = xmalloc(bytes + 1);
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    status s = completion_parse(a, chat, &client, copy, bytes, "here");
    free(copy);
    return s;
}

static const char whole[] =
    "{\"id\": \"x\", \"object\": \"chat.completion\", \"model\": \"m-1\", \"choices\": [{\"index\": 0, \"message\": "
    "{\"role\": \"assistant\", \"content\": \"Hi \\ud83d\\ude00 \\u0000\", \"tool_calls\": []}, \"logprobs\": null, "
    "\"finish_reason\": \"stop\"}, {\"index\": 1}], \"usage\": {\"prompt_tokens\": 9, \"completion_tokens\": 3, "
    "\"details\": {\"x\": 1}}, \"error\": null}";

static void test_answers(void **state) {
    (void)state;
    completion a;
    assert_ok(parse(&a, true, whole, strlen(whole)));
    assert_string_equal(a.text, "Hi \U0001F600 \uFFFD");
    assert_string_equal(a.model, "m-1");
    assert_string_equal(a.finish, "stop");
    assert_int_equal(a.prompt_tokens, 9);
    assert_int_equal(a.completion_tokens, 3);
    completion_free(&a);
    static const char plain[] = "{\"choices\": [{\"text\": \"x\", \"finish_reason\": null}], \"usage\": null}";
    assert_ok(parse(&a, false, plain, strlen(plain)));
    assert_string_equal(a.text, "x");
    assert_null(a.finish);
    assert_null(a.model);
    assert_int_equal(a.completion_tokens, -1);
    completion_free(&a);
    static const char nothing[] = "{\"choices\": [{\"message\": {\"content\": null}}]}";
    assert_ok(parse(&a, true, nothing, strlen(nothing)));
    assert_string_equal(a.text, "");
    completion_free(&a);
}

static void test_cut_anywhere(void **state) {
    (void)state;
    for (size_t bytes = 0; bytes < strlen(whole); bytes++) {
        completion a;
        assert_fails(parse(&a, true, whole, bytes), "here: expected ");
        completion_free(&a);
    }
}

static void test_corrupt(void **state) {
    (void)state;
    char text[sizeof whole];
    for (size_t i = 0; i < strlen(whole); i++) /* any byte any other: an answer or an error, and nothing else */
        for (int byte = 0; byte < 256; byte += 5) {
            completion a;
            memcpy(text, whole, sizeof whole);
            text[i] = (char)byte;
            if (parse(&a, true, text, strlen(whole)) == STATUS_OK) assert_non_null(a.text);
            completion_free(&a);
        }
}

static void test_refuses(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"<html>", "found HTML or XML"},
        {"[]", "expected JSON, an object in the answer"},
        {"NaN", "expected JSON, an object in the answer"},
        {"{}", "expected a choice with a message, found none"},
        {"{\"choices\": []}", "expected a choice with a message, found none"},
        {"{\"choices\": {}}", "expected a list of choices"},
        {"{\"choices\": [3]}", "expected a choice in the answer"},
        {"{\"choices\": [{\"text\": \"x\"}]}", "expected a choice with a message, found none"},
        {"{\"choices\": [{\"message\": \"x\"}]}", "expected a message in the answer"},
        {"{\"choices\": [{\"message\": {\"content\": [\"x\"]}}]}", "expected a message's content, a text"},
        {"{\"choices\": [{\"message\": {\"content\": \"x\"}}], \"usage\": {\"completion_tokens\": -1}}",
         "a number of tokens"},
        {"{\"choices\": [{\"message\": {\"content\": \"x\"}}], \"usage\": {\"completion_tokens\": NaN}}",
         "a number of tokens"},
        {"{\"choices\": [{\"message\": {\"content\": \"x\"}}]} x", "expected the end"},
        {"{\"error\": {\"message\": \"no \\u001b[31m hf_secret\", \"code\": 3}}",
         "here: the server says: {\"message\""}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        completion a;
        assert_fails(parse(&a, true, wrong[i][0], strlen(wrong[i][0])), wrong[i][1]);
        assert_null(strstr(error_message(), "hf_secret"));
        assert_null(strchr(error_message(), '\033'));
        completion_free(&a);
    }
}

static status parse_models(const char *text, char **model) {
    char *copy = xstrdup(text);
    status s = completion_parse_models(model, &client, copy, strlen(copy), "here");
    free(copy);
    return s;
}

static void test_models(void **state) {
    (void)state;
    char *model;
    assert_ok(parse_models("{\"data\": [{\"id\": \"one\", \"meta\": {\"id\": 3}}]}", &model));
    assert_string_equal(model, "one");
    free(model);
    assert_fails(parse_models("{\"data\": [{\"id\": \"one\"}, {\"id\": \"two\"}]}", &model), "--model among one, two");
    assert_fails(parse_models("{\"data\": []}", &model), "lists no models");
    assert_fails(parse_models("{\"data\": [{\"id\": null}]}", &model), "a model without a name");
    assert_fails(parse_models("{\"data\": 3}", &model), "a list of models");
    assert_fails(parse_models("<", &model), "found HTML");
    assert_fails(parse_models("{\"error\": \"hf_secret\"}", &model), "the server says: \"*********\"");
}

static void test_numbers(void **state) {
    (void)state;
    static const double numbers[] = {0, 1, 0.1, 0.7, 1.0 / 3, 2, 1e-9};
    static const char *const texts[] = {"0", "1", "0.1", "0.7", "0.3333333333333333", "2", "1e-09"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char *text;
        size_t bytes;
        FILE *out = open_memstream(&text, &bytes);
        completion_put_number(out, numbers[i]);
        fclose(out);
        assert_string_equal(text, texts[i]);
        free(text);
    }
}

/* A key that the beginning of an error, which is all that is kept of it, ends within. */
static void test_half_a_key_is_hidden(void **state) {
    (void)state;
    char *shown = http_shown(&client, "wrong key hf_secret, wrong key hf_sec", 200);
    assert_string_equal(shown, "wrong key *********, wrong key ******");
    free(shown);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_urls),
                                       cmocka_unit_test(test_bodies),
                                       cmocka_unit_test(test_answers),
                                       cmocka_unit_test(test_cut_anywhere),
                                       cmocka_unit_test(test_corrupt),
                                       cmocka_unit_test(test_refuses),
                                       cmocka_unit_test(test_models),
                                       cmocka_unit_test(test_numbers),
                                       cmocka_unit_test(test_half_a_key_is_hidden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What clients ask for: OpenAI's keys and moec's own, and every value that cannot be meant. */
#include "serve/request.h"
#include "test.h"

static model_config config;
static request_limits limits;

static int make_limits(void **state) {
    (void)state;
    config = model_config_default();
    config.num_layers = 6;
    config.moe.layers[4] = config.moe.layers[5] = true;
    config.moe.start_layer = -1;
    config.moe.experts = 3;
    config.moe.top_k = 1;
    labels_add(&config.moe.names, "code");
    labels_add(&config.moe.names, "prose");
    labels_add(&config.moe.names, "verse");
    limits = (request_limits){.model = "tiny", .config = &config, .vocab = 320, .max_tokens = 128, .choices = 4};
    return 0;
}

static cJSON *body_of(const char *text, api_error *e) {
    cJSON *body;
    assert_ok(body_parse(&body, text, strlen(text), e));
    return body;
}

static completion_request read_good(bool chat, const char *text) {
    completion_request r;
    api_error e = {0};
    assert_ok(completion_request_read(&r, chat, body_of(text, &e), &limits, &e));
    return r;
}

/* The refusal names the key, and says `part`. */
static void check_refused(bool chat, const char *text, int http, const char *param, const char *part) {
    completion_request r;
    api_error e = {0};
    if (completion_request_read(&r, chat, body_of(text, &e), &limits, &e) == STATUS_OK) fail_msg("%s was read", text);
    completion_request_free(&r);
    if (e.http != http) fail_msg("%s: %d instead of %d: %s", text, e.http, http, e.message);
    if (strcmp(e.param, param) != 0) fail_msg("%s: names `%s` instead of `%s`", text, e.param, param);
    if (!strstr(e.message, part)) fail_msg("%s: \"%s\" lacks \"%s\"", text, e.message, part);
    assert_null(strchr(e.message, '\n'));
}

/* ---- what is read ---- */

static void test_defaults(void **state) {
    (void)state;
    completion_request r = read_good(false, "{\"prompt\": \"the cat\"}");
    assert_int_equal(r.prompt_count, 1);
    assert_string_equal(r.prompts[0].text, "the cat");
    assert_int_equal(r.n, 1);
    assert_int_equal(r.max_tokens, 16);
    assert_true(r.sampler.temperature == 1 && r.sampler.top_p == 1 && r.sampler.repetition_penalty == 1);
    assert_int_equal(r.top_log_probs, -1);
    assert_false(r.stream || r.routing || r.has_seed || r.sampler.json || r.experts.restricted);
    completion_request_free(&r);
    r = read_good(true,
                  "{\"model\": \"tiny\", \"messages\": [{\"role\": \"user\", \"content\": \"hi\"}], \"seed\": null}");
    assert_int_equal(r.max_tokens, 128);
    assert_int_equal(r.message_count, 1);
    completion_request_free(&r);
}

static void test_everything(void **state) {
    (void)state;
    completion_request r = read_good(
        false, "{\"prompt\": [[1, 2, 3], [4]], \"n\": 2, \"max_tokens\": 7, \"temperature\": 0.5, \"top_p\": 0.9,"
               "\"top_k\": 40, \"min_p\": 0.1, \"presence_penalty\": -1, \"frequency_penalty\": 2, \"seed\": -5,"
               "\"repetition_penalty\": 1.1, \"logit_bias\": {\"7\": 100, \"3\": -100}, \"stop\": [\"a\", \"bc\"],"
               "\"logprobs\": 3, \"stream\": true, \"stream_options\": {\"include_usage\": true},"
               "\"response_format\": {\"type\": \"json_object\"}, \"routing\": true, \"user\": \"x\", \"best_of\": 2}");
    assert_int_equal(r.prompt_count, 2);
    assert_null(r.prompts[0].text);
    assert_int_equal(r.prompts[0].id_count, 3);
    assert_int_equal(r.prompts[0].ids[2], 3);
    assert_int_equal(r.prompts[1].ids[0], 4);
    assert_int_equal(r.n, 2);
    assert_int_equal(r.max_tokens, 7);
    assert_int_equal(r.sampler.top_k, 40);
    assert_true(r.sampler.seed == (uint64_t)-5 && r.has_seed);
    assert_int_equal(r.sampler.bias_count, 2);
    assert_int_equal(r.sampler.biases[0].id, 3);
    assert_true(r.sampler.biases[0].bias == -100 && r.sampler.biases[1].bias == 100);
    assert_int_equal(r.stop_count, 2);
    assert_string_equal(r.stops[1], "bc");
    assert_int_equal(r.top_log_probs, 3);
    assert_true(r.stream && r.include_usage && r.sampler.json && r.routing);
    completion_request_free(&r);
    r = read_good(false, "{\"prompt\": \"\", \"top_k\": -1, \"stop\": \"x\", \"logprobs\": false}");
    assert_int_equal(r.sampler.top_k, 0);
    assert_int_equal(r.stop_count, 1);
    completion_request_free(&r);
}

static void test_messages(void **state) {
    (void)state;
    completion_request r = read_good(
        true, "{\"messages\": [{\"role\": \"developer\", \"content\": \"be brief\"},"
              "{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"what \"}, {\"text\": \"is it\"}]},"
              "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"1\"}]},"
              "{\"role\": \"tool\", \"tool_call_id\": \"1\", \"content\": \"42\"}],"
              "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}], \"tool_choice\": \"auto\","
              "\"logprobs\": true, \"top_logprobs\": 5, \"max_tokens\": 9, \"max_completion_tokens\": 8}");
    assert_int_equal(r.message_count, 2);
    assert_string_equal(r.messages[0].role, "system");
    assert_string_equal(r.messages[1].content, "what is it");
    assert_int_equal(r.top_log_probs, 5);
    assert_int_equal(r.max_tokens, 8);
    completion_request_free(&r);
}

static void test_experts(void **state) {
    (void)state;
    completion_request r = read_good(
        false,
        "{\"prompt\": \"x\", \"moec\": {\"top_k\": 2, \"top_k_per_layer\": {\"5\": 3}, \"omit_experts\": [\"prose\"],"
        "\"secretary\": true}}");
    assert_int_equal(r.experts.top_k, 2);
    assert_true(r.experts.by_layer && r.experts.layer_top_k[5] == 3 && r.experts.layer_top_k[4] == 0);
    assert_true(r.experts.restricted && r.experts.secretary);
    assert_true(r.experts.allowed[0] && !r.experts.allowed[1] && r.experts.allowed[2]);
    completion_request_free(&r);
    r = read_good(false, "{\"prompt\": \"x\", \"moec\": {\"force_experts\": [\"verse\", 0], \"omit_experts\": [0]}}");
    assert_true(!r.experts.allowed[0] && !r.experts.allowed[1] && r.experts.allowed[2]);
    completion_request_free(&r);
    r = read_good(false,
                  "{\"prompt\": \"x\", \"moec\": {\"top_k\": null, \"omit_experts\": [], \"secretary\": false}}");
    assert_false(r.experts.restricted || r.experts.secretary || r.experts.by_layer);
    completion_request_free(&r);
}

/* ---- what is refused ---- */

static void test_refused(void **state) {
    static const struct {
        const char *more, *param, *part;
    } cases[] = {
        {"\"max_tokens\": 0", "max_tokens", "a whole number from 1 to 128, found 0"},
        {"\"max_tokens\": -3", "max_tokens", "found -3"},
        {"\"max_tokens\": 1.5", "max_tokens", "found 1.5"},
        {"\"max_tokens\": 1e300", "max_tokens", "found 1e+300"},
        {"\"max_tokens\": \"12\"", "max_tokens", "found \"12\""},
        {"\"max_tokens\": true", "max_tokens", "found true"},
        {"\"max_tokens\": [1]", "max_tokens", "found an array"},
        {"\"n\": 5", "n", "from 1 to 4, found 5"},
        {"\"best_of\": 3", "best_of", "found 3"},
        {"\"temperature\": -0.1", "temperature", "a number from 0 to 100, found -0.1"},
        {"\"temperature\": {}", "temperature", "found an object"},
        {"\"top_p\": 1.01", "top_p", "a number from 0 to 1"},
        {"\"min_p\": 2", "min_p", "found 2"},
        {"\"top_k\": -2", "top_k", "found -2"},
        {"\"presence_penalty\": 3", "presence_penalty", "from -2 to 2"},
        {"\"frequency_penalty\": -3", "frequency_penalty", "from -2 to 2"},
        {"\"repetition_penalty\": 0", "repetition_penalty", "from 0.01"},
        {"\"seed\": 1e17", "seed", "found 1e+17"},
        {"\"seed\": 0.5", "seed", "found 0.5"},
        {"\"stop\": \"\"", "stop", "texts of 1 to 256 bytes"},
        {"\"stop\": [1]", "stop", "found 1"},
        {"\"stop\": "
         "[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]",
         "stop", "at most 16"},
        {"\"logprobs\": 21", "logprobs", "from 0 to 20"},
        {"\"logprobs\": true", "logprobs", "found true"},
        {"\"stream\": 1", "stream", "true or false, found 1"},
        {"\"stream_options\": true", "stream_options", "an object"},
        {"\"stream_options\": {\"include_usage\": 1}", "stream_options.include_usage", "found 1"},
        {"\"logit_bias\": {\"320\": 1}", "logit_bias", "tokens from 0 to 319, found \"320\""},
        {"\"logit_bias\": {\"a\": 1}", "logit_bias", "found \"a\""},
        {"\"logit_bias\": {\"7\": 101}", "logit_bias.7", "found 101"},
        {"\"logit_bias\": {\"7\": 1, \"07\": 2}", "logit_bias", "7 twice"},
        {"\"response_format\": {\"type\": \"json_schema\"}", "response_format.type", "found \"json_schema\""},
        {"\"response_format\": \"json\"", "response_format", "found \"json\""},
        {"\"echo\": true", "echo", "expected false"},
        {"\"suffix\": \"x\"", "suffix", "expected none"},
        {"\"tools\": 7", "tools", "an array"},
        {"\"routing\": \"yes\"", "routing", "found \"yes\""},
        {"\"moec\": 3", "moec", "an object"},
        {"\"moec\": {\"top_l\": 3}", "moec", "the nearest is top_k"},
        {"\"moec\": {\"top_k\": 4}", "moec.top_k", "from 1 to 3"},
        {"\"moec\": {\"top_k_per_layer\": {\"3\": 1}}", "moec.top_k_per_layer", "layers with experts, found \"3\""},
        {"\"moec\": {\"top_k_per_layer\": {\"4\": 9}}", "moec.top_k_per_layer.4", "from 1 to 3"},
        {"\"moec\": {\"omit_experts\": [0, \"poet\"]}", "moec.omit_experts[1]", "code, prose, verse, found \"poet\""},
        {"\"moec\": {\"force_experts\": [3]}", "moec.force_experts[0]", "found 3"},
        {"\"moec\": {\"omit_experts\": [0, 1, 2]}", "moec", "at least one expert that is left"},
        {"\"moec\": {\"secretary\": 1}", "moec.secretary", "found 1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = xasprintf("{\"prompt\": \"x\", %s}", cases[i].more);
        check_refused(false, text, 400, cases[i].param, cases[i].part);
        free(text);
    }
}

static void test_prompts_refused(void **state) {
    (void)state;
    check_refused(false, "{}", 400, "prompt", "found nothing");
    check_refused(false, "{\"prompt\": 7}", 400, "prompt", "found 7");
    check_refused(false, "{\"prompt\": [1, -1]}", 400, "prompt[1]", "a token from 0 to 319, found -1");
    check_refused(false, "{\"prompt\": [1, \"a\"]}", 400, "prompt[1]", "found \"a\"");
    check_refused(false, "{\"prompt\": [\"a\", 1]}", 400, "prompt[1]", "found 1");
    check_refused(false, "{\"prompt\": [[1], [320]]}", 400, "prompt[1][0]", "found 320");
    check_refused(false, "{\"prompt\": [\"a\", \"b\", \"c\"], \"n\": 2}", 400, "n", "3 prompts times 2");
    check_refused(false, "{\"prompt\": \"x\", \"model\": \"gpt-4\"}", 404, "model", "\"tiny\"");
    check_refused(true, "{}", 400, "messages", "found nothing");
    check_refused(true, "{\"messages\": []}", 400, "messages", "1 to 4096");
    check_refused(true, "{\"messages\": [3]}", 400, "messages[0]", "an object, found 3");
    check_refused(true, "{\"messages\": [{\"content\": \"x\"}]}", 400, "messages[0].role", "found nothing");
    check_refused(true, "{\"messages\": [{\"role\": \"poet\", \"content\": \"x\"}]}", 400, "messages[0].role",
                  "\"poet\"");
    check_refused(true, "{\"messages\": [{\"role\": \"user\"}]}", 400, "messages[0].content", "found nothing");
    check_refused(true, "{\"messages\": [{\"role\": \"user\", \"content\": 1}]}", 400, "messages[0].content",
                  "found 1");
    check_refused(true, "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]}", 400,
                  "messages[0].content[0].type", "\"text\", found \"image_url\"");
    check_refused(true, "{\"messages\": [{\"role\": \"user\", \"content\": [7]}]}", 400, "messages[0].content[0]",
                  "found 7");
    check_refused(true, "{\"messages\": [{\"role\": \"tool\", \"content\": \"x\"}]}", 400, "messages", "not a tool's");
    check_refused(true, "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"top_logprobs\": 2}", 400,
                  "top_logprobs", "\"logprobs\": true");
}

static void test_dense_models_have_no_experts(void **state) {
    (void)state;
    const model_config mixture = config;
    memset(config.moe.layers, 0, sizeof config.moe.layers);
    check_refused(false, "{\"prompt\": \"x\", \"moec\": {\"top_k\": 1}}", 400, "moec", "this one is dense");
    completion_request r = read_good(false, "{\"prompt\": \"x\", \"moec\": {\"top_k\": null, \"omit_experts\": []}}");
    completion_request_free(&r);
    config = mixture;
}

/* ---- bodies ---- */

static void check_body(const char *text, size_t bytes, int http, const char *part) {
    cJSON *body = NULL;
    api_error e = {0};
    if (body_parse(&body, text, bytes, &e) == STATUS_OK) fail_msg("%.60s was parsed", text);
    assert_null(body);
    assert_int_equal(e.http, http);
    if (!strstr(e.message, part)) fail_msg("\"%s\" lacks \"%s\"", e.message, part);
}

static void test_bodies_refused(void **state) {
    static const char *const broken[] = {"{",
                                         "{\"a\"}",
                                         "{\"a\": }",
                                         "{\"a\": 1,}",
                                         "{\"a\": 01}",
                                         "{\"a\": NaN}",
                                         "{\"a\": \"\\x\"}",
                                         "{\"a\": \"\\ud800\"}",
                                         "{\"a\": \"\\u0000\"}",
                                         "{\"a\": \"\n\"}",
                                         "{} {}",
                                         "{'a': 1}"};
    (void)state;
    check_body("", 0, 400, "found nothing");
    check_body("[]", 2, 400, "a JSON object");
    check_body("{\"a\": \"\xff\"}", 9, 400, "UTF-8 text, found something else at byte offset 7");
    check_body("{\"a\": \"\0\"}", 10, 400, "UTF-8 text");
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        check_body(broken[i], strlen(broken[i]), 400, "expected JSON");
}

static void test_bodies_are_bounded(void **state) {
    const size_t most = 1 << 20;
    char *text = xmalloc(most + 16);
    (void)state;
    memcpy(text, "{\"a\": ", 6); /* deep */
    memset(text + 6, '[', most);
    check_body(text, most + 6, 400, "no deeper than 64");
    for (size_t i = 6; i < most; i += 2) memcpy(text + i, i == 6 ? "[1" : ",1", 2); /* wide */
    memcpy(text + most, "]}", 2);
    check_body(text, most + 2, 413, "at most 262144 values");
    memset(text + 6, ',', most); /* a text may have as many commas as it likes */
    text[6] = '"';
    memcpy(text + most, "\"}", 2);
    cJSON *body;
    api_error e = {0};
    assert_ok(body_parse(&body, text, most + 2, &e));
    cJSON_Delete(body);
    free(text);
}

/* ---- embeddings ---- */

static void test_embeddings(void **state) {
    (void)state;
    embedding_request r;
    api_error e = {0};
    assert_ok(embedding_request_read(
        &r, body_of("{\"input\": [\"a\", \"b\"], \"encoding_format\": \"base64\", \"model\": \"tiny\"}", &e), &limits,
        &e));
    assert_int_equal(r.input_count, 2);
    assert_true(r.base64);
    embedding_request_free(&r);
    static const char *const bad[][2] = {{"{\"input\": \"a\", \"encoding_format\": \"int8\"}", "encoding_format"},
                                         {"{\"input\": \"a\", \"dimensions\": 3}", "dimensions"},
                                         {"{\"input\": null}", "input"}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(embedding_request_read(&r, body_of(bad[i][0], &e), &limits, &e), STATUS_FAILED);
        assert_string_equal(e.param, bad[i][1]);
        embedding_request_free(&r);
    }
}

static void test_errors_are_openais(void **state) {
    (void)state;
    api_error e = {0};
    assert_int_equal(api_refuse(&e, 404, "model", "no \xff\n"), STATUS_FAILED);
    (void)api_refuse_code(&e, "model_not_found");
    cJSON *json = api_error_json(&e);
    char *text = cJSON_PrintUnformatted(json);
    assert_string_equal(text, "{\"error\":{\"message\":\"model: no \xEF\xBF\xBD\\n\",\"type\":\"not_found_error\","
                              "\"param\":\"model\",\"code\":\"model_not_found\"}}");
    cJSON_free(text);
    cJSON_Delete(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_experts),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_prompts_refused),
        cmocka_unit_test(test_bodies_refused),
        cmocka_unit_test(test_bodies_are_bounded),
        cmocka_unit_test(test_embeddings),
        cmocka_unit_test(test_errors_are_openais),
        cmocka_unit_test(test_dense_models_have_no_experts),
    };
    return cmocka_run_group_tests(tests, make_limits, NULL);
}

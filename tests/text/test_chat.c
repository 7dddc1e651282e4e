/* Conversations as transformers' apply_chat_template writes them (bench/make_chat_fixtures.py made tests/text/data/chat.json). */
#include "test.h"

#include "base/json.h"
#include "text/chat.h"
#include "text/text_buffer.h"
#include "text/tokenizer_settings.h"

enum { MOST_MESSAGES = 8 };

static const char *text_of(const cJSON *object, const char *key) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

/* A tokenizer whose control tokens are these two. */
static tokenizer *tokenizer_with(const char *bos, const char *eos, const char *template) {
    const char *keys[] = {"bos_token", "eos_token", "chat_template"}, *values[] = {bos, eos, template};
    text_buffer b = {0};
    tokenizer *t;
    text_append_string(&b,
                       "{\"moec_tokenizer\": 1, \"tokenizer\": {\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, "
                       "\"merges\": []}}, \"tokenizer_config\": {\"add_bos_token\": false");
    for (int i = 0; i < 3; i++) {
        if (!values[i]) continue;
        text_append_string(&b, ", ");
        text_append_json(&b, keys[i], strlen(keys[i]));
        text_append_string(&b, ": ");
        text_append_json(&b, values[i], strlen(values[i]));
    }
    text_append_string(&b, "}}");
    assert_ok(tokenizer_parse(&t, b.text, b.bytes, "test"));
    text_free(&b);
    return t;
}

static int read_messages(const cJSON *conversation, chat_message *messages) {
    int count = 0;
    const cJSON *one;
    cJSON_ArrayForEach(one, conversation) messages[count++] =
        (chat_message){.role = text_of(one, "role"), .content = text_of(one, "content")};
    return count;
}

static void check(const char *name, const chat_format *f, const tokenizer *t, const cJSON *conversation, bool generate,
                  const char *expected) {
    chat_message messages[MOST_MESSAGES];
    char *text;
    status s = chat_render(f, t, messages, read_messages(conversation, messages), generate, &text);
    if (!expected) {
        if (s == STATUS_OK) fail_msg("%s: `%s`, which its template refuses", name, text);
        return;
    }
    if (s != STATUS_OK) fail_msg("%s: %s; expected `%s`", name, error_message(), expected);
    if (strcmp(text, expected) != 0) fail_msg("%s: `%s`, expected `%s`", name, text, expected);
    free(text);
}

static void texts_are_those_of_transformers(void **state) {
    (void)state;
    cJSON *root;
    const cJSON *one;
    assert_ok(json_read_file("tests/text/data/chat.json", &root));
    const cJSON *conversations = cJSON_GetObjectItemCaseSensitive(root, "conversations");
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(root, "templates")) {
        const char *name = text_of(one, "name"), *template = text_of(one, "template");
        const cJSON *texts = cJSON_GetObjectItemCaseSensitive(one, "texts");
        chat_format *f = chat_format_create(template);
        tokenizer *t = tokenizer_with(text_of(one, "bos"), text_of(one, "eos"), template);
        assert_string_equal(tokenizer_chat_template(t), template);
        if (strcmp(chat_family_name(chat_format_family(f)), text_of(one, "family")) != 0)
            fail_msg("%s: taken for %s", name, chat_family_name(chat_format_family(f)));
        for (int i = 0; i < cJSON_GetArraySize(texts); i++)
            check(name, f, t, cJSON_GetArrayItem(conversations, i / 2), i % 2,
                  cJSON_GetStringValue(cJSON_GetArrayItem(texts, i)));
        tokenizer_close(t);
        chat_format_free(f);
    }
    cJSON_Delete(root);
}

static void what_is_unknown_is_refused(void **state) {
    (void)state;
    const chat_message hello = {"user", "Hello"};
    const char *templates[] = {
        NULL, "", "{{", "{{ '", "{% set content = ", "[INST]", "<|im_start|>", "{{ '<|im_start|>' + message"};
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
        chat_format *f = chat_format_create(templates[i]);
        tokenizer *t = tokenizer_with(NULL, NULL, templates[i]);
        char *text;
        assert_int_equal(chat_format_family(f), CHAT_NONE);
        assert_fails(chat_render(f, t, &hello, 1, true, &text), templates[i] ? "found another" : "found none");
        tokenizer_close(t);
        chat_format_free(f);
    }
}

/* The model's BOS is in front once, whether the template writes it or not. */
static void ids_have_control_tokens_and_one_bos(void **state) {
    (void)state;
    static const char vocabulary[] = "{\"moec_tokenizer\": 1, \"tokenizer\": {\"model\": {\"type\": \"BPE\", "
                                     "\"vocab\": {\"h\": 0}, \"merges\": []}, "
                                     "\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"special\": true}, "
                                     "{\"id\": 2, \"content\": \"<|im_start|>\", \"special\": true}]}, "
                                     "\"tokenizer_config\": {\"add_bos_token\": true, \"bos_token\": \"<s>\"}}";
    static const char *const templates[] = {
        "{{ '<|im_start|>' + message['role'] + message['content'] }}{{ '<|im_start|>assistant' }}",
        "{{ bos_token }}{{ '<|im_start|>' + message['role'] + message['content'] }}{{ '<|im_start|>assistant' }}"};
    static const int32_t expected[] = {1, 2, 0, 0, 2};
    const chat_message message = {"user", "hh"};
    tokenizer *t;
    assert_ok(tokenizer_parse(&t, vocabulary, sizeof vocabulary - 1, "test"));
    for (int i = 0; i < 2; i++) {
        chat_format *f = chat_format_create(templates[i]);
        int32_t *ids;
        size_t count;
        assert_ok(chat_encode(f, t, &message, 1, true, &ids, &count));
        assert_int_equal(count, 5);
        assert_memory_equal(ids, expected, sizeof expected);
        free(ids);
        chat_format_free(f);
    }
    tokenizer_close(t);
}

/* Half a character at the end of a message is no text that could be trimmed. */
static void messages_are_text(void **state) {
    (void)state;
    static const char template[] =
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
        "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
    tokenizer *t = tokenizer_with("<s>", "</s>", template);
    chat_format *f = chat_format_create(template);
    const chat_message messages[] = {{"system", "\xe2\x80"}, {"user", "hi"}};
    char *text;
    assert_fails(chat_render(f, t, messages, 2, true, &text), "role system: expected UTF-8");
    chat_format_free(f);
    tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_those_of_transformers),
        cmocka_unit_test(messages_are_text),
        cmocka_unit_test(ids_have_control_tokens_and_one_bos),
        cmocka_unit_test(what_is_unknown_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

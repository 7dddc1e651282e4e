/* Tokenizers as the arrays of a GGUF file and as a Hugging Face folder, and back: the same ids. The cases are those of
 * test_tokenizer_json.c. */
#include "test.h"

#include "base/json.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_export.h"

static const char *const some_texts[] = {"",
                                         "Hello world, it's 1234",
                                         "  two  spaces\n\n\tand tabs \n",
                                         "caf\xC3\xA9 \xE6\x97\xA5\xE6\x9C\xAC\xF0\x9F\xA6\x99",
                                         "In the beginning the experts were dense.",
                                         "<s>a</s> <|x|> b"};
enum { SOME = sizeof some_texts / sizeof *some_texts };

static void assert_same_ids(const char *name, const tokenizer *a, const tokenizer *b, const char *text) {
    for (int special = 0; special < 2; special++) {
        status (*encode)(const tokenizer *, const char *, size_t, int32_t **, size_t *) =
            special ? tokenizer_encode_special : tokenizer_encode;
        int32_t *x, *y;
        size_t x_count, y_count;
        assert_ok(encode(a, text, strlen(text), &x, &x_count));
        assert_ok(encode(b, text, strlen(text), &y, &y_count));
        if (x_count != y_count || memcmp(x, y, x_count * sizeof *x) != 0)
            fail_msg("%s: `%s` has other ids (special: %d): %zu and %zu", name, text, special, x_count, y_count);
        free(x);
        free(y);
    }
}

static void assert_same(const char *name, const tokenizer *a, const tokenizer *b) {
    assert_int_equal(tokenizer_vocab_size(a), tokenizer_vocab_size(b));
    assert_int_equal(tokenizer_adds_bos(a), tokenizer_adds_bos(b));
    if (tokenizer_adds_bos(a)) assert_int_equal(tokenizer_bos(a), tokenizer_bos(b));
    for (int32_t id = 0; id < tokenizer_vocab_size(a); id++) {
        if (tokenizer_is_end(a, id) != tokenizer_is_end(b, id) ||
            tokenizer_is_boundary(a, id) != tokenizer_is_boundary(b, id))
            fail_msg("%s: `%s` is another sort of token", name, tokenizer_piece(a, id));
        assert_int_equal(tokenizer_token_bytes(a, id, 3), tokenizer_token_bytes(b, id, 3));
    }
    for (int i = 0; i < SOME; i++) assert_same_ids(name, a, b, some_texts[i]);
}

static tokenizer *through_source(const char *name, const tokenizer *t) {
    exported_tokenizer e;
    tokenizer *back;
    if (tokenizer_export_source(t, &e) != STATUS_OK) fail_msg("%s: %s", name, error_message());
    assert_ok(tokenizer_from_source(&back, &e.source, name));
    exported_tokenizer_free(&e);
    return back;
}

static tokenizer *through_folder(const tokenizer *t, const char *folder) {
    tokenizer *back;
    assert_ok(folder_remove(folder));
    assert_ok(folder_create(folder));
    assert_ok(tokenizer_export_folder(t, folder));
    assert_ok(tokenizer_open(&back, folder));
    return back;
}

/* ---- tokenizer.json ---- */

static const char *text_of(const cJSON *object, const char *key) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static tokenizer *open_case(const cJSON *root, const cJSON *one) {
    const cJSON *models = cJSON_GetObjectItemCaseSensitive(root, "models");
    cJSON *file = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(one, "parts"), true);
    cJSON_AddItemToObject(file, "model",
                          cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(models, text_of(one, "model")), true));
    char *text = cJSON_PrintUnformatted(file);
    tokenizer *t;
    assert_ok(tokenizer_parse(&t, text, strlen(text), text_of(one, "name")));
    cJSON_free(text);
    cJSON_Delete(file);
    return t;
}

static void check_case(const cJSON *root, const cJSON *one, const char *folder) {
    const char *name = text_of(one, "name");
    const cJSON *text;
    tokenizer *t = open_case(root, one), *written = through_folder(t, folder);
    assert_same(name, t, written);
    if (strstr(name, "for GGUF")) {
        tokenizer *read = through_source(name, t), *again = through_folder(read, folder);
        assert_same(name, t, read);
        assert_same(name, t, again); /* scores have become pairs */
        cJSON_ArrayForEach(text, cJSON_GetObjectItemCaseSensitive(root, "texts")) {
            assert_same_ids(name, t, read, cJSON_GetStringValue(text));
            assert_same_ids(name, t, again, cJSON_GetStringValue(text));
        }
        tokenizer_close(read);
        tokenizer_close(again);
    }
    tokenizer_close(written);
    tokenizer_close(t);
}

static void tokenizers_come_back(void **state) {
    cJSON *root;
    const cJSON *one;
    char *folder = path_join(*state, "hf");
    assert_ok(json_read_file("tests/text/data/tokenizers.json", &root));
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(root, "cases")) check_case(root, one, folder);
    cJSON_Delete(root);
    free(folder);
}

static void what_a_gguf_cannot_say_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *name, *part;
    } refused[] = {
        {"GPT-2", "expected added tokens without lstrip, rstrip and single_word for a GGUF file, found `"},
        {"digits together", "expected a pre_tokenizer that tokenizer.ggml.pre of a GGUF file has a name for"},
        {"with a space in front", "expected added tokens without"},
        {"NFKC", "expected no normalizer but NFC for a GGUF file"},
        {"unknown characters", "expected no pre_tokenizer but Metaspace without split"},
        {"pieces with ##", "expected pieces without continuing_subword_prefix"},
    };
    cJSON *root;
    const cJSON *one;
    size_t found = 0;
    assert_ok(json_read_file("tests/text/data/tokenizers.json", &root));
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(
                                root, "cases")) for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (strcmp(text_of(one, "name"), refused[i].name) != 0) continue;
        tokenizer *t = open_case(root, one);
        exported_tokenizer e;
        assert_fails(tokenizer_export_source(t, &e), refused[i].part);
        tokenizer_close(t);
        found++;
    }
    assert_int_equal(found, sizeof refused / sizeof *refused);
    cJSON_Delete(root);
}

/* Merges of which scores would make others: "ab" is spelt by "a b" alone, though "abc" is also "a bc". */
static void merges_that_no_scores_give_are_refused(void **state) {
    (void)state;
    static const char *const files[] = {
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"bc\": 4, \"abc\": 5}, "
        "\"merges\": [\"a b\", \"b c\", \"ab c\"]}}",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"ab\": 3, \"bc\": 4, \"abc\": 5}, "
        "\"merges\": [\"a b\", \"ab c\", \"b c\", \"a bc\"]}}"};
    static const char *const parts[] = {"expected merges of all pieces that spell another",
                                        "expected the merges of each piece one after another"};
    for (int i = 0; i < 2; i++) {
        tokenizer *t;
        exported_tokenizer e;
        assert_ok(tokenizer_parse(&t, files[i], strlen(files[i]), "test"));
        assert_fails(tokenizer_export_source(t, &e), parts[i]);
        tokenizer_close(t);
    }
}

/* A GGUF file with scores says that spaces become "▁", and nothing else of what a text becomes. */
static void spaces_that_are_not_marked_are_refused(void **state) {
    (void)state;
#define WITH(normalizer)                                                                                               \
    "{\"normalizer\": " normalizer ", \"model\": {\"type\": \"BPE\", \"vocab\": {\"x\": 0, \"y\": 1}, \"merges\": "    \
    "[]}}"
    static const char *const files[] = {
        WITH("{\"type\": \"Replace\", \"pattern\": {\"String\": \"x\"}, \"content\": \"y\"}"),
        WITH("{\"type\": \"Prepend\", \"prepend\": \"x\"}"), WITH("null")};
    static const char *const parts[] = {"Replace of spaces", "Prepend of", "found one that leaves them"};
#undef WITH
    for (int i = 0; i < 3; i++) {
        tokenizer *t;
        exported_tokenizer e;
        assert_ok(tokenizer_parse(&t, files[i], strlen(files[i]), "test"));
        assert_fails(tokenizer_export_source(t, &e), parts[i]);
        tokenizer_close(t);
    }
}

static void settings_go_along(void **state) {
    static const char file[] = "{\"moec_tokenizer\": 1, \"tokenizer\": {\"added_tokens\": [{\"id\": 1, \"content\": "
                               "\"<s>\", \"special\": true}, {\"id\": 4, "
                               "\"content\": \"<e>\", \"special\": true}, {\"id\": 5, \"content\": \"<f>\", "
                               "\"special\": true}], \"pre_tokenizer\": {\"type\": "
                               "\"ByteLevel\", \"add_prefix_space\": false}, \"decoder\": {\"type\": \"ByteLevel\"}, "
                               "\"model\": {\"type\": \"BPE\", \"vocab\": "
                               "{\"a\": 0}, \"merges\": []}}, \"tokenizer_config\": {\"bos_token\": \"<s>\", "
                               "\"eos_token\": \"<e>\", \"add_bos_token\": true}, "
                               "\"generation_config\": {\"eos_token_id\": [4, 5]}, \"chat_template\": \"{{ 1 }}\"}";
    char *folder = path_join(*state, "hf");
    tokenizer *t;
    assert_ok(tokenizer_parse(&t, file, sizeof file - 1, "test"));
    tokenizer *ways[] = {through_source("test", t), through_folder(t, folder)};
    for (int i = 0; i < 2; i++) {
        assert_same("settings", t, ways[i]);
        assert_string_equal(tokenizer_chat_template(ways[i]), "{{ 1 }}");
        assert_string_equal(tokenizer_bos_text(ways[i]), "<s>");
        assert_string_equal(tokenizer_eos_text(ways[i]), "<e>");
        tokenizer_close(ways[i]);
    }
    exported_tokenizer e;
    assert_ok(tokenizer_export_source(t, &e));
    assert_int_equal(e.source.eot, 5);
    assert_int_equal(e.source.types[2], SOURCE_UNUSED); /* holes have names of their own */
    assert_memory_equal(e.source.tokens[3].text, "[PAD3]", 6);
    exported_tokenizer_free(&e);
    tokenizer_close(t);
    free(folder);
}

/* ---- SentencePiece ---- */

static bool next_text(void *context, const char **text, size_t *bytes) {
    int *left = context;
    static const char words[] =
        "the experts of a mixture, it's 12 or 34 of them\n    indented   \n\tcaf\xC3\xA9 the experts in the mixture";
    *text = words;
    *bytes = sizeof words - 1;
    return (*left)-- > 0;
}

static void sentencepiece_models_come_back(void **state) {
    char *folder = path_join(*state, "hf"), *file = path_join(folder, "tokenizer.json");
    int left = 50;
    tokenizer *t;
    assert_ok(sentencepiece_train(&t, 330, next_text, &left, 1));
    tokenizer *source = through_source("source", t), *written = through_folder(t, folder);
    assert_true(path_exists(file));
    assert_same("source", t, source);
    assert_same("folder", t, written);
    assert_same_ids("source", t, source, "the experts  of\n  the mixtures caf\xC3\xA9 \xE6\x97\xA5");
    tokenizer_close(source);
    tokenizer_close(written);
    tokenizer_close(t);
    free(folder);
    free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(tokenizers_come_back),
        cmocka_unit_test(what_a_gguf_cannot_say_is_refused),
        cmocka_unit_test(merges_that_no_scores_give_are_refused),
        cmocka_unit_test(spaces_that_are_not_marked_are_refused),
        in_scratch(settings_go_along),
        in_scratch(sentencepiece_models_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

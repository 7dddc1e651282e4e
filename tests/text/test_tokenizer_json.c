/* Hugging Face's tokenizer.json: the ids of PyPI's tokenizers (bench/make_tokenizer_fixtures.py made tests/text/data/tokenizers.json),
 * the files beside it in a model's folder, and files that are not what they claim. */
#include "test.h"

#include "base/json.h"
#include "text/text_buffer.h"
#include "text/tokenizer.h"
#include <time.h>

#define FIXTURES "tests/text/data/tokenizers.json"

/* ---- as tokenizers has it ---- */

static const char *text_of(const cJSON *object, const char *key) {
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

/* The tokenizer.json of a case: one of the models, and its own parts. */
static char *file_of(const cJSON *root, const cJSON *one) {
    const cJSON *models = cJSON_GetObjectItemCaseSensitive(root, "models");
    cJSON *file = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(one, "parts"), true);
    cJSON_AddItemToObject(file, "model",
                          cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(models, text_of(one, "model")), true));
    char *text = cJSON_PrintUnformatted(file);
    cJSON_Delete(file);
    return text;
}

static void check_ids(const char *name, const tokenizer *t, const char *text, bool special, const cJSON *expected) {
    int32_t *ids;
    size_t count;
    int i = 0;
    const cJSON *id;
    assert_ok((special ? tokenizer_encode_special : tokenizer_encode)(t, text, strlen(text), &ids, &count));
    if ((int)count != cJSON_GetArraySize(expected))
        fail_msg("%s: `%s`: %zu ids, expected %d (special: %d)", name, text, count, cJSON_GetArraySize(expected),
                 special);
    cJSON_ArrayForEach(id, expected) {
        if (ids[i] != id->valueint)
            fail_msg("%s: `%s`: id %d is %d, expected %d (special: %d)", name, text, i, ids[i], id->valueint, special);
        i++;
    }
    free(ids);
}

static void check_text(const char *name, const tokenizer *t, const cJSON *ids, const char *expected) {
    int32_t list[256];
    int count = 0;
    const cJSON *id;
    char *text;
    size_t bytes;
    assert_true(cJSON_GetArraySize(ids) <= 256);
    cJSON_ArrayForEach(id, ids) list[count++] = id->valueint;
    assert_ok(tokenizer_decode(t, list, (size_t)count, &text, &bytes));
    if (strcmp(text, expected) != 0) fail_msg("%s: decoded `%s`, expected `%s`", name, text, expected);
    free(text);
}

static void check_case(const cJSON *texts, const cJSON *one, const tokenizer *t) {
    const char *name = text_of(one, "name");
    for (int i = 0; i < cJSON_GetArraySize(texts); i++) {
        const char *text = cJSON_GetStringValue(cJSON_GetArrayItem(texts, i));
        const cJSON *plain = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(one, "plain"), i);
        const cJSON *special = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(one, "special"), i);
        const cJSON *decoded = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(one, "decoded"), i);
        check_ids(name, t, text, false, plain);
        check_ids(name, t, text, true, special);
        if (cJSON_IsString(decoded)) check_text(name, t, plain, decoded->valuestring);
    }
    const int bos = cJSON_GetObjectItemCaseSensitive(one, "bos")->valueint;
    assert_int_equal(tokenizer_adds_bos(t), bos >= 0);
    if (bos >= 0) assert_int_equal(tokenizer_bos(t), bos);
}

/* And once more from what checkpoints store. */
static void ids_are_those_of_tokenizers(void **state) {
    (void)state;
    cJSON *root;
    const cJSON *one;
    assert_ok(json_read_file(FIXTURES, &root));
    const cJSON *texts = cJSON_GetObjectItemCaseSensitive(root, "texts");
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(root, "cases")) {
        char *file = file_of(root, one);
        tokenizer *t, *again;
        const void *bytes;
        size_t count;
        assert_ok(tokenizer_parse(&t, file, strlen(file), text_of(one, "name")));
        check_case(texts, one, t);
        tokenizer_bytes(t, &bytes, &count);
        assert_ok(tokenizer_parse(&again, bytes, count, "again"));
        tokenizer_close(t);
        check_case(texts, one, again);
        tokenizer_close(again);
        cJSON_free(file);
    }
    cJSON_Delete(root);
}

static void of_equal_pairs_the_leftmost_merges(void **state) {
    (void)state;
    static const char file[] =
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"aa\": 1}, \"merges\": [\"a a\"]}}";
    tokenizer *t;
    int32_t *ids;
    size_t count;
    assert_ok(tokenizer_parse(&t, file, sizeof file - 1, "test"));
    assert_ok(tokenizer_encode(t, "aaaaa", 5, &ids, &count));
    assert_int_equal(count, 3);
    assert_memory_equal(ids, ((const int32_t[]){1, 1, 0}), 3 * sizeof *ids);
    free(ids);
    tokenizer_close(t);
}

/* ---- a model's folder ---- */

static const char small[] =
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}, "
    "\"added_tokens\": [{\"id\": 3, \"content\": \"<s>\", \"special\": true}, "
    "{\"id\": 4, \"content\": \"<e>\", \"special\": true}, {\"id\": 7, \"content\": \"<f>\", \"special\": true}]}";

static void put(const char *folder, const char *name, const char *text) {
    char *path = path_join(folder, name);
    assert_ok(file_write_whole(path, text, strlen(text)));
    free(path);
}

static void a_folder_says_how_texts_begin_and_end(void **state) {
    const char *folder = *state;
    tokenizer *t, *again;
    const void *bytes;
    size_t count;
    put(folder, "tokenizer.json", small);
    put(folder, "tokenizer_config.json",
        "{\"bos_token\": {\"content\": \"<s>\"}, \"eos_token\": \"<e>\", \"add_bos_token\": true, \"chat_template\": "
        "\"old\"}");
    put(folder, "generation_config.json", "{\"eos_token_id\": [7, 9]}");
    put(folder, "config.json", "{\"eos_token_id\": 2, \"hidden_size\": 8}");
    put(folder, "chat_template.jinja", "{{ \"new\" }}\n");
    assert_ok(tokenizer_open(&t, folder));
    tokenizer_bytes(t, &bytes, &count);
    assert_ok(tokenizer_parse(&again, bytes, count, "again"));
    tokenizer_close(t);
    assert_int_equal(tokenizer_vocab_size(again), 8);
    assert_int_equal(tokenizer_bos(again), 3);
    assert_true(tokenizer_adds_bos(again));
    assert_true(tokenizer_is_end(again, 4) && tokenizer_is_end(again, 7) && tokenizer_is_end(again, 9));
    assert_false(tokenizer_is_end(again, 2)); /* generation_config.json is the newer */
    assert_true(tokenizer_is_boundary(again, 5) && tokenizer_is_boundary(again, 4));
    assert_string_equal(tokenizer_chat_template(again), "{{ \"new\" }}\n");
    assert_string_equal(tokenizer_bos_text(again), "<s>");
    assert_string_equal(tokenizer_eos_text(again), "<e>");
    tokenizer_close(again);

    put(folder, "generation_config.json", "{\"eos_token_id\": \"7\"}");
    assert_fails(tokenizer_open(&t, folder),
                 "expected eos_token_id in generation_config.json to be an id or a list of ids");
    put(folder, "generation_config.json", "[]");
    assert_fails(tokenizer_open(&t, folder), "generation_config.json: expected a JSON object, found none");
}

/* ---- what is refused ---- */

static void assert_refused(const char *file, const char *part) {
    tokenizer *t;
    assert_fails(tokenizer_parse(&t, file, strlen(file), "a.json"), part);
    assert_int_equal(strncmp(error_message(), "a.json: ", 8), 0);
    assert_null(strchr(error_message(), '\n'));
}

#define MODEL(vocab, merges) "\"model\": {\"type\": \"BPE\", \"vocab\": {" vocab "}, \"merges\": [" merges "]}"

static void what_is_wrong_is_named(void **state) {
    (void)state;
    assert_refused("{}", "expected the member model of a tokenizer.json, found none");
    assert_refused("{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}",
                   "expected a model of type BPE, found Unigram");
    assert_refused("{\"model\": {\"type\": \"WordPiece\", \"vocab\": {}}}",
                   "expected a model of type BPE, found WordPiece");
    assert_refused("{" MODEL("", "") "}", "expected pieces in model.vocab, found none");
    assert_refused("{" MODEL("\"a\": 0", "\"a x\"") "}",
                   "expected model.merges to name pieces of model.vocab, found `x`");
    assert_refused("{" MODEL("\"a\": 0, \"b\": 1", "\"a b\"") "}", "found `ab`");
    assert_refused("{" MODEL("\"a\": 0", "\"a\"") "}", "expected a pair of pieces in model.merges");
    assert_refused("{" MODEL("\"a\": 0, \"b\": 0", "") "}",
                   "expected every id once in model.vocab, found 0 for `a` and `b`");
    assert_refused("{" MODEL("\"a\": 0, \"a\": 1", "") "}",
                   "expected every piece once in model.vocab, found `a` again");
    assert_refused("{" MODEL("\"a\": 16777216", "") "}", "expected an id below 2^24");
    assert_refused("{" MODEL("\"a\": -1", "") "}", "expected an id below 2^24");
    assert_refused("{" MODEL("\"a\": 16000000", "") "}", "expected ids without many holes");
    assert_refused("{" MODEL("\"a\": 0", "") ", \"added_tokens\": [{\"id\": 16000000, \"content\": \"b\"}]}",
                   "in added_tokens, for there are not more pieces, found 16000000");
    assert_refused("{" MODEL("\"a\": 0", "") ", \"added_tokens\": [{\"id\": 1, \"content\": \"a\"}]}",
                   "found 1 of added_tokens' `a` in model.vocab for another");
    assert_refused("{" MODEL("\"a\": 0", "") ", \"added_tokens\": [{\"id\": 0, \"content\": \"b\"}]}",
                   "expected one id for each token");
    assert_refused("{" MODEL("\"a\": 0", "") ", \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}}",
                   "BertPreTokenizer");
    assert_refused("{" MODEL("\"a\": 0", "") ", \"normalizer\": {\"type\": \"Precompiled\"}}", "Precompiled");
    assert_refused("{" MODEL("\"a\": 0", "") ", \"decoder\": {\"type\": \"WordPiece\"}}", "WordPiece");
    assert_refused("{" MODEL("\"a\": 0", "") ", \"post_processor\": {\"type\": \"BertProcessing\"}}", "BertProcessing");
    assert_refused("{\"moec_tokenizer\": 2, \"tokenizer\": {}}", "expected a tokenizer bundle of version 1, found 2");
    assert_refused("{" MODEL("\"\xFF\": 0", "") "}", "expected UTF-8 text, found the byte 0xFF");
}

static char *nested(const char *open, const char *inner, const char *close, int depth) {
    text_buffer b = {0};
    text_append_string(&b, "{" MODEL("\"a\": 0", "") ", \"pre_tokenizer\": ");
    for (int i = 0; i < depth; i++) text_append_string(&b, open);
    text_append_string(&b, inner);
    for (int i = 0; i < depth; i++) text_append_string(&b, close);
    text_append_string(&b, "}");
    return b.text;
}

static void deep_nesting_is_refused(void **state) {
    (void)state;
    char *steps = nested("{\"type\": \"Sequence\", \"pretokenizers\": [", "{\"type\": \"ByteLevel\"}", "]}", 100);
    char *lists = nested("[", "", "]", 100000);
    tokenizer *t;
    assert_int_not_equal(tokenizer_parse(&t, steps, strlen(steps), "a.json"), STATUS_OK);
    assert_int_not_equal(tokenizer_parse(&t, lists, strlen(lists), "a.json"), STATUS_OK);
    free(steps);
    free(lists);
}

/* White space between tokens is none of them; a mark of the byte order and lines before the object are no other kind of file. */
static void white_space_means_nothing(void **state) {
    (void)state;
    char *spaced = xasprintf("\xEF\xBB\xBF\n %s,%70s\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": "
                             "\"b\"}, \"content\": \"a\"}}",
                             "{" MODEL("\"a\": 0, \"b\": 1", ""), " ");
    tokenizer *t;
    int32_t *ids;
    size_t count;
    assert_ok(tokenizer_parse(&t, spaced, strlen(spaced), "test"));
    assert_ok(tokenizer_encode(t, "ab", 2, &ids, &count));
    assert_int_equal(count, 2);
    assert_true(ids[0] == 0 && ids[1] == 0);
    free(ids);
    tokenizer_close(t);
    free(spaced);
}

/* ---- memory ---- */

/* [{"type": TYPE …, "…": 4,000 characters}, …], `count` of them */
static char *growing(const char *kind, const char *list, const char *step, int count) {
    text_buffer b = {0};
    char long_text[4001];
    memset(long_text, ' ', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    text_append_string(&b, "{" MODEL("\"a\": 0, \"b\": 1", "") ", \"");
    text_append_string(&b, kind);
    text_append_string(&b, "\": {\"type\": \"Sequence\", \"");
    text_append_string(&b, list);
    text_append_string(&b, "\": [");
    for (int i = 0; i < count; i++) {
        text_append_string(&b, i ? ", " : "");
        text_append_string(&b, step);
        text_append_string(&b, long_text);
        text_append_string(&b, "\"}");
    }
    text_append_string(&b, "]}");
    return b.text;
}

/* Three steps of 4,000 characters each would make 64 GB of "a b". */
static void steps_that_make_much_of_little_are_an_error(void **state) {
    (void)state;
    static const char replace[] = "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"";
    char *files[] = {
        growing("pre_tokenizer", "pretokenizers",
                "{\"type\": \"Metaspace\", \"prepend_scheme\": \"never\", \"split\": false, \"replacement\": \"", 3),
        growing("normalizer", "normalizers", replace, 3)};
    for (int i = 0; i < 2; i++) {
        char *file = xasprintf("%s}", files[i]);
        tokenizer *t;
        int32_t *ids;
        size_t count;
        assert_ok(tokenizer_parse(&t, file, strlen(file), "test"));
        assert_fails(tokenizer_encode(t, "a b", 3, &ids, &count), "tokenizer: a text of 3 bytes grows beyond 8384");
        tokenizer_close(t);
        free(file);
    }
    char *added = xasprintf("%s, \"added_tokens\": [{\"id\": 2, \"content\": \"< >\", \"special\": false}]}", files[1]);
    assert_refused(added, "a text of 3 bytes grows beyond 8384");
    free(added);
    free(files[0]);
    free(files[1]);
}

/* ---- time ---- */

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void expressions_that_run_away_are_an_error(void **state) {
    (void)state;
    static const char file[] =
        "{" MODEL("\"a\": 0, \"!\": 1", "") ", \"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": "
                                            "\"(a|aa)+$\"}, \"behavior\": \"Isolated\", \"invert\": false}}";
    tokenizer *t;
    char text[5000];
    int32_t *ids;
    size_t count;
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '!';
    assert_ok(tokenizer_parse(&t, file, strlen(file), "test"));
    const double begin = seconds();
    assert_fails(tokenizer_encode(t, text, sizeof text, &ids, &count), "(a|aa)+$");
    assert_true(seconds() - begin < 10);
    tokenizer_close(t);
}

static char *fixture(const char *name) {
    cJSON *root;
    const cJSON *one;
    char *file = NULL;
    assert_ok(json_read_file(FIXTURES, &root));
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(root, "cases")) if (strcmp(text_of(one, "name"), name) ==
                                                                                 0) file = file_of(root, one);
    cJSON_Delete(root);
    assert_non_null(file);
    return file;
}

/* One word of a megabyte: merging takes n log n steps, not n². */
static void a_long_word_takes_no_square_of_time(void **state) {
    (void)state;
    enum { BYTES = 1 << 20 };
    static const char *const names[] = {"GPT-2", "Llama 3", "Llama 2"};
    char *text = xmalloc(BYTES);
    for (int i = 0; i < 3; i++) {
        char *file = fixture(names[i]);
        tokenizer *t;
        int32_t *ids;
        size_t count;
        for (int j = 0; j < BYTES; j++) text[j] = i ? (char)('a' + (j ^ j >> 7) % 3) : 'e';
        assert_ok(tokenizer_parse(&t, file, strlen(file), names[i]));
        const double begin = seconds();
        assert_ok(tokenizer_encode(t, text, BYTES, &ids, &count));
        assert_true(seconds() - begin < 10);
        assert_true(tokenizer_is_exact(t, ids, count, text, BYTES));
        free(ids);
        tokenizer_close(t);
        cJSON_free(file);
    }
    free(text);
}

/* ---- damage ---- */

static void try(const char *bytes, size_t count, bool whole) {
    tokenizer *t;
    int32_t *ids;
    size_t id_count;
    if (tokenizer_parse(&t, bytes, count, "damaged") != STATUS_OK) return;
    assert_true(whole);
    if (tokenizer_encode_special(t, "ab <s>", 6, &ids, &id_count) == STATUS_OK) free(ids);
    tokenizer_close(t);
}

static void files_that_are_cut_or_damaged_never_crash(void **state) {
    (void)state;
    const size_t count = sizeof small - 1;
    char bytes[sizeof small];
    for (size_t cut = 0; cut < count; cut++) try(small, cut, false);
    memcpy(bytes, small, sizeof small);
    for (size_t i = 0; i < count; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] ^= (char)(1 << bit);
            try(bytes, count, true);
            bytes[i] ^= (char)(1 << bit);
        }
    char *file = fixture("Qwen2");
    for (size_t i = 0; i < strlen(file); i += 7) {
        const char was = file[i];
        file[i] = (char)("\"{}[],:0\\"[i % 9]);
        try(file, strlen(file), true);
        file[i] = was;
    }
    cJSON_free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_of_tokenizers),
        cmocka_unit_test(of_equal_pairs_the_leftmost_merges),
        in_scratch(a_folder_says_how_texts_begin_and_end),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(white_space_means_nothing),
        cmocka_unit_test(steps_that_make_much_of_little_are_an_error),
        cmocka_unit_test(expressions_that_run_away_are_an_error),
        cmocka_unit_test(a_long_word_takes_no_square_of_time),
        cmocka_unit_test(files_that_are_cut_or_damaged_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

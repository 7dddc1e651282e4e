/* Tokenizers from the arrays of a GGUF. The ids are what llama.cpp gives (bench/compare_tokenizers.py holds real vocabularies
 * against it). */
#include "test.h"

#include "text/tokenizer_source.h"
#include <math.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))
#define STRING(literal)                                                                                                \
    { literal, sizeof(literal) - 1 }
#define SPACE "\xE2\x96\x81" /* U+2581 */

/* Ġ is how byte-level vocabularies write a space. */
static const source_string byte_tokens[] = {STRING("a"),       STRING("b"),   STRING("Ġ"), STRING("ab"), STRING("Ġa"),
                                            STRING("<|end|>"), STRING("Ġab"), STRING("1"), STRING("11"), STRING("bb")};
static const source_string merges[] = {STRING("a b"), STRING("Ġ a"), STRING("Ġ ab"), STRING("1 1"), STRING("b b")};
static const int32_t byte_types[] = {1, 1, 1, 1, 1, 3, 1, 1, 1, 4};

static tokenizer_source byte_level(void) {
    tokenizer_source s = tokenizer_source_empty();
    s.model = "gpt2";
    s.pre = "gpt-2";
    s.tokens = byte_tokens;
    s.types = byte_types;
    s.count = COUNT(byte_tokens);
    s.merges = merges;
    s.merge_count = COUNT(merges);
    s.eos = 5;
    return s;
}

static const source_string scored_tokens[] = {STRING("<unk>"),    STRING("<s>"),    STRING("</s>"),    STRING("<0x0A>"),
                                              STRING("<0xC3>"),   STRING("<0xA9>"), STRING(SPACE),     STRING("a"),
                                              STRING("b"),        STRING("ab"),     STRING(SPACE "a"), STRING("aba"),
                                              STRING(SPACE SPACE)};
static const float scores[] = {0, 0, 0, 0, 0, 0, -9, -7, -8, -1, -2, -3, -4};
static const int32_t scored_types[] = {2, 3, 3, 6, 6, 6, 1, 1, 1, 1, 1, 1, 1};

static tokenizer_source scored(void) {
    tokenizer_source s = tokenizer_source_empty();
    s.model = "llama";
    s.tokens = scored_tokens;
    s.scores = scores;
    s.types = scored_types;
    s.count = COUNT(scored_tokens);
    s.bos = 1;
    s.eos = 2;
    return s;
}

static void assert_ids(const tokenizer *t, const char *text, bool special, const int32_t *expected, size_t count) {
    int32_t *ids;
    size_t found;
    assert_ok((special ? tokenizer_encode_special : tokenizer_encode)(t, text, strlen(text), &ids, &found));
    assert_int_equal(found, count);
    assert_memory_equal(ids, expected, count * sizeof *ids);
    free(ids);
}
#define ASSERT_IDS(t, text, special, ...)                                                                              \
    assert_ids(t, text, special, (const int32_t[]){__VA_ARGS__}, COUNT(((const int32_t[]){__VA_ARGS__})))

static void assert_text(const tokenizer *t, const char *expected, const int32_t *ids, size_t count) {
    char *text;
    size_t bytes;
    assert_ok(tokenizer_decode(t, ids, count, &text, &bytes));
    assert_string_equal(text, expected);
    free(text);
}

/* What checkpoints store is enough. */
static tokenizer *again(tokenizer *t) {
    const void *bytes;
    size_t count;
    tokenizer *copy;
    tokenizer_bytes(t, &bytes, &count);
    assert_ok(tokenizer_parse(&copy, bytes, count, "copy"));
    tokenizer_close(t);
    return copy;
}

static void byte_level_vocabularies(void **state) {
    (void)state;
    tokenizer_source s = byte_level();
    tokenizer *t;
    s.chat_template = "{{ 'x\n\"y\"' }}";
    assert_ok(tokenizer_from_source(&t, &s, "test"));
    t = again(t);
    assert_int_equal(tokenizer_vocab_size(t), 10);
    ASSERT_IDS(t, "ab ab 11a", false, 3, 6, 2, 8, 0);
    ASSERT_IDS(t, "abb", false, 0, 9); /* a token of its own wherever it stands, merges or not */
    ASSERT_IDS(t, "a<|end|>b", true, 0, 5, 1);
    ASSERT_IDS(t, "a<|end|>b", false, 0, 1); /* the characters of its name have no tokens */
    assert_text(t, "ab ab", (const int32_t[]){3, 6, 5}, 3);
    assert_false(tokenizer_adds_bos(t));
    assert_true(tokenizer_is_end(t, 5));
    assert_true(tokenizer_is_boundary(t, 5));
    assert_string_equal(tokenizer_chat_template(t), s.chat_template);
    assert_string_equal(tokenizer_eos_text(t), "<|end|>");
    tokenizer_close(t);

    s.pre = "smollm"; /* digits one by one */
    assert_ok(tokenizer_from_source(&t, &s, "test"));
    ASSERT_IDS(t, "11", false, 7, 7);
    tokenizer_close(t);
}

static void scored_vocabularies(void **state) {
    (void)state;
    tokenizer_source s = scored();
    tokenizer *t;
    assert_ok(tokenizer_from_source(&t, &s, "test"));
    t = again(t);
    assert_true(tokenizer_adds_bos(t));
    assert_int_equal(tokenizer_bos(t), 1);
    assert_true(tokenizer_is_end(t, 2));
    /* " ab": the pair of the best score merges first, whatever stands left of it. */
    ASSERT_IDS(t, "ab", false, 6, 9);
    ASSERT_IDS(t, "a", false, 10);
    ASSERT_IDS(t, "  a", false, 12, 10); /* one is put in front */
    ASSERT_IDS(t, "aba", false, 6, 11);
    ASSERT_IDS(t, "a\n\xC3\xA9", false, 10, 3, 4, 5);
    ASSERT_IDS(t, "a\xC3\x9F", false, 10, 0); /* neither a piece nor bytes */
    ASSERT_IDS(t, "a</s>b", true, 10, 2, 6, 8);
    assert_text(t, "ab a", (const int32_t[]){1, 6, 9, 10}, 4);
    tokenizer_close(t);

    s.adds_space = SOURCE_NO;
    s.adds_bos = SOURCE_NO;
    assert_ok(tokenizer_from_source(&t, &s, "test"));
    ASSERT_IDS(t, "ab", false, 9);
    assert_text(t, " a", (const int32_t[]){10}, 1);
    assert_false(tokenizer_adds_bos(t));
    tokenizer_close(t);
}

/* As in Phi-3's file. */
static void ends_are_control_tokens_whatever_their_type_is(void **state) {
    (void)state;
    int32_t types[COUNT(scored_types)];
    memcpy(types, scored_types, sizeof types);
    types[2] = SOURCE_USER_DEFINED;
    tokenizer_source s = scored();
    tokenizer *t;
    s.types = types;
    assert_ok(tokenizer_from_source(&t, &s, "test"));
    assert_true(tokenizer_is_boundary(t, 2));
    ASSERT_IDS(t, "a</s>b", true, 10, 2, 6, 8);
    ASSERT_IDS(t, "a</s>b", false, 10, 0, 0, 0, 0, 8);
    tokenizer_close(t);
}

static void tokens_without_a_name_have_one(void **state) {
    (void)state;
    static const source_string tokens[] = {STRING(""), STRING("a"), STRING("")};
    tokenizer_source s = byte_level();
    tokenizer *t;
    s.tokens = tokens;
    s.types = NULL;
    s.count = 3;
    s.merge_count = 0;
    s.eos = -1;
    assert_ok(tokenizer_from_source(&t, &s, "test"));
    assert_string_equal(tokenizer_piece(t, 2), "[EMPTY_2]");
    tokenizer_close(t);
}

#define REFUSED(change, part)                                                                                          \
    do {                                                                                                               \
        tokenizer_source s = byte_level(), *p = &s;                                                                    \
        tokenizer *t;                                                                                                  \
        change;                                                                                                        \
        assert_fails(tokenizer_from_source(&t, p, "a.gguf"), part);                                                    \
        assert_non_null(strstr(error_message(), "a.gguf: "));                                                          \
    } while (0)

static void what_is_wrong_is_named(void **state) {
    (void)state;
    static const source_string broken[] = {{"\xFF", 1}}, strange[] = {STRING("a x")}, one[] = {STRING("ab")};
    static const source_string twice[] = {STRING("a"), STRING("a")};
    static const float nan_scores[] = {0, NAN, 0, 0, 0, 0, 0, 0, 0, 0};
    REFUSED(s.model = "bert", "expected a tokenizer.ggml.model of gpt2 or llama, found bert");
    REFUSED(s.pre = "viking", "expected a tokenizer.ggml.pre that moec supports, found viking (default, llama-bpe");
    REFUSED(s.merges = NULL; s.merge_count = 0, "expected tokenizer.ggml.merges, found none");
    REFUSED(s.model = "llama", "expected tokenizer.ggml.scores, found none");
    REFUSED(s.model = "llama"; s.scores = nan_scores, "expected finite tokenizer.ggml.scores, found nan for id 1");
    REFUSED(s.count = 0, "expected 1 to 16777216 tokens in tokenizer.ggml.tokens, found 0");
    REFUSED(s.count = SIZE_MAX, "expected 1 to 16777216 tokens");
    REFUSED(s.merge_count = SIZE_MAX, "expected at most 16777216 pairs in tokenizer.ggml.merges");
    REFUSED(s.eos = 10, "expected tokenizer.ggml.eos_token_id below 10, found 10");
    REFUSED(s.tokens = broken; s.count = 1, "expected UTF-8 in tokenizer.ggml.tokens, found the byte 0xFF in number 0");
    REFUSED(s.tokens = twice; s.count = 2; s.eos = -1, "expected every piece once");
    REFUSED(s.merges = strange; s.merge_count = 1, "expected model.merges to name pieces of model.vocab, found `x`");
    REFUSED(s.merges = one; s.merge_count = 1, "a pair of pieces in model.merges");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level_vocabularies),
        cmocka_unit_test(scored_vocabularies),
        cmocka_unit_test(ends_are_control_tokens_whatever_their_type_is),
        cmocka_unit_test(tokens_without_a_name_have_one),
        cmocka_unit_test(what_is_wrong_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Tokenizers in the metadata of GGUF files. */
#include "test.h"

#include "formats/gguf_builder.h"
#include "formats/gguf_tokenizer.h"
#include "text/text_buffer.h"

static void put_texts(gguf_builder *b, const char *key, const char *const *texts, int count) {
    gguf_begin_array(b, key, GGUF_STRING, (uint64_t)count);
    for (int i = 0; i < count; i++) gguf_put_text(b, texts[i], strlen(texts[i]));
}

static void put_types(gguf_builder *b, const int32_t *types, int count) {
    gguf_begin_array(b, "tokenizer.ggml.token_type", GGUF_INT32, (uint64_t)count);
    for (int i = 0; i < count; i++) gguf_put_int32(b, types[i]);
}

enum { TOKENS = 5 };

static gguf_builder byte_level(void) {
    static const char *const tokens[TOKENS] = {"a", "b", "ab", "<s>", "<e>"}, *const merges[] = {"a b"};
    static const int32_t types[TOKENS] = {1, 1, 1, 3, 3};
    gguf_builder b = {0};
    gguf_add_text(&b, "tokenizer.ggml.model", "gpt2");
    gguf_add_text(&b, "tokenizer.ggml.pre", "qwen2");
    put_texts(&b, "tokenizer.ggml.tokens", tokens, TOKENS);
    put_types(&b, types, TOKENS);
    put_texts(&b, "tokenizer.ggml.merges", merges, 1);
    gguf_add_uint32(&b, "tokenizer.ggml.bos_token_id", 3);
    gguf_add_uint32(&b, "tokenizer.ggml.eos_token_id", UINT32_MAX);
    gguf_add_uint32(&b, "tokenizer.ggml.eot_token_id", 4);
    gguf_add_bool(&b, "tokenizer.ggml.add_bos_token", true);
    gguf_add_text(&b, "tokenizer.chat_template", "{{ messages }}");
    return b;
}

/* A file with this metadata and no tensors. */
static text_buffer file_of(const gguf_builder *b) {
    const uint32_t version = 3;
    const uint64_t tensors = 0;
    text_buffer f = {0};
    text_append(&f, "GGUF", 4);
    text_append(&f, (const char *)&version, sizeof version);
    text_append(&f, (const char *)&tensors, sizeof tensors);
    text_append(&f, (const char *)&b->values, sizeof b->values);
    text_append(&f, (const char *)b->bytes, b->count);
    return f;
}

static status read_bytes(const char *bytes, size_t count, tokenizer **t) {
    gguf g;
    TRY(gguf_parse(&g, "a.gguf", (const uint8_t *)bytes, count));
    const status s = gguf_read_tokenizer(t, &g);
    gguf_close(&g);
    return s;
}

static status read_built(gguf_builder *b, tokenizer **t) {
    text_buffer f = file_of(b);
    gguf_builder_free(b);
    const status s = read_bytes(f.text, f.bytes, t);
    text_free(&f);
    return s;
}

static void a_file_is_opened(void **state) {
    char *path = path_join(*state, "x.gguf");
    gguf_builder b = byte_level();
    text_buffer f = file_of(&b);
    tokenizer *t;
    int32_t *ids;
    size_t count;
    assert_ok(file_write_whole(path, f.text, f.bytes));
    assert_ok(gguf_open_tokenizer(&t, path));
    assert_int_equal(tokenizer_vocab_size(t), TOKENS);
    assert_int_equal(tokenizer_bos(t), 3);
    assert_true(tokenizer_adds_bos(t));
    assert_true(tokenizer_is_end(t, 4));
    assert_string_equal(tokenizer_chat_template(t), "{{ messages }}");
    assert_ok(tokenizer_encode_special(t, "ab<e>a", 6, &ids, &count));
    assert_int_equal(count, 3);
    assert_memory_equal(ids, ((const int32_t[]){2, 4, 0}), 3 * sizeof *ids);
    free(ids);
    tokenizer_close(t);
    gguf_builder_free(&b);
    text_free(&f);
    free(path);
}

static void what_is_missing_or_of_another_length_is_named(void **state) {
    static const char *const tokens[] = {"a", "b"}, *const merges[] = {"a b"};
    static const int32_t types[] = {1};
    char *path = path_join(*state, "none.gguf");
    gguf_builder b = {0};
    tokenizer *t;
    gguf_add_text(&b, "general.name", "nothing");
    text_buffer f = file_of(&b);
    assert_ok(file_write_whole(path, f.text, f.bytes));
    assert_fails(gguf_open_tokenizer(&t, path), "none.gguf: expected a tokenizer in its metadata, found none");
    text_free(&f);
    assert_ok(read_built(&b, &t));
    assert_null(t);

    b = (gguf_builder){0};
    gguf_add_text(&b, "tokenizer.ggml.model", "gpt2");
    put_texts(&b, "tokenizer.ggml.merges", merges, 1);
    assert_fails(read_built(&b, &t), "a.gguf: expected the key tokenizer.ggml.tokens in its metadata, found none");

    b = (gguf_builder){0};
    gguf_add_text(&b, "tokenizer.ggml.model", "gpt2");
    put_texts(&b, "tokenizer.ggml.tokens", tokens, 2);
    put_types(&b, types, 1);
    assert_fails(read_built(&b, &t), "token_type: expected 2 values, one for each token, found 1");
    free(path);
}

/* As the tokenizer says it; ids of the model beyond it have names, too. */
static void what_is_written_is_read(void **state) {
    (void)state;
    gguf_builder b = byte_level(), written = {0};
    tokenizer *t, *back;
    int32_t *ids;
    size_t count;
    assert_ok(read_built(&b, &t));
    assert_fails(gguf_add_tokenizer(&written, t, TOKENS - 1),
                 "tokenizer: expected at most 4 pieces for the model, found 5");
    assert_ok(gguf_add_tokenizer(&written, t, TOKENS + 3));
    text_buffer f = file_of(&written);
    gguf g;
    const gguf_value *names;
    assert_ok(gguf_parse(&g, "a.gguf", (const uint8_t *)f.text, f.bytes));
    assert_ok(gguf_array(&g, "tokenizer.ggml.tokens", true, GGUF_STRING, &names));
    assert_int_equal(names->count, TOKENS + 3);
    assert_ok(gguf_read_tokenizer(&back, &g));
    gguf_close(&g);
    assert_int_equal(tokenizer_vocab_size(back), TOKENS);
    assert_int_equal(tokenizer_bos(back), 3);
    assert_true(tokenizer_adds_bos(back) && tokenizer_is_end(back, 4));
    assert_string_equal(tokenizer_chat_template(back), "{{ messages }}");
    assert_ok(tokenizer_encode_special(back, "ab<e>a", 6, &ids, &count));
    assert_int_equal(count, 3);
    assert_memory_equal(ids, ((const int32_t[]){2, 4, 0}), 3 * sizeof *ids);
    free(ids);
    gguf_builder_free(&written);
    text_free(&f);
    tokenizer_close(t);
    tokenizer_close(back);
}

static void files_that_are_cut_or_damaged_never_crash(void **state) {
    (void)state;
    gguf_builder b = byte_level();
    text_buffer f = file_of(&b);
    tokenizer *t;
    for (size_t bytes = 0; bytes < f.bytes; bytes++) assert_int_not_equal(read_bytes(f.text, bytes, &t), STATUS_OK);
    for (size_t i = 0; i < f.bytes; i++)
        for (int bit = 0; bit < 8; bit++) {
            f.text[i] ^= (char)(1 << bit);
            if (read_bytes(f.text, f.bytes, &t) == STATUS_OK) tokenizer_close(t);
            f.text[i] ^= (char)(1 << bit);
        }
    gguf_builder_free(&b);
    text_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(a_file_is_opened),
        cmocka_unit_test(what_is_written_is_read),
        in_scratch(what_is_missing_or_of_another_length_is_named),
        cmocka_unit_test(files_that_are_cut_or_damaged_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "test.h"

#include "text/tokenizer_kind.h"

/* The smallest kind there can be: "BYTES\n", then how many ids are boundary tokens in front of the 256 bytes. */
static const char mark[] = "BYTES\n";

static bool recognises(const void *bytes, size_t count) {
    return count >= sizeof mark - 1 && memcmp(bytes, mark, sizeof mark - 1) == 0;
}

static int released;

static void release(void *own) {
    released += own != NULL;
    free(own);
}

static status parse(tokenizer **out, const void *bytes, size_t count, const char *where);

static status encode(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count) {
    const int *boundaries = t->own;
    *ids = xmalloc((bytes + 1) * sizeof **ids);
    *count = bytes;
    for (size_t i = 0; i < bytes; i++) (*ids)[i] = *boundaries + (unsigned char)text[i];
    return STATUS_OK;
}

static const tokenizer_kind bytes_kind = {"bytes", recognises, parse, encode, NULL, release};

static status parse(tokenizer **out, const void *bytes, size_t count, const char *where) {
    if (count != sizeof mark) return fail("%s: expected %zu bytes, found %zu", where, sizeof mark, count);
    int boundaries = ((const char *)bytes)[count - 1] - '0';
    tokenizer *t = tokenizer_create(&bytes_kind, memcpy(xmalloc(sizeof(int)), &boundaries, sizeof(int)), bytes, count);
    for (int i = 0; i < boundaries; i++) tokenizer_add_boundary(t, "<special>");
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        tokenizer_add_token(t, "byte", &byte, 1, false);
    }
    t->bos = 0;
    for (int id = -1; id < boundaries; id++) tokenizer_add_end(t, id);
    *out = t;
    return STATUS_OK;
}

static void a_kind_is_chosen_by_what_the_file_is(void **state) {
    char *path = path_join(*state, "any.name");
    tokenizer *t;
    assert_fails(tokenizer_parse(&t, "BYTES\n3", 7, "early"), "early: expected a SentencePiece model");
    tokenizer_add_kind(&bytes_kind);
    tokenizer_add_kind(&bytes_kind); /* twice is once */
    assert_ok(file_write_whole(path, "BYTES\n3", 7));
    assert_ok(tokenizer_open(&t, path));
    const void *bytes;
    size_t count;
    tokenizer_bytes(t, &bytes, &count);
    assert_int_equal(count, 7);
    assert_memory_equal(bytes, "BYTES\n3", 7);
    assert_int_equal(tokenizer_vocab_size(t), 259);
    assert_int_equal(tokenizer_bos(t), 0);
    for (int32_t id = 0; id < 5; id++) {
        assert_int_equal(tokenizer_is_end(t, id), id < 3);
        assert_int_equal(tokenizer_is_boundary(t, id), id < 3);
    }
    tokenizer_close(t);
    assert_int_equal(released, 1);
    assert_fails(tokenizer_parse(&t, "BYTES\n33", 8, "long"), "long: expected 7 bytes");
    assert_fails(tokenizer_parse(&t, "bytes", 5, "other"), "other: expected a SentencePiece model");
    free(path);
}

static void every_byte_is_a_token(void **state) {
    (void)state;
    static const char text[] = " caf\xC3\xA9 \xF0\x9F\x98\x80 \xE2\x96\x81\n";
    tokenizer *t;
    tokenizer_add_kind(&bytes_kind);
    assert_ok(tokenizer_parse(&t, "BYTES\n1", 7, "bytes"));
    int32_t *ids;
    size_t count, bytes;
    char *decoded;
    assert_ok(tokenizer_encode(t, text, strlen(text), &ids, &count));
    assert_ok(tokenizer_decode(t, ids, count, &decoded, &bytes));
    assert_int_equal(bytes, strlen(text));
    assert_string_equal(decoded, text); /* no space is lost: none of these tokens begins with one that only separates */
    int64_t counted = 0;
    for (size_t i = 0; i < count; i++) counted += tokenizer_token_bytes(t, ids[i], i ? ids[i - 1] : 0);
    assert_int_equal(counted, bytes);
    free(ids);
    free(decoded);
    tokenizer_close(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(a_kind_is_chosen_by_what_the_file_is),
        cmocka_unit_test(every_byte_is_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

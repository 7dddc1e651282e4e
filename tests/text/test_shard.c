#include "test.h"

#include "text/shard.h"

enum { TOKENS = 5, MOST_BYTES = SHARD_HEADER_BYTES + 4 * TOKENS };

/* Both kinds, each with a vocabulary's last id among its tokens. */
typedef struct kind {
    int32_t magic, version;
    int token_bytes, vocab_size;
    int32_t tokens[TOKENS];
} kind;
static const kind kinds[2] = {
    {20240520, 1, 2, 65536, {1, 7, 300, 1, 65535}},
    {20240801, 7, 4, 1 << 24, {1, 70000, 300, 1, (1 << 24) - 1}},
};

/* A whole shard of five tokens in memory; returns its size. */
static size_t make(const kind *k, uint8_t bytes[MOST_BYTES]) {
    const int32_t header[3] = {k->magic, k->version, TOKENS};
    memset(bytes, 0, MOST_BYTES);
    memcpy(bytes, header, sizeof header);
    for (int i = 0; i < TOKENS; i++)
        for (int byte = 0; byte < k->token_bytes; byte++)
            bytes[SHARD_HEADER_BYTES + i * k->token_bytes + byte] = (uint8_t)(k->tokens[i] >> 8 * byte);
    return SHARD_HEADER_BYTES + TOKENS * (size_t)k->token_bytes;
}

static void round_trip(void **state) {
    for (const kind *k = kinds; k < kinds + 2; k++) {
        char *path = path_join(*state, "a.bin");
        uint8_t *bytes, expected[MOST_BYTES];
        size_t count;
        uint64_t crc;
        assert_ok(shard_write(path, k->tokens, TOKENS, k->vocab_size, &crc));
        assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
        assert_int_equal(count, make(k, expected));
        assert_memory_equal(bytes, expected, count);
        assert_true(crc == crc64(0, bytes, count));
        free(bytes);
        shard s;
        assert_ok(shard_open(&s, path, k->vocab_size));
        assert_int_equal(s.count, TOKENS);
        assert_int_equal(s.token_bytes, k->token_bytes);
        assert_string_equal(s.path, path);
        int32_t middle[3];
        shard_read(&s, 1, 3, middle);
        assert_memory_equal(middle, k->tokens + 1, sizeof middle);
        for (int i = 0; i < TOKENS; i++) assert_int_equal(shard_token(&s, i), k->tokens[i]);
        shard_close(&s);
        free(path);
    }
}

/* The vocabulary decides, not the ids that happen to occur; a longer shard is written in blocks. */
static void the_vocabulary_decides_the_kind(void **state) {
    enum { MANY = 50000 };
    char *path = path_join(*state, "a.bin");
    int32_t *ids = xmalloc(MANY * sizeof *ids), *back = xmalloc(MANY * sizeof *back);
    for (int i = 0; i < MANY; i++) ids[i] = i;
    for (int wide = 0; wide < 2; wide++) {
        shard s;
        assert_ok(shard_write(path, ids, MANY, 65536 + wide, NULL));
        assert_ok(shard_open(&s, path, 65536 + wide));
        assert_int_equal(s.token_bytes, wide ? 4 : 2);
        shard_read(&s, 0, MANY, back);
        assert_memory_equal(ids, back, MANY * sizeof *ids);
        shard_close(&s);
    }
    assert_fails(shard_write(path, ids, MANY, 49999, NULL), "a.bin: expected token ids below the vocabulary's 49999, "
                                                            "found 49999 at token 49999");
    ids[3] = -1;
    assert_fails(shard_write(path, ids, MANY, 65536, NULL), "found -1 at token 3");
    assert_fails(shard_write(path, ids, INT64_C(1) << 31, 65536, NULL), "at most 2147483647 tokens");
    free(ids);
    free(back);
    free(path);
}

static void ids_in_memory_are_a_shard(void **state) {
    (void)state;
    const int32_t ids[3] = {5, 1 << 20, 7};
    shard s = shard_of_ids("text", ids, 3);
    for (int i = 0; i < 3; i++) assert_int_equal(shard_token(&s, i), ids[i]);
    assert_string_equal(s.path, "text");
    shard_close(&s);
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    for (const kind *k = kinds; k < kinds + 2; k++) {
        uint8_t bytes[MOST_BYTES + 4];
        size_t whole = make(k, bytes);
        shard s;
        for (size_t count = 0; count < whole; count++)
            assert_fails(shard_parse(&s, "cut.bin", bytes, count, 0), "cut.bin");
        char *expected = xasprintf("expected %zu bytes", whole);
        assert_fails(shard_parse(&s, "long.bin", bytes, whole + 1, 0), expected);
        free(expected);
    }
}

static void corrupt_headers_are_named(void **state) {
    (void)state;
    uint8_t bytes[MOST_BYTES];
    shard s;
    for (const kind *k = kinds; k < kinds + 2; k++)
        for (int bit = 0; bit < 96; bit++) { /* magic, version and count: no bit may change unseen */
            size_t count = make(k, bytes);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_fails(shard_parse(&s, "bad.bin", bytes, count, 0), "bad.bin: expected");
        }
    size_t count = make(kinds, bytes);
    bytes[0]++;
    assert_fails(shard_parse(&s, "bad.bin", bytes, count, 0),
                 "magic 20240520 (16-bit tokens) or 20240801 (32-bit tokens), found 20240521");
    make(kinds, bytes);
    bytes[4] = 9;
    assert_fails(shard_parse(&s, "bad.bin", bytes, count, 0), "version 1, found 9");
    make(kinds, bytes);
    bytes[11] = 0x80;
    assert_fails(shard_parse(&s, "bad.bin", bytes, count, 0), "token count");
    count = make(kinds + 1, bytes);
    bytes[4] = 1;
    assert_fails(shard_parse(&s, "bad.bin", bytes, count, 0), "version 7, found 1");
}

static void ids_beyond_the_vocabulary(void **state) {
    (void)state;
    uint8_t bytes[MOST_BYTES];
    size_t count = make(kinds, bytes);
    shard s;
    assert_fails(shard_parse(&s, "big.bin", bytes, count, 300), "vocabulary's 300, found 300 at token 2");
    assert_fails(shard_parse(&s, "big.bin", bytes, count, 65535), "found 65535 at token 4");
    assert_ok(shard_parse(&s, "big.bin", bytes, count, 65536));
    shard_close(&s);
    count = make(kinds + 1, bytes);
    assert_fails(shard_parse(&s, "big.bin", bytes, count, 65536), "vocabulary's 65536, found 70000 at token 1");
    assert_fails(shard_parse(&s, "big.bin", bytes, count, (1 << 24) - 1), "found 16777215 at token 4");
    assert_ok(shard_parse(&s, "big.bin", bytes, count, 0));
    shard_close(&s);
    bytes[SHARD_HEADER_BYTES + 3] = 0x80; /* an id that no int32 holds */
    assert_fails(shard_parse(&s, "big.bin", bytes, count, 0), "found 2147483649 at token 0");
}

static void absent_file(void **state) {
    (void)state;
    shard s;
    assert_fails(shard_open(&s, "/nowhere/a.bin", 0), "/nowhere/a.bin");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(round_trip),
        in_scratch(the_vocabulary_decides_the_kind),
        cmocka_unit_test(ids_in_memory_are_a_shard),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(corrupt_headers_are_named),
        cmocka_unit_test(ids_beyond_the_vocabulary),
        cmocka_unit_test(absent_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

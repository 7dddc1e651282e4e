#include "test.h"

#include "text/shard.h"

enum { TOKENS = 5, BYTES = SHARD_HEADER_BYTES + 2 * TOKENS };

/* A whole shard of five tokens in memory. */
static void make(uint8_t bytes[BYTES]) {
    const int32_t header[3] = {SHARD_MAGIC, SHARD_VERSION, TOKENS};
    const uint16_t tokens[TOKENS] = {1, 7, 300, 1, 65535};
    memset(bytes, 0, BYTES);
    memcpy(bytes, header, sizeof header);
    memcpy(bytes + SHARD_HEADER_BYTES, tokens, sizeof tokens);
}

static void round_trip(void **state) {
    (void)state;
    char *folder = scratch_create(), *path = path_join(folder, "a.bin");
    const uint16_t tokens[TOKENS] = {1, 7, 300, 1, 65535};
    assert_ok(shard_write(path, tokens, TOKENS));
    uint8_t *bytes, expected[BYTES];
    size_t count;
    make(expected);
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    assert_int_equal(count, BYTES);
    assert_memory_equal(bytes, expected, BYTES);
    free(bytes);
    shard s;
    assert_ok(shard_open(&s, path, 65536));
    assert_int_equal(s.count, TOKENS);
    assert_memory_equal(s.tokens, tokens, sizeof tokens);
    assert_string_equal(s.path, path);
    shard_close(&s);
    free(path);
    scratch_remove(folder);
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    uint8_t bytes[BYTES];
    make(bytes);
    shard s;
    for (size_t count = 0; count < BYTES; count++) assert_fails(shard_parse(&s, "cut.bin", bytes, count, 0), "cut.bin");
    uint8_t longer[BYTES + 1] = {0};
    memcpy(longer, bytes, BYTES);
    assert_fails(shard_parse(&s, "long.bin", longer, BYTES + 1, 0), "expected 1034 bytes");
}

static void corrupt_headers_are_named(void **state) {
    (void)state;
    uint8_t bytes[BYTES];
    shard s;
    for (int bit = 0; bit < 96; bit++) { /* magic, version and count: no bit may change unseen */
        make(bytes);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_fails(shard_parse(&s, "bad.bin", bytes, BYTES, 0), "bad.bin: expected");
    }
    make(bytes);
    bytes[0]++;
    assert_fails(shard_parse(&s, "bad.bin", bytes, BYTES, 0), "magic 20240520, found 20240521");
    make(bytes);
    bytes[4] = 9;
    assert_fails(shard_parse(&s, "bad.bin", bytes, BYTES, 0), "version 1, found 9");
    make(bytes);
    bytes[11] = 0x80;
    assert_fails(shard_parse(&s, "bad.bin", bytes, BYTES, 0), "token count");
}

static void ids_beyond_the_vocabulary(void **state) {
    (void)state;
    uint8_t bytes[BYTES];
    make(bytes);
    shard s;
    assert_fails(shard_parse(&s, "big.bin", bytes, BYTES, 300), "vocabulary's 300, found 300 at token 2");
    assert_fails(shard_parse(&s, "big.bin", bytes, BYTES, 65535), "found 65535 at token 4");
    assert_ok(shard_parse(&s, "big.bin", bytes, BYTES, 65536));
    shard_close(&s);
}

static void absent_file(void **state) {
    (void)state;
    shard s;
    assert_fails(shard_open(&s, "/nowhere/a.bin", 0), "/nowhere/a.bin");
}

/* Reads `text` as the table beside a shard of `tokens` tokens. */
static status read_table(document_table *d, const char *text, int64_t tokens) {
    char *folder = scratch_create(), *table = path_join(folder, "a.docs.tsv"), *path = path_join(folder, "a.bin");
    assert_ok(file_write_whole(table, text, strlen(text)));
    status s = document_table_read(d, path, tokens);
    free(table);
    free(path);
    scratch_remove(folder);
    return s;
}

static void document_tables(void **state) {
    (void)state;
    document_table d;
    assert_ok(read_table(&d, "0\t3\t9\tcode\ta.py\n3\t2\t4\tbible\tb#1\n5\t1\t0\tcode\tc d.py\n", 6));
    assert_int_equal(d.count, 3);
    assert_int_equal(d.domain_count, 2);
    assert_string_equal(d.domains[0], "code");
    assert_string_equal(d.domains[1], "bible");
    assert_int_equal(d.documents[1].start, 3);
    assert_int_equal(d.documents[1].count, 2);
    assert_int_equal(d.documents[1].bytes, 4);
    assert_int_equal(d.documents[1].domain, 1);
    assert_int_equal(d.documents[2].domain, 0);
    document_table_free(&d);
    assert_fails(document_table_read(&d, "/nowhere/a.bin", 6), "/nowhere/a.docs.tsv");
}

static void bad_document_tables(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "all 6 tokens"},
        {"0\t3\t9\tcode\ta.py\n", "all 6 tokens"},
        {"0\t3\t9\tcode\ta.py\n4\t2\t4\tx\ty\n", "a.docs.tsv:2: expected a document"},
        {"0\t7\t9\tcode\ta.py\n", "within the shard's 6 tokens"},
        {"0\t9223372036854775807\t9\tcode\ta.py\n", "within the shard's 6 tokens"},
        {"0\t99999999999999999999\t9\tcode\ta.py\n", "expected a number in field 2"},
        {"0\t-6\t9\tcode\ta.py\n", "expected a number in field 2"},
        {"0\t0\t9\tcode\ta.py\n", "at least one token"},
        {"0\t6\tnine\tcode\ta.py\n", "expected a number in field 3, found \"nine\""},
        {"0\t6\t9\tcode\n", "found 4"},
        {"0\t6\t9\tcode\ta\tb\n", "found more"},
        {"\n", "found 1"},
        {"0\t6\t9\tcode\ta.py", "expected a line end"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        document_table d;
        assert_fails(read_table(&d, cases[i].text, 6), cases[i].part);
        assert_null(d.documents);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(corrupt_headers_are_named),
        cmocka_unit_test(ids_beyond_the_vocabulary),
        cmocka_unit_test(absent_file),
        cmocka_unit_test(document_tables),
        cmocka_unit_test(bad_document_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

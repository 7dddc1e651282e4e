#include "test.h"

#include "text/documents.h"
#include <stdio.h>

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
    for (int token = 0; token < 6; token++) assert_int_equal(document_at(&d, token), token < 3 ? 0 : token < 5 ? 1 : 2);
    document_table_free(&d);
    assert_ok(document_table_read(&d, "/nowhere/a.bin", 6)); /* no table */
    assert_int_equal(d.count, 0);
}

/* A copy in memory of its own, so that a sanitizer sees every byte beyond the end. */
static status parse(document_table *d, const char *text, size_t bytes, int64_t tokens) {
    char *copy = memcpy(xmalloc(bytes), text, bytes);
    status s = document_table_parse(d, copy, bytes, "a.docs.tsv", tokens);
    free(copy);
    return s;
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    static const char whole[] = "0\t3\t9\tcode\ta.py\n3\t2\t4\tbible\tb#1\n5\t1\t0\tcode\tc d.py\n";
    document_table d;
    for (size_t bytes = 0; bytes < sizeof whole - 1; bytes++) assert_fails(parse(&d, whole, bytes, 6), "a.docs.tsv");
    assert_ok(parse(&d, whole, sizeof whole - 1, 6));
    document_table_free(&d);
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

static void too_many_domains(void **state) {
    (void)state;
    enum { LINE = 32, LINES = DOCUMENTS_MAX_DOMAINS + 1 };
    char *text = xmalloc(LINES * LINE);
    size_t bytes = 0, within = 0;
    for (int i = 0; i < LINES; i++) {
        within = bytes;
        bytes += (size_t)snprintf(text + bytes, LINE, "%d\t1\t1\tdomain-%d\tx\n", i, i);
    }
    document_table d;
    assert_fails(parse(&d, text, bytes, LINES), "a.docs.tsv:257: expected at most 256 domains");
    assert_ok(parse(&d, text, within, LINES - 1));
    assert_int_equal(d.domain_count, DOCUMENTS_MAX_DOMAINS);
    document_table_free(&d);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(document_tables),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(bad_document_tables),
        cmocka_unit_test(too_many_domains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

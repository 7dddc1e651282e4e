/* RFC 4180: what it allows, whatever pieces it comes in, and what it does not. */
#include "fetch/csv.h"
#include "test.h"

/* name=value; of all records, '|' between them */
static status write_record(void *context, const csv *c) {
    for (int i = 0; i < c->name_count; i++) fprintf(context, "%s=%s;", csv_name(c, i), csv_field(c, i));
    fputc('|', context);
    return STATUS_OK;
}

static status read_pieces(const char *text, size_t piece, char **found) {
    csv c;
    size_t bytes, count = strlen(text);
    FILE *out = open_memstream(found, &bytes);
    status s = STATUS_OK;
    csv_open(&c, "file.csv");
    for (size_t at = 0; s == STATUS_OK && at < count; at += piece)
        s = csv_feed(&c, text + at, count - at < piece ? count - at : piece, write_record, out);
    if (s == STATUS_OK) s = csv_end(&c, write_record, out);
    csv_close(&c);
    fclose(out);
    return s;
}

static void gives(const char *text, const char *wanted) {
    for (size_t piece = 1; piece < 8; piece += 3) {
        char *found;
        assert_ok(read_pieces(text, piece, &found));
        assert_string_equal(found, wanted);
        free(found);
    }
}

static void refuses(const char *text, const char *part) {
    for (size_t piece = 1; piece < 8; piece += 3) {
        char *found;
        assert_fails(read_pieces(text, piece, &found), part);
        free(found);
    }
}

static void test_records(void **state) {
    (void)state;
    gives("a,b\n1,2\n3,4\n", "a=1;b=2;|a=3;b=4;|");
    gives("a,b\r\n1,2\r\n3,4", "a=1;b=2;|a=3;b=4;|");
    gives("a,b\n\"x,\"\"y\"\"\",\"1\n2\"\n", "a=x,\"y\";b=1\n2;|");
    gives("a,b\n\"\",\n,\n", "a=;b=;|a=;b=;|");
    gives("\"a b\",\"c\"\n1,2\n\n3,4\n", "a b=1;c=2;|a b=3;c=4;|");
    gives("\xEF\xBB\xBF"
          "a\n1\n\n2",
          "a=1;|a=;|a=2;|");
    gives("\xEF\xBB\xBF"
          "\"a b\",\"c\"\n1,2\n",
          "a b=1;c=2;|");
    gives("a,b\n", "");
    gives("", "");
    gives("\n\n", "");
}

static void test_refusals(void **state) {
    (void)state;
    refuses("a,b\n1,2,3\n", "file.csv:2: expected 2 fields as in the first line, found 3");
    refuses("a,b\n\"1\n\",2\n1\n", "file.csv:4: expected 2 fields as in the first line, found 1");
    refuses("a\nx\"y\"\n", "file.csv:2: expected no quote within a field");
    refuses("a\n\"x\"y\n", "file.csv:2: expected a comma or a line end behind a closing quote");
    refuses("a\n\"x\n\n", "file.csv:2: expected a closing quote, found the end");
    refuses("a\nx\ry\n", "file.csv:2: expected a line end behind a carriage return");
    csv c;
    csv_open(&c, "file.csv");
    assert_fails(csv_feed(&c, "a\0b", 3, write_record, NULL), "expected text, found a NUL");
    csv_close(&c);
    char commas[CSV_MAX_FIELDS + 2];
    memset(commas, ',', sizeof commas - 1);
    commas[sizeof commas - 1] = '\0';
    refuses(commas, "expected at most 1024 fields");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_records), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

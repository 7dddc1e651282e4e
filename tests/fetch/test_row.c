/* Rows of data sets as lines of JSONL. */
#include "fetch/mend.h"
#include "fetch/row.h"
#include "test.h"

/* NULL: nothing comes of it */
static void gives(const char *fields, const char *row, const char *line) {
    row_form f;
    char *text;
    size_t bytes;
    bool empty;
    FILE *out = open_memstream(&text, &bytes);
    assert_ok(row_form_open(&f, fields));
    if (!fields) assert_ok(row_choose(&f, row, strlen(row), "row 7"));
    assert_ok(row_write(&f, row, strlen(row), "row 7", out, &empty));
    fclose(out);
    assert_int_equal(empty, line == NULL);
    char *wanted = line ? xasprintf("%s\n", line) : xstrdup("");
    assert_string_equal(text, wanted);
    free(wanted);
    free(text);
    row_form_close(&f);
}

static void refuses(const char *fields, const char *row, const char *part) {
    row_form f;
    char *text;
    size_t bytes;
    bool empty;
    FILE *out = open_memstream(&text, &bytes);
    assert_ok(row_form_open(&f, fields));
    status s = fields ? STATUS_OK : row_choose(&f, row, strlen(row), "row 7");
    if (s == STATUS_OK) s = row_write(&f, row, strlen(row), "row 7", out, &empty);
    assert_fails(s, part);
    assert_memory_equal(error_message(), "row 7: ", 7);
    fclose(out);
    assert_int_equal(bytes, 0);
    free(text);
    row_form_close(&f);
}

static void test_text(void **state) {
    (void)state;
    gives(NULL, "{\"id\": 1, \"text\": \"a\\n\\\"b\\\" \\u00e9\"}", "{\"text\": \"a\\n\\\"b\\\" \u00e9\"}");
    gives(NULL, "{\"id\": 1, \"story\": \"once\"}", "{\"text\": \"once\"}");
    gives("content", "{\"text\": \"no\", \"content\": \"x\"}", "{\"text\": \"x\"}");
    gives("q,a,n", "{\"a\": \"4\", \"n\": [1,\n 2.50], \"q\": \"2+2\"}",
          "{\"text\": \"2+2\\n4\", \"q\": \"2+2\", \"a\": \"4\", \"n\": [1,  2.50]}");
    gives("q,a", "{\"a\": null, \"q\": \"x\"}", "{\"text\": \"x\", \"q\": \"x\", \"a\": null}");
    gives("a", "{\"a\": \" \\n\"}", NULL);
    gives("a", "{\"a\": 5}", NULL);
}

static void test_conversations(void **state) {
    (void)state;
    gives(NULL,
          "{\"messages\": [{\"content\": \"hi\", \"role\": \"user\"}, {\"role\": \"assistant\", \"content\": \"ho\"}]}",
          "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}, {\"role\": \"assistant\", \"content\": \"ho\"}], "
          "\"text\": \"user: hi\\nassistant: ho\\n\"}");
    gives(
        "conversations,source",
        "{\"source\": \"s\", \"conversations\": [{\"from\": \"human\", \"value\": \"a\\nb\"}, "
        "{\"from\": \"gpt\", \"value\": \"c\"}]}",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\\nb\"}, {\"role\": \"assistant\", \"content\": \"c\"}], "
        "\"text\": \"user: a\\nb\\nassistant: c\\n\\ns\", \"source\": \"s\"}");
    gives("m", "{\"m\": []}", NULL);
    gives("m", "{\"m\": [{\"role\": \"user\", \"content\": [1]}]}", NULL);
    gives("m", "{\"m\": [{\"role\": \"user\"}]}", NULL);
}

static void test_refusals(void **state) {
    (void)state;
    row_form f;
    refuses("b", "{\"a\": 1}", "expected a field b, found none");
    refuses(NULL, "{\"a,b\": \"x\"}", "without a comma in its name");
    refuses(NULL, "{\"a\": \"1\", \"b\": \"2\", \"c\": 3}", "Choose with --field among a, b, c");
    refuses(NULL, "[1]", "expected a JSON object");
    refuses("a", "{\"a\": 1} x", "expected a JSON object");
    refuses("a", "{\"a\": ", "expected a JSON object");
    refuses("a", "", "expected a JSON object");
    assert_fails(row_form_open(&f, "a,,b"), "expected names of fields with commas");
    row_form_close(&f);
}

static void test_mend(void **state) {
    (void)state;
    char text[] = "\\u0000 \\\\u0000 \\ud83d\\ude00 \\ud83d \\ude00 \\ud83d\\u0041 \\u00e9 \\u00";
    char bytes[] = "a\xff\u00e9\xc3 \xe2\x82\xac\xed\xa0\x80\xf0\x9f\x98\x80\xc0\x80\xf0\x9f";
    assert_int_equal(mend_utf8(bytes, sizeof bytes - 1), 9);
    assert_string_equal(bytes, "a?\u00e9? \u20ac???\U0001f600????");
    assert_int_equal(mend_escapes(text, strlen(text)), 4);
    assert_string_equal(text, "\\uFFFD \\\\u0000 \\ud83d\\ude00 \\uFFFD \\uFFFD \\uFFFD\\u0041 \\u00e9 \\u00");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_conversations),
                                       cmocka_unit_test(test_refusals), cmocka_unit_test(test_mend)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

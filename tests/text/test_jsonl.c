#include "scratch_corpus.h"

#include <stdio.h>
#include <sys/resource.h>

static void jsonl_rows_are_documents(void **state) {
    (void)state;
    write_text("rows.jsonl", "{\"question\": \"How many are three apples?\", \"answer\": \"Three\\u00e9.\"}\n\n"
                             "{\"answer\": \"Four, as everyone knows.\", \"question\": \"And four?\"}\n");
    corpus *c = make(0, 0, "question,answer");
    assert_ok(add(c, "maths", "rows.jsonl"));
    assert_int_equal(c->count, 2);
    assert_string_equal(c->documents[0].text, "How many are three apples?\nThree\xC3\xA9.\n");
    assert_string_equal(c->documents[1].text, "And four?\nFour, as everyone knows.\n");
    assert_non_null(strstr(c->documents[1].source, "rows.jsonl:3"));
    corpus_destroy(c);
    write_text("marked.jsonl", "\xEF\xBB\xBF{\"text\": \"behind a mark of the order of bytes\"}\n");
    c = make(0, 0, "text");
    assert_ok(add(c, "marked", "marked.jsonl"));
    assert_string_equal(c->documents[0].text, "behind a mark of the order of bytes\n");
    corpus_destroy(c);
    c = make(0, 0, "text");
    assert_fails(add(c, "maths", "rows.jsonl"), "rows.jsonl:1: expected an object with a string \"text\"");
    write_text("list.jsonl", "[1, 2]\n");
    assert_fails(add(c, "list", "list.jsonl"), "found no object");
    write_text("number.jsonl", "{\"text\": 5}\n");
    assert_fails(add(c, "number", "number.jsonl"), "found another type");
    corpus_destroy(c);
}

/* The one row of text that stands in a JSONL file, whose error has the line and `part`. */
static void refused_row(const char *row, const char *part) {
    char *text =
        xasprintf("{\"text\": \"a good row, long enough to stay\"}\n\n%s\n{\"text\": \"another good row\"}\n", row);
    write_text("rows.jsonl", text);
    free(text);
    corpus *c = make(0, 0, "text,more");
    assert_fails(add(c, "rows", "rows.jsonl"), "rows.jsonl:1: expected an object with a string \"more\"");
    corpus_destroy(c);
    c = make(0, 0, "text");
    assert_fails(add(c, "rows", "rows.jsonl"), "rows.jsonl:3: ");
    if (!strstr(error_message(), part)) fail_msg("\"%s\" does not name \"%s\"", error_message(), part);
    corpus_destroy(c);
}

static void nothing_in_a_row_is_passed_over(void **state) {
    (void)state;
    refused_row("{\"text\": \"one object\"}{\"text\": \"and a second\"}", "expected one JSON object and nothing else");
    refused_row("{\"text\": \"one object\"}, {\"text\": \"and a second\"}", "at byte 22 of the row");
    refused_row("{\"text\": \"one object\"} trailing rubbish", "found \"trailing rubbish\"");
    refused_row("{\"text\": \"behind a NUL\\u0000 there is more\"}",
                "found the character U+0000 at byte 22 of the row");
    refused_row("{\"text\": \"this text\", \"text\": \"or that\"}", "expected \"text\" once, found it twice");
    refused_row("{\"text\": \"half a row", "found the end of the row within it");
    refused_row("{\"text\": ", "found the end of the row within it");
    refused_row("{\"text\": \"half a \\ud83d pair\"}", "expected one JSON object");
    refused_row("{\"text\": 'single'}", "expected one JSON object");
    refused_row("{\"text\": \"a row\",}", "expected one JSON object");
    refused_row("{}", "found no such member");
    refused_row("{\"text\": [\"a row\"]}", "found another type");
    refused_row("[{\"text\": \"a row\"}]", "found no object");
    refused_row("words", "expected one JSON object");
}

static void rows_have_any_other_members(void **state) {
    (void)state;
    write_text("rows.jsonl",
               "{\"id\": 7, \"deep\": [[{\"text\": \"not this\"}]], \"te\\u0078t\": \"An \\\"escaped\\\" name, "
               "\\ud83d\\ude00.\", \"more\": null}\r\n \t\n");
    corpus *c = make(0, 0, "text");
    assert_ok(add(c, "rows", "rows.jsonl"));
    assert_int_equal(c->count, 1);
    assert_string_equal(c->documents[0].text, "An \"escaped\" name, \xF0\x9F\x98\x80.\n");
    corpus_destroy(c);
}

/* A long row is cut as a long file is: whoever encodes a document needs a hundred times its size. */
static void long_rows_are_cut(void **state) {
    (void)state;
    enum { BYTES = CORPUS_LONG_FILE + 100 };
    char *row = xmalloc(BYTES + 16), *end = stpcpy(row, "{\"text\":\"");
    for (int i = 0; i < BYTES; i++) *end++ = (char)('a' + (i / 7 + i / 1000) % 26);
    stpcpy(end, "\"}\n");
    write_text("rows.jsonl", row);
    free(row);
    corpus *c = make(0, 0, "text");
    assert_ok(add(c, "rows", "rows.jsonl"));
    assert_int_equal(c->count, 17);
    for (int i = 0; i < c->count; i++) assert_true(c->documents[i].bytes <= CORPUS_PART_BYTES + 1);
    assert_non_null(strstr(c->documents[16].source, "rows.jsonl:1#17"));
    corpus_destroy(c);
}

static long most_memory(void) { /* kilobytes */
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_maxrss;
}

/* What a tree of 8 million numbers would need is beyond what is allowed here. */
static void a_row_costs_a_few_times_its_size(void **state) {
    (void)state;
    enum { NUMBERS = 8 * 1000 * 1000, KILOBYTES = 2 * NUMBERS / 1000 };
    char *row = xmalloc(2 * NUMBERS + 100), *end = stpcpy(row, "{\"numbers\":[");
    for (int i = 0; i < NUMBERS; i++) *end++ = '0', *end++ = ',';
    stpcpy(end, "0],\"text\":\"and a text that is long enough\"}\n");
    write_text("rows.jsonl", row);
    free(row);
    corpus *c = make(0, 0, "text");
    long before = most_memory();
    assert_ok(add(c, "rows", "rows.jsonl"));
    assert_int_equal(c->count, 1);
    assert_true(most_memory() - before < 8 * KILOBYTES);
    corpus_destroy(c);
}

static void rows_have_a_largest_size(void **state) {
    (void)state;
    enum { BEHIND = CORPUS_ROW_BYTES + 1 };
    char *row = xmalloc(BEHIND + 100);
    memset(row, ' ', BEHIND);
    memcpy(row, "{\"text\": \"a good row, long enough to stay\"}", 43);
    row[BEHIND - 1] = '1'; /* rubbish, far behind */
    memcpy(row + BEHIND, "\n", 2);
    write_bytes("rows.jsonl", row, BEHIND + 1);
    corpus *c = make(0, 0, "text");
    assert_fails(add(c, "rows", "rows.jsonl"),
                 "rows.jsonl:1: expected a row of at most 67108864 bytes, found 67108865");
    corpus_destroy(c);
    write_bytes("rows.jsonl", row + 1, BEHIND);
    c = make(0, 0, "text");
    assert_fails(add(c, "rows", "rows.jsonl"), "rows.jsonl:1: expected one JSON object");
    corpus_destroy(c);
    free(row);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        with_folder(jsonl_rows_are_documents),         with_folder(nothing_in_a_row_is_passed_over),
        with_folder(rows_have_any_other_members),      with_folder(long_rows_are_cut),
        with_folder(a_row_costs_a_few_times_its_size), with_folder(rows_have_a_largest_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

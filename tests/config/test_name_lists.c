/* Lists of texts in a configuration. */
#include "test.h"

#include "config/compare.h"
#include "config/load.h"
#include "config/names.h"
#include "config/write.h"

typedef struct shelf {
    name_list books;
    int boards;
} shelf;
static const config_field fields[] = {
    CONFIG_FIELD(shelf, "books", FIELD_NAMES, books, 0, 0, NULL, "what stands on it"),
    CONFIG_FIELD(shelf, "boards", FIELD_INT, boards, 0, 9, NULL, "of wood"),
};
static const config_section section = {"shelf", TABLE_AND_COUNT(fields), NULL, 0};
static const config_part parts[] = {{&section, 0}};
static const config_schema schema = {TABLE_AND_COUNT(parts)};

static status parse(shelf *s, const char *yaml) {
    return config_parse(&schema, s, "s.yaml", yaml, strlen(yaml));
}

static void check_text(const shelf *s, const char *expected) {
    char *text = names_text(&s->books);
    assert_string_equal(text, expected);
    free(text);
}

static void reading_and_writing(void **state) {
    shelf s = {.boards = 2}, back = {0};
    char *path = path_join(*state, "shelf.yaml");
    uint8_t *bytes;
    size_t count;
    check_text(&s, "[]");
    assert_ok(parse(&s, "shelf: {books: [Emma, 'blocks.[0-5].*', \"1, 2\"]}"));
    check_text(&s, "[Emma, \"blocks.[0-5].*\", \"1, 2\"]");
    assert_ok(config_write(&schema, &s, path));
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    assert_ok(config_parse(&schema, &back, path, (char *)bytes, count));
    config_differences d = config_compare(&schema, &s, &back);
    assert_int_equal(d.count, 0);
    config_differences_free(&d);
    assert_ok(config_override(&schema, &back, "books=[Emma]")); /* the whole list, not one more */
    check_text(&back, "[Emma]");
    d = config_compare(&schema, &s, &back);
    assert_int_equal(d.count, 1);
    config_differences_free(&d);
    field_copy(&fields[0], &s, &back);
    check_text(&back, "[Emma, \"blocks.[0-5].*\", \"1, 2\"]");
    assert_ok(parse(&s, "books: []"));
    assert_int_equal(s.books.count, 0);
    free(bytes);
    free(path);
    schema_free(&schema, &s);
    schema_free(&schema, &back);
}

static void refused(const char *yaml, const char *message) {
    shelf s = {0};
    assert_ok(parse(&s, "books: [Emma]"));
    assert_int_equal(parse(&s, yaml), STATUS_USAGE);
    assert_string_equal(error_message(), message);
    check_text(&s, "[Emma]");
    schema_free(&schema, &s);
}

static void refusals(void **state) {
    (void)state;
    refused("books: Emma\n", "s.yaml:1: books: expected a list of texts, such as [a, b], found `Emma`");
    refused("books: {a: 1}\n", "s.yaml:1: books: expected a list of texts, such as [a, b], found a mapping");
    refused("books: [a, [b]]\n", "s.yaml:1: books: expected a list of texts, found a list");
    refused("books: ['']\n", "s.yaml:1: books: expected texts of 1 to 256 bytes, found one of 0");
    char many[4 * (NAMES_MOST + 8)] = "books: [a";
    for (int i = 0; i < NAMES_MOST; i++) strcat(many, ", a");
    strcat(many, "]");
    refused(many, "s.yaml:1: books: expected at most 256 texts");
}

int main(void) {
    const struct CMUnitTest tests[] = {in_scratch(reading_and_writing), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

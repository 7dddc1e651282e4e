/* Weights by name in a configuration. */
#include "test.h"

#include "config/compare.h"
#include "config/load.h"
#include "config/weights.h"
#include "config/write.h"

typedef struct sandwich {
    weight_list filling;
    int slices;
} sandwich;
static const config_field fields[] = {
    CONFIG_FIELD(sandwich, "filling", FIELD_WEIGHTS, filling, 0, 10, NULL, "what is in it"),
    CONFIG_FIELD(sandwich, "slices", FIELD_INT, slices, 0, 9, NULL, "of bread"),
};
static const config_section section = {"sandwich", TABLE_AND_COUNT(fields), NULL, 0};
static const config_part parts[] = {{&section, 0}};
static const config_schema schema = {TABLE_AND_COUNT(parts)};

static status parse(sandwich *s, const char *yaml) {
    return config_parse(&schema, s, "s.yaml", yaml, strlen(yaml));
}

static void check_text(const sandwich *s, const char *expected) {
    char *text = weights_text(&s->filling);
    assert_string_equal(text, expected);
    free(text);
}

static void reading_and_writing(void **state) {
    sandwich s = {.slices = 2}, back = {0};
    char *path = path_join(*state, "sandwich.yaml");
    uint8_t *bytes;
    size_t count;
    check_text(&s, "{}");
    assert_ok(parse(&s, "sandwich: {filling: {cheese: 0.4, 'a b: {c}': 1e-3, \"\\u00e9\": 10, 007: 0, -x: 1}}"));
    check_text(&s, "{cheese: 0.4, \"a b: {c}\": 0.001, \"\\u00E9\": 10, 007: 0, \"-x\": 1}");
    assert_ok(config_write(&schema, &s, path));
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    assert_ok(config_parse(&schema, &back, path, (char *)bytes, count));
    config_differences d = config_compare(&schema, &s, &back);
    assert_int_equal(d.count, 0);
    config_differences_free(&d);
    assert_ok(config_override(&schema, &back, "filling={ham: 1}")); /* the whole list, not one more */
    check_text(&back, "{ham: 1}");
    d = config_compare(&schema, &s, &back);
    assert_int_equal(d.count, 1);
    config_differences_free(&d);
    field_copy(&fields[0], &s, &back);
    check_text(&back, "{cheese: 0.4, \"a b: {c}\": 0.001, \"\\u00E9\": 10, 007: 0, \"-x\": 1}");
    assert_ok(parse(&s, "filling: {}"));
    assert_int_equal(s.filling.count, 0);
    free(bytes);
    free(path);
    schema_free(&schema, &s);
    schema_free(&schema, &back);
}

static void refused(const char *yaml, const char *message) {
    sandwich s = {0};
    assert_ok(parse(&s, "filling: {ham: 1}"));
    assert_int_equal(parse(&s, yaml), STATUS_USAGE);
    assert_string_equal(error_message(), message);
    check_text(&s, "{ham: 1}");
    schema_free(&schema, &s);
}

static void refusals(void **state) {
    (void)state;
    refused("filling: 1\n",
            "s.yaml:1: filling: expected numbers from 0 to 10 by name, such as {a: 0.4, b: 0.6}, found `1`");
    refused("filling: [ham]\n",
            "s.yaml:1: filling: expected numbers from 0 to 10 by name, such as {a: 0.4, b: 0.6}, found a list");
    refused("filling:\n  ham: 1\n  jam: 11\n", "s.yaml:3: jam: expected a number from 0 to 10, found `11`");
    refused("filling: {jam: lots}\n", "s.yaml:1: jam: expected a number from 0 to 10, found `lots`");
    refused("filling: {jam: {a: 1}}\n", "s.yaml:1: jam: expected a number from 0 to 10, found a mapping");
    refused("filling: {jam: 1, jam: 2}\n", "s.yaml:1: filling: jam is given twice");
    refused("filling: {'': 2}\n", "s.yaml:1: filling: expected names of 1 to 256 bytes, found one of 0");
    char *many = xstrdup("filling: {");
    for (int i = 0; i <= WEIGHTS_MOST; i++) {
        char *longer = xasprintf("%sn%d: 1, ", many, i);
        free(many);
        many = longer;
    }
    char *closed = xasprintf("%s}", many);
    refused(closed, "s.yaml:1: filling: expected at most 64 names");
    free(closed);
    free(many);
}

static void the_range_is_checked(void **state) {
    (void)state;
    named_weight item = {(char *)"ham", 11};
    sandwich s = {.filling = {.items = &item, .count = 1}};
    assert_fails(section_check(&section, &s), "filling: expected numbers from 0 to 10 by name");
    item.weight = 10;
    assert_ok(section_check(&section, &s));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        in_scratch(reading_and_writing),
        cmocka_unit_test(refusals),
        cmocka_unit_test(the_range_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Names and curves, values of several parts that live in the struct itself; and numbers of bytes. */
#include "test.h"

#include "config/compare.h"
#include "config/curve.h"
#include "config/labels.h"
#include "config/load.h"
#include "config/write.h"

typedef struct bakery {
    label_list ovens;
    curve heat;
} bakery;
static const config_field fields[] = {
    CONFIG_FIELD(bakery, "ovens", FIELD_LABELS, ovens, 0, 0, NULL, "what they bake"),
    CONFIG_FIELD(bakery, "heat", FIELD_CURVE, heat, 0, 10, NULL, "over the day"),
};
static const config_section section = {"bakery", TABLE_AND_COUNT(fields), NULL, 0};
static const config_part parts[] = {{&section, 0}};
static const config_schema schema = {TABLE_AND_COUNT(parts)};

static status parse(bakery *b, const char *yaml) {
    return config_parse(&schema, b, "b.yaml", yaml, strlen(yaml));
}

static void check_texts(const bakery *b, const char *ovens, const char *heat) {
    for (int i = 0; i < 2; i++) {
        char *text = field_text(&fields[i], b);
        assert_string_equal(text, i ? heat : ovens);
        free(text);
    }
}

static void round_trip(void **state) {
    bakery b = {0}, back = {0};
    char *path = path_join(*state, "bakery.yaml");
    uint8_t *bytes;
    size_t count;
    check_texts(&b, "[]", "0");
    assert_ok(parse(&b, "bakery: {ovens: [bread, \"1, 2\"], heat: {0: 1, 0.25: 10, 1: 0.5}}"));
    check_texts(&b, "[bread, \"1, 2\"]", "{0: 1, 0.25: 10, 1: 0.5}");
    assert_int_equal(labels_find(&b.ovens, "bread"), 0);
    assert_int_equal(labels_find(&b.ovens, "cake"), -1);
    assert_ok(config_write(&schema, &b, path));
    assert_ok(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    assert_ok(config_parse(&schema, &back, path, (char *)bytes, count));
    config_differences d = config_compare(&schema, &b, &back);
    assert_int_equal(d.count, 0);
    config_differences_free(&d);
    assert_ok(config_override(&schema, &back, "heat=3"));
    assert_ok(config_override(&schema, &back, "ovens=[cake]"));
    check_texts(&back, "[cake]", "3");
    field_copy(&fields[0], &b, &back);
    field_copy(&fields[1], &b, &back);
    check_texts(&back, "[bread, \"1, 2\"]", "{0: 1, 0.25: 10, 1: 0.5}");
    free(bytes);
    free(path);
}

static void curve_values(void **state) {
    bakery b = {0};
    (void)state;
    assert_true(curve_is_zero(&b.heat));
    assert_true(curve_value(&b.heat, 0.5) == 0);
    assert_ok(parse(&b, "bakery: {heat: {0.2: 1, 0.6: 3}}"));
    assert_false(curve_is_zero(&b.heat));
    const double expected[][2] = {{0, 1}, {0.2, 1}, {0.3, 1.5}, {0.5, 2.5}, {0.6, 3}, {1, 3}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_float_equal(curve_value(&b.heat, expected[i][0]), expected[i][1], 1e-12);
}

static void refusals(void **state) {
    static const char *const bad[] = {
        "bakery: {ovens: [bread, bread]}",
        "bakery: {ovens: ['']}",
        "bakery: {ovens: [a-name-that-is-much-too-long-for-a-label]}",
        "bakery: {ovens: [[a]]}",
        "bakery: {ovens: bread}",
        "bakery: {heat: 11}",
        "bakery: {heat: {0: 11}}",
        "bakery: {heat: {0.5: 1, 0.2: 1}}",
        "bakery: {heat: {2: 1}}",
        "bakery: {heat: {noon: 1}}",
        "bakery: {heat: [1]}",
        "bakery: {heat: {}}",
        "bakery: {heat: {0: 1, 0.1: 1, 0.2: 1, 0.3: 1, 0.4: 1, 0.5: 1, 0.6: 1, 0.7: 1, 0.8: 1}}",
    };
    bakery b = {0};
    (void)state;
    assert_ok(parse(&b, "bakery: {ovens: [bread], heat: 2}"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(&b, bad[i]), STATUS_USAGE);
        check_texts(&b, "[bread]", "2");
    }
}

static void bytes_in_a_file(void **state) {
    (void)state;
    typedef struct shed {
        int64_t room;
    } shed;
    static const config_field field[] = {CONFIG_FIELD(shed, "room", FIELD_BYTES, room, 1, 2e9, NULL, "inside")};
    static const config_section one = {"shed", TABLE_AND_COUNT(field), NULL, 0};
    static const config_part of[] = {{&one, 0}};
    static const config_schema all = {TABLE_AND_COUNT(of)};
    static const char *const good[] = {"room: 16M", "room: \"16M\"", "{\"shed\": {\"room\": \"16M\"}}",
                                       "room: 16000000"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        shed s = {0};
        assert_ok(config_parse(&all, &s, "s.yaml", good[i], strlen(good[i])));
        assert_int_equal(s.room, 16000000);
    }
}

/* With a unit or without; written as a number. */
static void byte_values(void **state) {
    (void)state;
    static const config_field room = {.key = "room", .type = FIELD_BYTES, .least = 1, .most = 2e9};
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {{"1", 1}, {"16000000", 16000000}, {"150M", 150000000}, {"1.5GB", 1500000000}, {"64KiB", 65536}};
    static const char *const bad[] = {"", "0", "3GB", "-1", "1.5", "two", "64 K", "1e6"};
    int64_t bytes = 0;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char number[24];
        assert_true(field_parse(&room, &bytes, good[i].text));
        assert_int_equal(bytes, good[i].bytes);
        snprintf(number, sizeof number, "%lld", (long long)good[i].bytes);
        char *text = field_text(&room, &bytes);
        assert_string_equal(text, number);
        free(text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_false(field_parse(&room, &bytes, bad[i]));
    assert_int_equal(bytes, 65536);
    bytes = 0;
    assert_fails(field_check(&room, &bytes), "room: expected bytes from 1 to 2000000000, such as 16000000, 150M");
}

int main(void) {
    const struct CMUnitTest tests[] = {in_scratch(round_trip), cmocka_unit_test(curve_values),
                                       cmocka_unit_test(byte_values), cmocka_unit_test(bytes_in_a_file),
                                       cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

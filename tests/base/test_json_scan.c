#include "test.h"

#include "base/json_scan.h"

static json_scan over(const char *text) {
    return (json_scan){text, text + strlen(text)};
}

static void strings_are_decoded(void **state) {
    (void)state;
    const struct {
        const char *json, *text;
    } good[] = {
        {"\"\"", ""},
        {" \n\t\r\"a b\"", "a b"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u20AC\"", "A\xc3\xa9\xe2\x82\xac"},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
        {"\"Z\xc3\xbcrich\"", "Z\xc3\xbcrich"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char *text = xmalloc(strlen(good[i].json)); /* as much as the header promises to need */
        json_scan s = over(good[i].json);
        assert_true(json_scan_string(&s, text));
        assert_string_equal(text, good[i].text);
        assert_true(json_scan_at_end(&s));
        s = over(good[i].json);
        assert_true(json_scan_skip(&s) && json_scan_at_end(&s));
        free(text);
    }
    const char *const bad[] = {"\"",
                               "\"a",
                               "\"\\\"",
                               "\"\\x\"",
                               "\"\\u12\"",
                               "\"\\u000g\"",
                               "\"\\u0000\"",
                               "\"\\ud83d\"",
                               "\"\\ude00\"",
                               "\"\\ud83d\\u0041\"",
                               "\"a\nb\"",
                               "a",
                               ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_scan s = over(bad[i]);
        assert_false(json_scan_string(&s, NULL));
    }
}

static void sizes_are_whole_numbers(void **state) {
    (void)state;
    const struct {
        const char *json;
        uint64_t value;
    } good[] = {{"0", 0}, {" 7,", 7}, {"9007199254740992]", UINT64_C(1) << 53}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t value = 1;
        json_scan s = over(good[i].json);
        assert_true(json_scan_size(&s, &value));
        assert_true(value == good[i].value);
    }
    const char *const bad[] = {"", "-1", "+1", "01", "1.5", "1e3", "9007199254740993", "99999999999999999999999", "x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t value;
        json_scan s = over(bad[i]);
        assert_false(json_scan_size(&s, &value));
    }
}

static void numbers_are_finite(void **state) {
    (void)state;
    const struct {
        const char *json;
        double value;
    } good[] = {{"0", 0}, {" -1.5e1,", -15}, {"-0.25]", -0.25}, {"1e-400", 0}, {"-9999.0", -9999}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double value = 1;
        json_scan s = over(good[i].json);
        assert_true(json_scan_number(&s, &value));
        assert_true(value == good[i].value);
    }
    char many[100];
    memset(many, '7', sizeof many - 1);
    many[sizeof many - 1] = '\0';
    const char *const bad[] = {"",          "-",        "+1",    ".5",    "1.",   "1e", "NaN",
                               "-Infinity", "Infinity", "1e999", "\"1\"", "null", many};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double value;
        json_scan s = over(bad[i]);
        assert_false(json_scan_number(&s, &value));
    }
}

static void values_are_passed_over(void **state) {
    (void)state;
    const char *const good[] = {"{}", "[]", "{\"a\":1}", "[1,-2.5e+10,0,\"x\",true,false,null,{\"b\":[[]]}]", " 3 "};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        json_scan s = over(good[i]);
        assert_true(json_scan_skip(&s) && json_scan_at_end(&s));
    }
    const char *const bad[] = {"",      "{",   "[",   "{a:1}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "[1,]",
                               "[1 2]", "tru", "nul", "-",     "1.",      "1e",       "]",          "{\"a\":1]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_scan s = over(bad[i]);
        assert_false(json_scan_skip(&s));
        assert_true(s.next <= s.end);
    }
}

/* The stack is bounded, whatever stands there. */
static void depth_is_bounded(void **state) {
    (void)state;
    enum { DEEP = 100000 };
    char *text = xmalloc(2 * DEEP);
    for (int depth = JSON_SCAN_DEPTH; depth <= DEEP; depth = depth == JSON_SCAN_DEPTH ? depth + 1 : depth * 10) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        json_scan s = {text, text + 2 * depth};
        assert_int_equal(json_scan_skip(&s), depth == JSON_SCAN_DEPTH);
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_decoded), cmocka_unit_test(sizes_are_whole_numbers),
        cmocka_unit_test(numbers_are_finite),  cmocka_unit_test(values_are_passed_over),
        cmocka_unit_test(depth_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

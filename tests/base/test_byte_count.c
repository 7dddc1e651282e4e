/* Numbers of bytes as people write them, and what is none. */
#include "test.h"

#include "base/byte_count.h"

static void numbers_and_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } cases[] = {{"0", 0},
                 {"7", 7},
                 {"0064", 64},
                 {"4194304", 4194304},
                 {"12B", 12},
                 {"150M", 150000000},
                 {"16MB", 16000000},
                 {"1.5G", 1500000000},
                 {"64KiB", 65536},
                 {"0.5KiB", 512},
                 {"3K", 3000},
                 {"3kB", 3000},
                 {"3k", 3000},
                 {"2mib", 2097152},
                 {"2GiB", 2147483648},
                 {"2GB", 2000000000},
                 {"1T", 1000000000000},
                 {"1.25TB", 1250000000000},
                 {"8TiB", 8796093022208},
                 {"0.57K", 570}, /* 569.999… in doubles */
                 {"0.0004K", 0},
                 {"1.3KiB", 1331}, /* 1331.2 */
                 {"1.9999K", 2000},
                 {"9007199254740993", 9007199254740993}, /* no double */
                 {"9223372036854775807", INT64_MAX},
                 {"9223372036854775.807K", INT64_MAX},
                 {"9223372.036854775807TB", INT64_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t bytes = -1;
        if (!byte_count_parse(cases[i].text, &bytes) || bytes != cases[i].bytes)
            fail_msg("%s: expected %lld, found %lld", cases[i].text, (long long)cases[i].bytes, (long long)bytes);
    }
}

static void what_is_none(void **state) {
    (void)state;
    static const char *const cases[] = {"",
                                        " ",
                                        "-1",
                                        "-0",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "1 MB",
                                        "M",
                                        "KiB",
                                        ".5G",
                                        "1.",
                                        "1.G",
                                        "1.5",
                                        "1.5B",
                                        "1.0",
                                        "1..5G",
                                        "1.5.5G",
                                        "1,5G",
                                        "1_000",
                                        "0x10",
                                        "0x10K",
                                        "1e6",
                                        "1e6K",
                                        "nan",
                                        "NaN",
                                        "inf",
                                        "infinity",
                                        "1nan",
                                        "1P",
                                        "1X",
                                        "1Ki",
                                        "1KBB",
                                        "1KiBs",
                                        "1bytes",
                                        "9223372036854775808",
                                        "9223372036854775807.5",
                                        "9223372036854775.8075K",
                                        "18446744073709551616",
                                        "9300000TB",
                                        "8388608TiB",
                                        "99999999999999999999999999999999999999999999G"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t bytes = 77;
        if (byte_count_parse(cases[i], &bytes)) fail_msg("`%s` is %lld bytes", cases[i], (long long)bytes);
        assert_int_equal(bytes, 77);
    }
    char digits[4000];
    int64_t bytes = 77;
    memset(digits, '9', sizeof digits);
    digits[sizeof digits - 1] = '\0';
    assert_false(byte_count_parse(digits, &bytes));
    memset(digits, '0', sizeof digits - 2);
    assert_true(byte_count_parse(digits, &bytes));
    assert_int_equal(bytes, 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_units),
        cmocka_unit_test(what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

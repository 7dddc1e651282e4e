/* What is no UTF-8, mended. */
#include "test.h"

#include "text/utf8.h"
#include <stdlib.h>

static void each_wrong_byte_is_replaced(void **state) {
    (void)state;
    static const struct {
        const char *text, *mended;
    } cases[] = {
        {"", ""},
        {"plain \xC3\xA9 \xF0\x9F\x98\x80", "plain \xC3\xA9 \xF0\x9F\x98\x80"},
        {"a\xFF"
         "b",
         "a" UTF8_REPLACEMENT "b"},
        {"cut \xE2\x82", "cut " UTF8_REPLACEMENT UTF8_REPLACEMENT},
        {"\xC3(", UTF8_REPLACEMENT "("},
        {"\xED\xA0\x80", UTF8_REPLACEMENT UTF8_REPLACEMENT UTF8_REPLACEMENT}, /* a surrogate */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *mended = utf8_mended(cases[i].text);
        assert_string_equal(mended, cases[i].mended);
        free(mended);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_wrong_byte_is_replaced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

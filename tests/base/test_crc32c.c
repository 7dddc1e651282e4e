/* The examples of RFC 3720, B.4. */
#include "test.h"

#include "base/crc32c.h"

static void known_values(void **state) {
    (void)state;
    uint8_t bytes[32] = {0};
    assert_int_equal(crc32c("", 0), 0);
    assert_int_equal(crc32c("123456789", 9), 0xE3069283);
    assert_int_equal(crc32c(bytes, 32), 0x8A9136AA);
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)i;
    assert_int_equal(crc32c(bytes, 32), 0x46DD794E);
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(crc32c(bytes, 32), 0x113FDB5C);
    memset(bytes, 0xFF, 32);
    assert_int_equal(crc32c(bytes, 32), 0x62A8AB43);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_values)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

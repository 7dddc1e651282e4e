#include "test.h"

#include "formats/storage.h"

/* Values of ggml's blocks, made by hand from its formulas. */
static void blocks(void **state) {
    (void)state;
    uint8_t q4[18] = {0, 0x3c}, q8[34] = {0, 0x40}, q4_1[20] = {0, 0x3c, 0, 0xc0}, q5[22] = {0, 0x3c, 0x01, 0, 0, 0x80};
    float x[256];
    q4[2] = 0x9f; /* element 0: 15 − 8, element 16: 9 − 8 */
    storage_read(STORAGE_Q4_0, q4, 32, x);
    assert_true(x[0] == 7 && x[16] == 1 && x[1] == -8);
    q8[2] = 0xff;
    q8[33] = 3;
    storage_read(STORAGE_Q8_0, q8, 32, x);
    assert_true(x[0] == -2 && x[31] == 6 && x[1] == 0);
    q4_1[4 + 15] = 0x50;
    storage_read(STORAGE_Q4_1, q4_1, 32, x);
    assert_true(x[15] == -2 && x[31] == 3 && x[0] == -2);
    q5[6] = 0x01;
    storage_read(STORAGE_Q5_0, q5, 32, x);
    assert_true(x[0] == 1 && x[31] == 0 && x[1] == -16);
    uint8_t q6[210] = {0};
    q6[0] = 0x21;                    /* element 0: low nibble 1; element 64: 2 */
    q6[128] = 0x11;                  /* their high bits: 1 and (quarter 2) 1 */
    q6[192] = 2, q6[192 + 4] = 0xff; /* scales of elements 0 … 15, and 64 … 79 */
    q6[209] = 0x3c;
    storage_read(STORAGE_Q6_K, q6, 256, x);
    assert_true(x[0] == 2 * (17 - 32) && x[64] == -1 * (18 - 32) && x[200] == 0);
    uint8_t q4k[144] = {0, 0x3c, 0, 0x3c};
    q4k[4] = 3, q4k[8] = 2; /* scale and minimum of the first 32 */
    q4k[16] = 0x0f;
    storage_read(STORAGE_Q4_K, q4k, 256, x);
    assert_true(x[0] == 3 * 15 - 2 && x[1] == -2 && x[40] == 0);
}

/* Any bytes as codes are what they are as values, to the bit. */
static void codes(void **state) {
    (void)state;
    uint32_t seed = 1;
    for (storage s = 0; s < STORAGES; s++) {
        const int64_t block = storage_block(s), group = storage_group(s), elements = 8 * 256;
        if (group == 0) {
            assert_int_equal(block, 1); /* floats */
            continue;
        }
        uint8_t bytes[4096];
        int8_t q[8 * 256];
        float values[8 * 256], scale[8 * 256 / 16], offset[8 * 256 / 16] = {0};
        const size_t count = storage_bytes(s, elements), each = storage_bytes(s, block);
        assert_true(count <= sizeof bytes && block % group == 0);
        for (size_t i = 0; i < count; i++) bytes[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
        for (size_t i = 0; i < count; i += each) { /* scales that are finite, wherever a half may lie */
            bytes[i + 1] = (uint8_t)(bytes[i + 1] & 0xbf);
            bytes[i + 3] = (uint8_t)(bytes[i + 3] & 0xbf);
            bytes[i + each - 1] = (uint8_t)(bytes[i + each - 1] & 0xbf);
        }
        storage_read(s, bytes, elements, values);
        storage_read_codes(s, bytes, elements, q, scale, storage_has_offset(s) ? offset : NULL);
        for (int64_t i = 0; i < elements; i++)
            assert_true(scale[i / group] * (float)q[i] + offset[i / group] == values[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks),
        cmocka_unit_test(codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

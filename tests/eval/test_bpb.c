/* The parts of the bits-per-byte computation against hand-computed cases. */
#include "eval/bpb.h"
#include <lzma.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_ratio(void **state) {
    (void)state;
    /* 3 nats and 5 bytes: 3 / ln 2 / 5 = 0.865617… */
    bpb_score s = {.nll = 3, .nll_blend = 2, .tokens = 2, .bytes = 5};
    assert_float_equal(bpb(&s), 0.8656170, 1e-6);
    assert_float_equal(bpb_blend(&s), 0.5770780, 1e-6);
}

/* V = 4, λ = 0.5, the model always says 1/4. The pair (1, 2) is seen three times:
 * 1st: total 0, c = 0                         → −log 0.25
 * 2nd: total 1, c = 1/11, p₂ = 2/5            → −log((1 − 0.5/11)·0.25 + 0.5/11·0.4)
 * 3rd: total 2, c = 2/12, p₂ = 3/6            → −log((1 − 1/12)·0.25 + 1/12·0.5) */
static void test_blend(void **state) {
    (void)state;
    bigram_blend *b = bigram_blend_create(4, 0.5);
    double nll = -log(0.25);
    assert_float_equal(bigram_blend_score(b, 1, 2, nll), nll, 1e-12);
    assert_float_equal(bigram_blend_score(b, 1, 2, nll), -log((1 - 0.5 / 11) * 0.25 + 0.5 / 11 * 0.4), 1e-12);
    assert_float_equal(bigram_blend_score(b, 1, 2, nll), -log((1 - 1.0 / 12) * 0.25 + 0.5 / 12), 1e-12);
    bigram_blend_destroy(b);
}

/* Many pairs: the table grows and forgets nothing. */
static void test_blend_grows(void **state) {
    (void)state;
    bigram_blend *b = bigram_blend_create(300, 0.5);
    for (int i = 0; i < 20000; i++) bigram_blend_score(b, i % 300, (i / 300) % 67, 1);
    double total = 67, p2 = 2 / (total + 300), weight = 0.5 * total / (total + 10);
    for (int token = 0; token < 66; token++) { /* each pair (7, 0 … 65) was seen once; totals grow by one a call */
        double expected = -log((1 - weight) * exp(-1) + weight * p2);
        assert_float_equal(bigram_blend_score(b, 7, token, 1), expected, 1e-9);
        total++;
        p2 = 2 / (total + 300);
        weight = 0.5 * total / (total + 10);
    }
    bigram_blend_destroy(b);
}

static void test_xz(void **state) {
    (void)state;
    static uint8_t zeros[100000];
    double bits;
    assert_int_equal(xz_bits_per_byte(zeros, sizeof zeros, &bits), STATUS_OK);
    assert_true(bits > 0 && bits < 0.05);
    assert_int_not_equal(xz_bits_per_byte(zeros, 0, &bits), STATUS_OK);
}

/* With tables made to the text's measure the size is still the one of `xz -9e`: digits of random length, matches far and near. */
static void test_xz_is_xz_9e(void **state) {
    (void)state;
    static uint8_t text[1400000], compressed[1500000];
    uint32_t seed = 1;
    for (size_t i = 0; i < sizeof text; i++) {
        seed = seed * 1664525 + 1013904223;
        text[i] = seed >> 29 || i < 5000 ? (uint8_t)('0' + (seed >> 24) % 10) : text[i - 1 - (seed >> 16) % 5000];
    }
    memcpy(text + 1390000, text, 9000);
    static const size_t sizes[] = {1, 20, 6000, 100000, sizeof text};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t bytes = sizes[i];
        double bits;
        size_t size = 0;
        assert_int_equal(lzma_easy_buffer_encode(9 | LZMA_PRESET_EXTREME, LZMA_CHECK_CRC64, NULL, text, bytes,
                                                 compressed, &size, sizeof compressed),
                         LZMA_OK);
        assert_int_equal(xz_bits_per_byte(text, bytes, &bits), STATUS_OK);
        assert_float_equal(bits, 8.0 * (double)size / (double)bytes, 1e-12);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ratio), cmocka_unit_test(test_blend),
                                       cmocka_unit_test(test_blend_grows), cmocka_unit_test(test_xz),
                                       cmocka_unit_test(test_xz_is_xz_9e)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

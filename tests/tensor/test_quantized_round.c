/* Floats rounded to codes: as near as the bits allow, in numbers that float16 holds. */
#include "tensor/quantized.h"
#include "test.h"

#include "base/half.h"
#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

static uint32_t seed = 1;
static float random_value(void) {
    seed = seed * 1664525 + 1013904223;
    return (float)(seed >> 8) / (1 << 23) - 1;
}

static bool is_half(float x) {
    return half_to_float(half_from_float(x)) == x;
}

static void test_groups(void **state) {
    (void)state;
    assert_int_equal(quantized_group_for(576), 32);
    assert_int_equal(quantized_group_for(48), 24);
    assert_int_equal(quantized_group_for(40), 8);
    assert_int_equal(quantized_group_for(36), 36);
    assert_int_equal(quantized_group_for(7), 7);
}

static void test_nibbles(void **state) {
    (void)state;
    int8_t codes[4] = {0, 3, 15, 1};
    quantized q = {.rows = 2, .cols = 2, .group = 2, .q = codes};
    int least;
    assert_true(quantized_is_nibbles(&q, &least) && least == 0);
    codes[0] = -1;
    assert_false(quantized_is_nibbles(&q, &least)); /* −1 … 15 */
    codes[2] = 7, codes[3] = -8;
    assert_true(quantized_is_nibbles(&q, &least) && least == -8);
    codes[3] = -9;
    assert_false(quantized_is_nibbles(&q, &least));
    codes[3] = 8;
    assert_false(quantized_is_nibbles(&q, &least));
}

enum { ROWS = 5, COLS = 96, GROUP = 32 };

/* Σ (w − its code's value)² over Σ w²; every error is at most `most` steps. */
static double relative_error(const quantized *q, const float *values, double most) {
    double error = 0, size = 0;
    float *back = xmalloc(ROWS * COLS * sizeof *back);
    quantized_expand(q, back);
    for (int i = 0; i < ROWS * COLS; i++) {
        const double off = (double)values[i] - back[i];
        assert_true(fabs(off) <= most * q->scale[i / GROUP]);
        error += off * off;
        size += (double)values[i] * values[i];
    }
    free(back);
    return error / size;
}

static void test_rounding(void **state) {
    (void)state;
    for (int bits = 4; bits <= 8; bits += 4) {
        float values[ROWS * COLS];
        for (int i = 0; i < ROWS * COLS; i++) values[i] = 0.05f * random_value() * random_value();
        quantized q = quantized_alloc(ROWS, COLS, GROUP, bits == 4);
        quantized_round_rows(&q, bits, 0, 2, values);
        quantized_round_rows(&q, bits, 2, ROWS - 2, values + 2 * COLS);
        for (int g = 0; g < ROWS * COLS / GROUP; g++)
            assert_true(is_half(q.scale[g]) && (!q.offset || is_half(q.offset[g])));
        for (int i = 0; i < ROWS * COLS; i++) assert_true(bits == 8 ? abs(q.q[i]) <= 127 : q.q[i] >= 0 && q.q[i] <= 15);
        /* even steps of half the range / 127, and of the range / 15; least squares may leave the ends a little outside */
        const double error = relative_error(&q, values, bits == 8 ? 0.6 : 1.6);
        assert_true(error < (bits == 8 ? 1e-4 : 1e-2) && error > 0);
        quantized_free(&q);
    }
}

/* Zeros, one value for all, denormal numbers, what float16 cannot hold, and what is no number. */
static void test_ends(void **state) {
    (void)state;
    static const float all[] = {0, 0.7f, -3, 1e-40f, 1e8f};
    for (int bits = 4; bits <= 8; bits += 4)
        for (size_t a = 0; a < sizeof all / sizeof *all; a++) {
            float values[ROWS * COLS], back[ROWS * COLS];
            for (int i = 0; i < ROWS * COLS; i++) values[i] = all[a];
            quantized q = quantized_alloc(ROWS, COLS, GROUP, bits == 4);
            quantized_round_rows(&q, bits, 0, ROWS, values);
            quantized_expand(&q, back);
            for (int i = 0; i < ROWS * COLS; i++)
                assert_true(fabsf(back[i] - all[a]) <= 0.001f * fabsf(all[a]) + 1e-7f);
            values[40] = NAN;
            quantized_round_rows(&q, bits, 0, ROWS, values);
            assert_true(isnan(q.scale[40 / GROUP]) && !isnan(q.scale[0]));
            values[40] = INFINITY;
            quantized_round_rows(&q, bits, 0, ROWS, values);
            assert_true(isnan(q.scale[40 / GROUP]) && !isnan(q.scale[0]));
            quantized_free(&q);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_nibbles),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* 16-bit floats. */
#include "test.h"

#include "base/half.h"
#include <math.h>

static void halves_round_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t half = 0; half < 0x10000; half++) { /* each half comes back */
        const float x = half_to_float((uint16_t)half);
        if (isnan(x))
            assert_int_equal(half_from_float(x) & 0x7c00, 0x7c00);
        else
            assert_int_equal(half_from_float(x), half);
    }
    const struct {
        float x;
        uint16_t half;
    } known[] = {{1.0f, 0x3c00},       {-2.0f, 0xc000},      {65504.0f, 0x7bff},   {65519.0f, 0x7bff},
                 {65520.0f, 0x7c00},   {1e10f, 0x7c00},      {0x1p-24f, 0x0001},   {0x1p-25f, 0x0000},
                 {0x1.8p-25f, 0x0001}, {0x1.001p0f, 0x3c00}, {0x1.003p0f, 0x3c01}, {0x1.002p0f, 0x3c00},
                 {0x1.006p0f, 0x3c02}, {1e-30f, 0x0000},     {-INFINITY, 0xfc00},  {0x1.ffcp-15f, 0x0400}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(half_from_float(known[i].x), known[i].half);
}

static void bfloats_round_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        const float x = bfloat_to_float((uint16_t)bits);
        if (isnan(x))
            assert_true(isnan(bfloat_to_float(bfloat_from_float(x))));
        else
            assert_int_equal(bfloat_from_float(x), bits);
    }
    assert_int_equal(bfloat_from_float(0x1.01p0f), 0x3f80); /* a tie: to even */
    assert_int_equal(bfloat_from_float(0x1.03p0f), 0x3f82);
    assert_int_equal(bfloat_from_float(0x1.0101p0f), 0x3f81);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(bfloats_round_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

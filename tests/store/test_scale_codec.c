/* The coder of scales: what comes back, what it costs, and bytes that no encoder wrote. */
#include "test.h"

#include "base/random.h"
#include "store/scale_codec.h"
#include <math.h>

enum { COUNT = 500 };

static uint16_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(bits >> 16);
}

/* Bytes that it takes. */
static size_t round_trip(const uint16_t *scales, size_t all, const scale_run *runs, size_t count) {
    uint8_t *bytes;
    size_t bytes_count;
    uint16_t *back = xmalloc((all + 1) * sizeof *back);
    scales_encode(scales, runs, count, &bytes, &bytes_count);
    memset(back, 0xaa, all * sizeof *back);
    assert_ok(scales_decode(back, runs, count, bytes, bytes_count));
    assert_memory_equal(back, scales, all * sizeof *back);
    free(bytes), free(back);
    return bytes_count;
}

static void scales_of_all_sizes_come_back(void **state) {
    (void)state;
    rng r = rng_seed(1);
    uint16_t scales[4 * COUNT];
    for (int i = 0; i < 4 * COUNT; i++)
        scales[i] = i < COUNT ? (uint16_t)rng_next(&r) : i < 2 * COUNT ? 0 : bits_of(1e-30f * (float)i);
    const scale_run runs[] = {{0, COUNT, SCALES_OF_ROWS, false, 0},
                              {COUNT, COUNT, SCALES_OF_ROWS, true, 0},
                              {2 * COUNT, COUNT, SCALES_OF_COLUMNS, false, 0},
                              {3 * COUNT, COUNT, SCALES_OF_COLUMNS, true, 2 * COUNT}};
    round_trip(scales, 4 * COUNT, runs, 4);
    round_trip(scales, 0, runs, 0);
    round_trip(scales, COUNT, runs, 1);
}

/* 32 values an octave, log-normal with a spread of a tenth: about 3.7 bits; and a copy that differs in every tenth row. */
static void likely_scales_are_short(void **state) {
    (void)state;
    rng r = rng_seed(2);
    uint16_t scales[2 * COUNT];
    for (int i = 0; i < COUNT; i++) {
        float x;
        rng_normal(&r, &x, 1, 0.1f);
        scales[i] = bits_of(0.01f * expf(x)) & 0xfffc;
        scales[COUNT + i] = i % 10 ? scales[i] : scales[i] + 4;
    }
    const scale_run runs[] = {{0, COUNT, SCALES_OF_ROWS, false, 0}, {COUNT, COUNT, SCALES_OF_ROWS, true, 0}};
    const size_t one = round_trip(scales, COUNT, runs, 1), both = round_trip(scales, 2 * COUNT, runs, 2);
    assert_true(8 * one < 4.6 * COUNT);
    assert_true(8 * (both - one) < 0.8 * COUNT);
}

static void any_bytes_decode(void **state) {
    (void)state;
    rng r = rng_seed(3);
    uint16_t scales[2 * COUNT];
    const scale_run runs[] = {{0, COUNT, SCALES_OF_ROWS, false, 0}, {COUNT, COUNT, SCALES_OF_COLUMNS, true, 0}};
    for (int trial = 0; trial < 300; trial++) {
        uint8_t bytes[400];
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = trial % 3 ? (uint8_t)rng_next(&r) : 0xff;
        bytes[0] = (uint8_t)(trial % 20), bytes[1] = 0;
        const size_t count = rng_below(&r, sizeof bytes);
        const bool good = count >= 2 && bytes[0] < 16;
        assert_int_equal(scales_decode(scales, runs, 2, bytes, count), good ? STATUS_OK : STATUS_FAILED);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scales_of_all_sizes_come_back),
        cmocka_unit_test(likely_scales_are_short),
        cmocka_unit_test(any_bytes_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

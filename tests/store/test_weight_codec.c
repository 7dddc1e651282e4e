/* The entropy coder: exact round trips, sizes close to or below the entropy, and bytes that no encoder wrote. */
#include "test.h"

#include "base/random.h"
#include "store/range_coder.h"
#include "store/weight_codec.h"
#include <math.h>

/* rows × cols of q ~ round(N(0, 1) · size · row's factor · column's factor). */
static quantized random_codes(int64_t rows, int64_t cols, int bits, float size, float spread, uint64_t seed) {
    quantized q;
    assert_int_equal(quantized_create(&q, rows, cols, bits), STATUS_OK);
    rng r = rng_seed(seed);
    float *w = xmalloc((size_t)cols * sizeof *w), *column = xmalloc((size_t)cols * sizeof *column), row;
    rng_normal(&r, column, (size_t)cols, spread);
    for (int64_t i = 0; i < rows; i++) {
        rng_normal(&r, w, (size_t)cols, size);
        rng_normal(&r, &row, 1, spread);
        q.scale[i] = 1;
        for (int64_t c = 0; c < cols; c++)
            q.q[i * cols + c] = (int8_t)grid_nearest(w[c] * expf(row + column[c]), 1, (float)q.levels);
    }
    free(w);
    free(column);
    return q;
}

/* Encodes, decodes, compares; returns bits a weight. */
static double round_trip(const quantized *q) {
    uint8_t *bytes;
    size_t count;
    weights_encode(q, &bytes, &count);
    quantized back = *q;
    back.q = xmalloc((size_t)(q->rows * q->cols));
    assert_int_equal(weights_decode(&back, bytes, count), STATUS_OK);
    assert_memory_equal(back.q, q->q, q->rows * q->cols);
    free(back.q);
    free(bytes);
    return 8.0 * (double)count / (double)(q->rows * q->cols);
}

static void every_shape_comes_back(void **state) {
    (void)state;
    const int64_t shapes[][2] = {{1, 1}, {1, 1000}, {1000, 1}, {37, 91}};
    const float sizes[] = {0.01f, 1, 8, 60, 500};
    for (int bits = 2; bits <= 8; bits++)
        for (size_t i = 0; i < 4; i++)
            for (size_t k = 0; k < 5; k++) {
                quantized q = random_codes(shapes[i][0], shapes[i][1], bits, sizes[k], 0.3f, 100 * i + k);
                q.scale[q.rows / 2] = 0; /* a row that is not coded */
                memset(q.q + q.rows / 2 * q.cols, 0, (size_t)q.cols);
                round_trip(&q);
                quantized_free(&q);
            }
}

static void equal_rows_cost_their_entropy(void **state) {
    (void)state;
    for (int bits = 3; bits <= 8; bits++) {
        quantized q = random_codes(256, 512, bits, (float)(1 << (bits - 1)) / 3.3f, 0, 1);
        const double entropy = weights_entropy(&q) / (256.0 * 512);
        assert_true(round_trip(&q) < entropy + (bits == 8 ? 0.03 : 0.015));
        quantized_free(&q);
    }
}

static void unequal_rows_and_columns_cost_less(void **state) {
    (void)state;
    quantized q = random_codes(512, 512, 6, 7, 0.4f, 1);
    const double entropy = weights_entropy(&q) / (512.0 * 512);
    assert_true(round_trip(&q) < entropy - 0.1);
    quantized_free(&q);
}

/* The coder itself, with probabilities that drive it into carries and its smallest ranges. */
static void extreme_probabilities(void **state) {
    (void)state;
    const uint32_t prior[3] = {1, 0, 1 << 18};
    for (uint64_t seed = 0; seed < 200; seed++) {
        rng r = rng_seed(seed);
        uint8_t symbols[3000];
        for (size_t i = 0; i < sizeof symbols; i++)
            symbols[i] = rng_below(&r, 1 + seed) ? 2 : (uint8_t)rng_below(&r, 3);
        frequency_table t;
        range_encoder e;
        table_start(&t, 3, prior);
        range_encoder_start(&e);
        for (size_t i = 0; i < sizeof symbols; i++) range_encode(&e, &t, symbols[i]);
        range_encoder_finish(&e);
        range_decoder d;
        table_start(&t, 3, prior);
        range_decoder_start(&d, e.bytes, e.count);
        for (size_t i = 0; i < sizeof symbols; i++) assert_int_equal(range_decode(&d, &t), symbols[i]);
        assert_false(d.damaged);
        free(e.bytes);
    }
}

static void any_bytes_decode_to_something_or_fail(void **state) {
    (void)state;
    rng r = rng_seed(9);
    quantized q = random_codes(20, 50, 6, 7, 0.2f, 2);
    for (int trial = 0; trial < 500; trial++) {
        uint8_t bytes[200];
        for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = trial % 3 ? (uint8_t)rng_next(&r) : 0xff;
        const size_t count = rng_below(&r, sizeof bytes);
        if (weights_decode(&q, bytes, count) != STATUS_OK) assert_true(strlen(error_message()) > 0);
        for (int64_t i = 0; i < q.rows * q.cols; i++) assert_true(abs(q.q[i]) <= q.levels);
    }
    assert_int_equal(weights_decode(&q, (const uint8_t *)"", 0), STATUS_FAILED);
    assert_int_equal(weights_decode(&q, (const uint8_t *)"\0\0\0\0", 4), STATUS_FAILED);
    quantized_free(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_comes_back),
        cmocka_unit_test(equal_rows_cost_their_entropy),
        cmocka_unit_test(unequal_rows_and_columns_cost_less),
        cmocka_unit_test(extreme_probabilities),
        cmocka_unit_test(any_bytes_decode_to_something_or_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

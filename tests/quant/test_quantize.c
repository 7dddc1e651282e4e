/* Rounding and GPTQ: error bounds, GPTQ against rounding under correlated inputs, odd shapes, bad weights. */
#include "test.h"

#include "base/random.h"
#include "quant/quantize.h"
#include <math.h>

static float *normal(int64_t count, float std, uint64_t seed) {
    rng r = rng_seed(seed);
    float *w = xmalloc((size_t)count * sizeof *w);
    rng_normal(&r, w, (size_t)count, std);
    return w;
}

/* XᵀX of inputs that follow one another: x_j = 0.9 x_{j−1} + noise. */
static float *correlated_hessian(int64_t cols, int64_t samples) {
    float *x = normal(samples * cols, 1, 11), *h = xcalloc((size_t)(cols * cols), sizeof *h);
    for (int64_t n = 0; n < samples; n++) {
        float *row = x + n * cols;
        for (int64_t j = 1; j < cols; j++) row[j] = 0.9f * row[j - 1] + 0.44f * row[j];
        for (int64_t j = 0; j < cols; j++)
            for (int64_t k = 0; k < cols; k++) h[j * cols + k] += row[j] * row[k];
    }
    free(x);
    return h;
}

static double relative_error(const quantized *q, const float *w, const float *hessian) {
    float *expanded = xmalloc((size_t)(q->rows * q->cols) * sizeof *expanded);
    quantized_expand(q, expanded);
    double e =
        hessian_error(w, expanded, hessian, q->rows, q->cols) / hessian_error(w, NULL, hessian, q->rows, q->cols);
    free(expanded);
    return e;
}

static void rounding_of_a_gaussian_has_the_theoretical_error(void **state) {
    (void)state;
    const int64_t rows = 64, cols = 512;
    /* Best uniform quantisers of a Gaussian with 2^b levels (Max 1960): distortions / σ². Ours has one level less and its
     * scale is fitted to each row, hence the margins. */
    const struct {
        int bits;
        double distortion;
    } known[] = {{3, 0.03744}, {4, 0.01154}, {5, 0.003495}, {6, 0.001040}, {8, 0.0000857}};
    float *w = normal(rows * cols, 0.05f, 1);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        quantized q;
        assert_int_equal(quantize_round(&q, w, rows, cols, &(grid_options){.bits = known[i].bits}), STATUS_OK);
        double e = relative_error(&q, w, NULL);
        assert_true(e > 0.5 * known[i].distortion && e < (known[i].bits == 3 ? 1.45 : 1.15) * known[i].distortion);
        for (int64_t k = 0; k < rows * cols; k++) assert_true(abs(q.q[k]) <= q.levels);
        quantized_free(&q);
    }
    free(w);
}

static void small_rows_keep_their_precision(void **state) {
    (void)state; /* #2102's floor of 1/31 under the scale would zero this matrix */
    const int64_t rows = 8, cols = 256;
    float *w = normal(rows * cols, 1e-9f, 2);
    quantized q;
    assert_int_equal(quantize_round(&q, w, rows, cols, &(grid_options){.bits = 6}), STATUS_OK);
    assert_true(relative_error(&q, w, NULL) < 0.0015);
    quantized_free(&q);
    free(w);
}

static void gptq_beats_rounding_under_the_hessian(void **state) {
    (void)state;
    const int64_t rows = 40, cols = 300; /* more than two blocks, the last one not whole; a partial panel */
    float *w = normal(rows * cols, 0.1f, 3), *h = correlated_hessian(cols, 900);
    for (int bits = 3; bits <= 6; bits++) {
        quantized rounded, gptq, again;
        assert_int_equal(quantize_round(&rounded, w, rows, cols, &(grid_options){.bits = bits}), STATUS_OK);
        assert_int_equal(quantize_gptq(&gptq, w, h, rows, cols, &(grid_options){.bits = bits}, 0.01), STATUS_OK);
        assert_int_equal(quantize_gptq(&again, w, h, rows, cols, &(grid_options){.bits = bits}, 0.01), STATUS_OK);
        assert_true(relative_error(&gptq, w, h) * 3 < relative_error(&rounded, w, h));
        assert_memory_equal(gptq.q, again.q, rows * cols);
        assert_memory_equal(gptq.scale, again.scale, rows * sizeof(float));
        quantized_free(&rounded);
        quantized_free(&gptq);
        quantized_free(&again);
    }
    free(w);
    free(h);
}

static void gptq_with_independent_inputs_is_rounding(void **state) {
    (void)state;
    const int64_t rows = 10, cols = 130;
    float *w = normal(rows * cols, 0.1f, 4), *h = xcalloc((size_t)(cols * cols), sizeof *h);
    quantized rounded, gptq;
    for (int identity = 0; identity < 2; identity++) { /* no input at all was seen, then the identity */
        for (int64_t c = 0; c < cols; c++) h[c * cols + c] = (float)identity;
        assert_int_equal(quantize_round(&rounded, w, rows, cols, &(grid_options){.bits = 5}), STATUS_OK);
        assert_int_equal(quantize_gptq(&gptq, w, h, rows, cols, &(grid_options){.bits = 5}, 0.01), STATUS_OK);
        assert_memory_equal(gptq.q, rounded.q, rows * cols);
        assert_memory_equal(gptq.scale, rounded.scale, rows * sizeof(float));
        quantized_free(&rounded);
        quantized_free(&gptq);
    }
    free(w);
    free(h);
}

static void dead_columns_are_rounded(void **state) {
    (void)state;
    const int64_t rows = 6, cols = 64, dead = 17;
    float *w = normal(rows * cols, 0.1f, 5), *h = correlated_hessian(cols, 200);
    for (int64_t c = 0; c < cols; c++) h[dead * cols + c] = h[c * cols + dead] = 0;
    quantized q;
    assert_int_equal(quantize_gptq(&q, w, h, rows, cols, &(grid_options){.bits = 6}, 0.01), STATUS_OK);
    for (int64_t r = 0; r < rows; r++) {
        const float exact = w[r * cols + dead], largest = (float)q.levels * q.scale[r];
        const float clipped = fmaxf(-largest, fminf(largest, exact));
        assert_true(fabsf((float)q.q[r * cols + dead] * q.scale[r] - clipped) <= 0.5001f * q.scale[r]);
    }
    quantized_free(&q);
    free(w);
    free(h);
}

static void a_coarser_step_is_taken(void **state) {
    (void)state;
    const int64_t rows = 4, cols = 512;
    float *w = normal(rows * cols, 0.1f, 6);
    quantized q;
    assert_int_equal(quantize_round(&q, w, rows, cols, &(grid_options){.bits = 6, .least_step = 0.4}), STATUS_OK);
    for (int64_t r = 0; r < rows; r++) assert_true(fabs(q.scale[r] / 0.04 - 1) < 0.12);
    assert_true(fabs(relative_error(&q, w, NULL) / (0.4 * 0.4 / 12) - 1) < 0.15);
    quantized_free(&q);
    free(w);
}

static void odd_shapes(void **state) {
    (void)state;
    const int64_t shapes[][2] = {{1, 1}, {1, 200}, {200, 1}, {17, 129}};
    for (size_t i = 0; i < 4; i++) {
        const int64_t rows = shapes[i][0], cols = shapes[i][1];
        float *w = normal(rows * cols, 2, 7), *h = correlated_hessian(cols, 50);
        memset(w, 0, (size_t)cols * sizeof *w); /* a row of zeros */
        quantized q;
        assert_int_equal(quantize_gptq(&q, w, h, rows, cols, &(grid_options){.bits = 8}, 0.01), STATUS_OK);
        assert_true(q.scale[0] == 0);
        for (int64_t c = 0; c < cols; c++) assert_int_equal(q.q[c], 0);
        if (rows > 1) assert_true(relative_error(&q, w, h) < 1e-4);
        quantized_free(&q);
        free(w);
        free(h);
    }
}

static void bad_input_is_refused(void **state) {
    (void)state;
    float w[12] = {0}, h[16] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
    quantized q;
    w[6] = NAN;
    assert_int_equal(quantize_gptq(&q, w, h, 3, 4, &(grid_options){.bits = 6}, 0.01), STATUS_FAILED);
    assert_non_null(strstr(error_message(), "row 1, column 2"));
    assert_int_equal(quantize_round(&q, w, 3, 4, &(grid_options){.bits = 6}), STATUS_FAILED);
    w[6] = INFINITY;
    assert_int_equal(quantize_round(&q, w, 3, 4, &(grid_options){.bits = 6}), STATUS_FAILED);
    w[6] = 0;
    assert_int_equal(quantize_round(&q, w, 3, 4, &(grid_options){.bits = 9}), STATUS_FAILED);
    assert_non_null(strstr(error_message(), "found 9"));
    h[5] = NAN;
    assert_int_equal(quantize_gptq(&q, w, h, 3, 4, &(grid_options){.bits = 6}, 0.01), STATUS_FAILED);
    assert_non_null(strstr(error_message(), "Hessian"));
}

static void hessian_error_by_hand(void **state) {
    (void)state;
    const float w[4] = {1, 2, 3, 4}, quantised[4] = {0, 2, 3, 5}, h[4] = {2, 1, 1, 3};
    /* rows e = (1, 0) and (0, −1): 2 + 3 */
    assert_true(hessian_error(w, quantised, h, 2, 2) == 5);
    assert_true(hessian_error(w, quantised, NULL, 2, 2) == 2);
    assert_true(hessian_error(w, NULL, h, 1, 2) == 2 + 4 + 12);
}

/* Of more rows and columns than are taken at a time. */
static void hessian_error_of_many_blocks(void **state) {
    (void)state;
    enum { ROWS = 37, COLS = 300 };
    static float w[ROWS * COLS], q[ROWS * COLS], h[COLS * COLS];
    rng r = rng_seed(8);
    rng_normal(&r, w, ROWS * COLS, 1);
    rng_normal(&r, q, ROWS * COLS, 1);
    rng_normal(&r, h, COLS * COLS, 1);
    for (int i = 0; i < COLS; i++)
        for (int j = 0; j < i; j++) h[i * COLS + j] = h[j * COLS + i];
    double sum = 0, magnitude = 0;
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < COLS; i++)
            for (int j = 0; j < COLS; j++) {
                const double a = (double)w[row * COLS + i] - q[row * COLS + i];
                const double term = a * h[i * COLS + j] * ((double)w[row * COLS + j] - q[row * COLS + j]);
                sum += term;
                magnitude += fabs(term);
            }
    assert_true(fabs(hessian_error(w, q, h, ROWS, COLS) - sum) < 1e-7 * magnitude);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_of_a_gaussian_has_the_theoretical_error),
        cmocka_unit_test(small_rows_keep_their_precision),
        cmocka_unit_test(gptq_beats_rounding_under_the_hessian),
        cmocka_unit_test(gptq_with_independent_inputs_is_rounding),
        cmocka_unit_test(dead_columns_are_rounded),
        cmocka_unit_test(a_coarser_step_is_taken),
        cmocka_unit_test(odd_shapes),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(hessian_error_by_hand),
        cmocka_unit_test(hessian_error_of_many_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

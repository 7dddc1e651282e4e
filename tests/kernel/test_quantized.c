/* y = x Wᵀ for weights on a grid against plain double loops, for each instruction set. */
#include "matrix.h"

static kernels tables[MAX_TABLES];
static int table_count;

/* The weight, and its values. The codes that it was made from are gone. */
static float *create_weight(const kernels *k, weight *w, int64_t rows, int64_t cols, int64_t group, int levels,
                            bool exact, rng *r) {
    quantized q = random_quantized(rows, cols, group, levels, exact, r);
    float *values = zeros(rows * cols, sizeof *values);
    quantized_expand(&q, values);
    assert_ok(k->weight_quantized(w, &q, NULL));
    memset(q.q, 77, (size_t)(rows * cols));
    memset(q.scale, 77, (size_t)(rows * quantized_groups(&q)) * sizeof(float));
    quantized_free(&q);
    assert_true(w->rows == rows && w->cols == cols && !w->plain && w->quantized);
    return values;
}

static void check_linear(const kernels *k, const weight *w, const float *values, int64_t N, dtype y_type,
                         double error) {
    rng r = rng_seed((uint64_t)N);
    matrix x = matrix_random(k, k->act, N * w->cols, &r), y = matrix_random(k, y_type, (N + 1) * w->rows, &r);
    float *old = matrix_copy(&y);
    k->linear(y.data, y_type, x.data, w, N);
    matrix_check(&y, "linear", 0, N * w->rows, NULL,
                 reference_product(x.values, false, values, true, N, w->rows, w->cols), error);
    assert_memory_equal(y.values + N * w->rows, old + N * w->rows, w->rows * sizeof(float)); /* nor beyond the rows */
    free(old);
    matrix_free(&x);
    matrix_free(&y);
}

static const int64_t row_counts[] = {0, 1, 2, 3, 4, 5, 7, 64, 257};

static void check_weight(const kernels *k, int64_t rows, int64_t cols, int64_t group, int levels) {
    rng r = rng_seed((uint64_t)(rows * 1009 + cols));
    weight w;
    /* A few rows multiply by the codes and then by the scale, many by the product of both, which bf16 would round. */
    float *values = create_weight(k, &w, rows, cols, group, levels, k->act == DTYPE_BF16, &r);
    for (size_t i = 0; i < sizeof row_counts / sizeof *row_counts; i++) {
        check_linear(k, &w, values, row_counts[i], k->act, SUM_ERROR);
        check_linear(k, &w, values, row_counts[i], DTYPE_F32, SUM_ERROR);
    }
    free(values);
    k->weight_destroy(&w);
    assert_null(w.quantized);
}

/* One scale a row, and groups; rows and columns that are no whole vectors or panels; groups that are not, either. */
static void test_linear(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {/* rows, cols, group */ {1, 1, 1},
                                        {3, 5, 5},
                                        {5, 32, 32},
                                        {33, 64, 32},
                                        {64, 96, 32},
                                        {65, 128, 64},
                                        {130, 100, 100},
                                        {31, 36, 12},
                                        {67, 40, 8},
                                        {70, 257, 257},
                                        {200, 320, 64},
                                        {6, 48, 16}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            check_weight(&tables[t], shapes[s][0], shapes[s][1], shapes[s][2], 31);
}

/* int3 … int8, up to codes of ±127. */
static void test_levels(void **state) {
    (void)state;
    static const int levels[] = {1, 3, 7, 15, 63, 127};
    for (int t = 0; t < table_count; t++)
        for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) check_weight(&tables[t], 37, 64, 32, levels[l]);
}

/* Scales as a quantiser makes them: bf16 may round code · scale, to half of 2⁻⁸. */
static void test_any_scale(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        rng r = rng_seed(3);
        weight w;
        float *values = create_weight(k, &w, 67, 96, 32, 31, false, &r);
        for (size_t i = 0; i < sizeof row_counts / sizeof *row_counts; i++)
            check_linear(k, &w, values, row_counts[i], DTYPE_F32, k->act == DTYPE_BF16 ? 1.0 / 512 : SUM_ERROR);
        free(values);
        k->weight_destroy(&w);
    }
}

/* Decoding takes rows one by one, and in batches: with few, a row's result does not depend on the others. */
static void test_rows_are_independent(void **state) {
    (void)state;
    enum { N = 4, ROWS = 37, COLS = 100 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        rng r = rng_seed(4);
        weight w;
        free(create_weight(k, &w, ROWS, COLS, COLS, 31, false, &r));
        matrix x = matrix_random(k, k->act, N * COLS, &r);
        float all[N * ROWS], one[ROWS];
        k->linear(all, DTYPE_F32, x.data, &w, N);
        for (int n = 0; n < N; n++) {
            k->linear(one, DTYPE_F32, (char *)x.data + n * COLS * act_bytes(k), &w, 1);
            assert_memory_equal(one, all + n * ROWS, sizeof one);
        }
        matrix_free(&x);
        k->weight_destroy(&w);
    }
}

/* Scratch memory may hold anything, such as the NaNs of an earlier and longer product, where rows are padded. The sizes
 * are small enough for the product to stay in this thread. */
static void test_leftovers_do_not_matter(void **state) {
    (void)state;
    enum { N = 5, ROWS = 40 };
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        rng r = rng_seed(4);
        weight bad, good;
        free(create_weight(k, &bad, ROWS, 64, 64, 31, true, &r));
        for (int i = 0; i < ROWS; i++) bad.quantized->scale[i] = NAN;
        float *values = create_weight(k, &good, ROWS, 36, 36, 31, true, &r);
        matrix x = matrix_random(k, k->act, N * 64, &r), y = matrix_random(k, DTYPE_F32, N * ROWS, &r);
        k->linear(y.data, DTYPE_F32, x.data, &bad, N);
        matrix_read(&y);
        assert_true(isnan(y.values[0]));
        check_linear(k, &good, values, N, DTYPE_F32, SUM_ERROR);
        free(values);
        matrix_free(&x);
        matrix_free(&y);
        k->weight_destroy(&bad);
        k->weight_destroy(&good);
    }
}

int main(void) {
    table_count = product_tables(tables);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_any_scale),
        cmocka_unit_test(test_rows_are_independent),
        cmocka_unit_test(test_leftovers_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Matrix products of dense weights against plain double loops, for every activation type that this machine has. Experts'
 * groups are in test_grouped.c, weights on a grid in test_quantized.c. */
#include "matrix.h"

static kernels tables[MAX_TABLES];
static int table_count;

/* ---- matmul ------------------------------------------------------------------------------------------------------ */

static void check_matmul(const kernels *table, dtype c_type, int64_t m, int64_t n, int64_t k, bool ta, bool tb,
                         bool add) {
    rng r = rng_seed((uint64_t)(m * 1000003 + n * 1009 + k));
    dtype type = table->act;
    matrix a = matrix_random(table, type, m * k, &r), b = matrix_random(table, type, k * n, &r);
    matrix c = matrix_random(table, c_type, m * n, &r);
    float *old = matrix_copy(&c);
    matmul_args args = {.m = m,
                        .n = n,
                        .k = k,
                        .a = a.data,
                        .b = b.data,
                        .c = c.data,
                        .a_type = type,
                        .b_type = type,
                        .c_type = c_type,
                        .transpose_a = ta,
                        .transpose_b = tb,
                        .add = add};
    table->matmul(&args);
    matrix_check(&c, "matmul", 0, m * n, add ? old : NULL, reference_product(a.values, ta, b.values, tb, m, n, k),
                 SUM_ERROR);
    free(old);
    matrix_free(&a);
    matrix_free(&b);
    matrix_free(&c);
}

static void test_matmul(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {{1, 1, 1},      {7, 5, 3}, {33, 65, 17}, {1, 96, 40}, {64, 1, 31},
                                        {128, 48, 256}, {0, 4, 3}, {4, 0, 3},    {5, 6, 0}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int flags = 0; flags < 16; flags++) {
                dtype c_type = flags & 8 ? DTYPE_F32 : tables[t].act;
                check_matmul(&tables[t], c_type, shapes[s][0], shapes[s][1], shapes[s][2], flags & 1, flags & 2,
                             flags & 4);
            }
}

/* More shapes than the cache of products holds, and then the first ones again, which it had to drop. */
static void test_many_shapes(void **state) {
    (void)state;
    for (int64_t m = 1; m <= 530; m++) check_matmul(&tables[0], DTYPE_F32, m, 3, 2, false, false, false);
    for (int64_t m = 1; m <= 20; m++) check_matmul(&tables[0], DTYPE_F32, m, 3, 2, false, false, false);
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

typedef struct layer {
    const kernels *k;
    weight w;
    matrix values; /* float32, as given to weight_update */
    float *seen;   /* rounded to act: what the products read */
} layer;

static void layer_update(layer *l, uint64_t seed) {
    rng r = rng_seed(seed);
    if (l->values.data) matrix_free(&l->values);
    l->values = matrix_random(l->k, DTYPE_F32, l->w.rows * l->w.cols, &r);
    l->k->weight_update(&l->w, l->values.data, 0, l->w.rows);
    l->k->to_float(l->seen, l->w.plain, l->w.rows * l->w.cols);
    for (int64_t i = 0; i < l->values.count; i++)
        assert_near(l->k, true, "weight_update", i, l->seen[i], l->values.values[i], 0);
}

static layer layer_create(const kernels *k, int64_t rows, int64_t cols) {
    layer l = {.k = k, .seen = zeros(rows * cols, sizeof(float))};
    assert_ok(k->weight_create(&l.w, rows, cols, NULL));
    assert_null(l.w.quantized);
    layer_update(&l, 1);
    return l;
}

static void layer_destroy(layer *l) {
    l->k->weight_destroy(&l->w);
    assert_null(l->w.plain);
    matrix_free(&l->values);
    free(l->seen);
}

static void check_linear(layer *l, int64_t N, dtype y_type) {
    rng r = rng_seed((uint64_t)N);
    int64_t rows = l->w.rows, cols = l->w.cols;
    matrix x = matrix_random(l->k, l->k->act, N * cols, &r), y = matrix_random(l->k, y_type, N * rows, &r);
    l->k->linear(y.data, y_type, x.data, &l->w, N);
    matrix_check(&y, "linear", 0, N * rows, NULL, reference_product(x.values, false, l->seen, true, N, rows, cols),
                 SUM_ERROR);
    matrix_free(&x);
    matrix_free(&y);
}

static void check_backward_input(layer *l, int64_t N, bool add) {
    rng r = rng_seed((uint64_t)N + 100);
    int64_t rows = l->w.rows, cols = l->w.cols;
    matrix dy = matrix_random(l->k, l->k->act, N * rows, &r), dx = matrix_random(l->k, l->k->act, N * cols, &r);
    float *old = matrix_copy(&dx);
    l->k->linear_backward_input((grad_out){dx.data, add}, dy.data, &l->w, N);
    matrix_check(&dx, "linear_backward_input", 0, N * cols, add ? old : NULL,
                 reference_product(dy.values, false, l->seen, false, N, cols, rows), SUM_ERROR);
    l->k->linear_backward_input((grad_out){NULL, false}, dy.data, &l->w, N); /* not wanted */
    free(old);
    matrix_free(&dy);
    matrix_free(&dx);
}

static void check_backward_weight(layer *l, int64_t N) {
    rng r = rng_seed((uint64_t)N + 200);
    int64_t rows = l->w.rows, cols = l->w.cols;
    matrix dy = matrix_random(l->k, l->k->act, N * rows, &r), x = matrix_random(l->k, l->k->act, N * cols, &r);
    matrix dw = matrix_random(l->k, DTYPE_F32, rows * cols, &r);
    float *old = matrix_copy(&dw);
    l->k->linear_backward_weight((float *)dw.data, dy.data, x.data, &l->w, N);
    matrix_check(&dw, "linear_backward_weight", 0, rows * cols, old,
                 reference_product(dy.values, true, x.values, false, rows, cols, N), SUM_ERROR);
    free(old);
    matrix_free(&dy);
    matrix_free(&x);
    matrix_free(&dw);
}

static void check_layer(const kernels *k, int64_t rows, int64_t cols) {
    static const int64_t row_counts[] = {0, 1, 2, 3, 4, 5, 7, 33, 64, 257};
    layer l = layer_create(k, rows, cols);
    for (uint64_t round = 0; round < 2; round++) { /* the second with other values: packed copies must follow */
        for (size_t i = 0; i < sizeof row_counts / sizeof *row_counts; i++) {
            int64_t N = row_counts[i];
            check_linear(&l, N, k->act);
            check_linear(&l, N, DTYPE_F32);
            check_backward_input(&l, N, false);
            check_backward_input(&l, N, true);
            check_backward_weight(&l, N);
        }
        layer_update(&l, 2 + round);
    }
    layer_destroy(&l);
}

static void test_weights(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{96, 64}, {64, 130}, {17, 33}, {1, 12}, {256, 5}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) check_layer(&tables[t], shapes[s][0], shapes[s][1]);
}

/* The values are copied: an array that is gone after weight_update (late QAT's) does not matter. */
static void test_update_copies(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        layer l = layer_create(&tables[t], 8, 6);
        memset(l.values.data, 0, 8 * 6 * 4);
        check_linear(&l, 3, DTYPE_F32);
        layer_destroy(&l);
    }
}

static void test_gram(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++) {
        const kernels *k = &tables[t];
        rng r = rng_seed(5);
        matrix x = matrix_random(k, k->act, 37 * 24, &r), h = matrix_random(k, DTYPE_F32, 24 * 24, &r);
        float *old = matrix_copy(&h);
        k->gram((float *)h.data, x.data, 37, 24);
        k->gram((float *)h.data, x.data, 0, 24);
        matrix_check(&h, "gram", 0, 24 * 24, old, reference_product(x.values, true, x.values, false, 24, 24, 37),
                     SUM_ERROR);
        free(old);
        matrix_free(&x);
        matrix_free(&h);
    }
}

static void test_same_bits(void **state) {
    (void)state;
    const kernels *k = &tables[table_count - 1];
    rng r = rng_seed(9);
    matrix dy = matrix_random(k, k->act, 700 * 96, &r), x = matrix_random(k, k->act, 700 * 64, &r);
    layer l = layer_create(k, 96, 64);
    float *dw[2];
    for (int run = 0; run < 2; run++) {
        dw[run] = zeros(96 * 64, sizeof(float));
        k->linear_backward_weight(dw[run], dy.data, x.data, &l.w, 700);
    }
    assert_memory_equal(dw[0], dw[1], 96 * 64 * 4);
    layer_destroy(&l);
    matrix_free(&dy);
    matrix_free(&x);
    free(dw[0]), free(dw[1]);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* AddressSanitizer shall let an allocation fail as libc does, instead of ending the program. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

static void test_memory(void **state) {
    (void)state;
    const kernels *k = kernels_for(kernels_best_act());
    size_t bytes = (5 << 20) + 3; /* more than one piece of a parallel copy, and a ragged end */
    uint8_t *a, *b, *host = xmalloc(bytes);
    assert_ok(k->alloc((void **)&a, bytes));
    assert_ok(k->alloc((void **)&b, bytes));
    assert_int_equal((uintptr_t)a % 64, 0);
    for (size_t i = 0; i < bytes; i++) host[i] = (uint8_t)(i * 131 >> 3);
    k->upload(a, host, bytes);
    k->copy(b, a, bytes);
    k->zero(a, bytes);
    for (size_t i = 0; i < bytes; i++) assert_int_equal(a[i], 0);
    memset(host, 0, bytes);
    k->download(host, b, bytes);
    for (size_t i = 0; i < bytes; i++) assert_int_equal(host[i], (uint8_t)(i * 131 >> 3));
    k->release(a);
    k->release(b);
    free(host);
    void *none;
    assert_int_equal(k->alloc(&none, SIZE_MAX / 2), STATUS_FAILED);
    assert_null(none);
    assert_ok(k->alloc(&none, 0));
    k->release(none);
}

int main(void) {
    table_count = product_tables(tables);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matmul), cmocka_unit_test(test_many_shapes), cmocka_unit_test(test_weights),
        cmocka_unit_test(test_gram),   cmocka_unit_test(test_same_bits),   cmocka_unit_test(test_update_copies),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

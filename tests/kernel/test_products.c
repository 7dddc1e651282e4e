/* Matrix products against plain double loops, for every activation type that this machine has. */
#include "base/random.h"
#include "kernel/kernel.h"
#include "test.h"
#include <math.h>

/* ---- matrices: device memory of a type, and its values as float ---- */

typedef struct matrix {
    dtype type;
    int64_t count;
    void *data;    /* device */
    float *values; /* host; what the device's elements are exactly */
} matrix;

static const kernels *table_of(dtype type) {
    const kernels *k = kernels_for(type);
    assert_non_null(k);
    return k;
}

static void matrix_read(matrix *m) {
    if (m->count == 0) return;
    if (m->type == DTYPE_BF16)
        table_of(DTYPE_BF16)->to_float(m->values, m->data, m->count);
    else
        memcpy(m->values, m->data, (size_t)m->count * 4);
}

static matrix matrix_random(dtype type, int64_t count, rng *r) {
    matrix m = {.type = type, .count = count, .values = xcalloc((size_t)count, 4)};
    rng_normal(r, m.values, (size_t)count, 1);
    assert_int_equal(table_of(type)->alloc(&m.data, (size_t)count * dtype_bytes(type)), STATUS_OK);
    table_of(type)->to_act(m.data, m.values, count);
    matrix_read(&m);
    return m;
}

static void matrix_free(matrix *m) {
    table_of(m->type)->release(m->data);
    free(m->values);
}

/* ---- the reference ---- */

typedef struct reference {
    double *sum;  /* [m, n] */
    double *size; /* [m, n]: Σ |a b|, which rounding errors are relative to */
} reference;

static reference multiply(const float *a, bool ta, const float *b, bool tb, int64_t m, int64_t n, int64_t k) {
    reference r = {xcalloc((size_t)(m * n), 8), xcalloc((size_t)(m * n), 8)};
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = 0; l < k; l++) {
            double x = ta ? a[l * m + i] : a[i * k + l];
            for (int64_t j = 0; j < n; j++) {
                double y = tb ? b[j * k + l] : b[l * n + j];
                r.sum[i * n + j] += x * y;
                r.size[i * n + j] += fabs(x * y);
            }
        }
    return r;
}

/* c holds old + sum, summed in float32 and rounded to c's type. */
static void check(matrix *c, const float *old, reference *r) {
    matrix_read(c);
    double rounding = c->type == DTYPE_BF16 ? 1.0 / 256 : 1e-6;
    for (int64_t i = 0; i < c->count; i++) {
        double expected = r->sum[i] + (old ? old[i] : 0);
        double tolerance = 1e-6 * r->size[i] + rounding * (fabs(expected) + (old ? fabs(old[i]) : 0)) + 1e-6;
        if (!(fabs(c->values[i] - expected) <= tolerance))
            fail_msg("element %lld: %g, expected %g ± %g", (long long)i, c->values[i], expected, tolerance);
    }
    free(r->sum);
    free(r->size);
}

static float *copy_of(const matrix *m) {
    float *copy = xmalloc((size_t)m->count * 4);
    memcpy(copy, m->values, (size_t)m->count * 4);
    return copy;
}

/* ---- matmul ---- */

static void check_matmul(dtype type, dtype c_type, int64_t m, int64_t n, int64_t k, bool ta, bool tb, bool add) {
    rng r = rng_seed((uint64_t)(m * 1000003 + n * 1009 + k));
    matrix a = matrix_random(type, m * k, &r), b = matrix_random(type, k * n, &r), c = matrix_random(c_type, m * n, &r);
    float *old = copy_of(&c);
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
    table_of(type)->matmul(&args);
    reference expected = multiply(a.values, ta, b.values, tb, m, n, k);
    check(&c, add ? old : NULL, &expected);
    free(old);
    matrix_free(&a);
    matrix_free(&b);
    matrix_free(&c);
}

static void every_matmul(dtype type) {
    if (!kernels_for(type)) skip();
    static const int64_t shapes[][3] = {{1, 1, 1},      {7, 5, 3}, {33, 65, 17}, {1, 96, 40}, {64, 1, 31},
                                        {128, 48, 256}, {0, 4, 3}, {4, 0, 3},    {5, 6, 0}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int flags = 0; flags < 16; flags++) {
            dtype c_type = flags & 8 ? DTYPE_F32 : type;
            check_matmul(type, c_type, shapes[s][0], shapes[s][1], shapes[s][2], flags & 1, flags & 2, flags & 4);
        }
}

static void test_matmul_f32(void **state) {
    (void)state;
    every_matmul(DTYPE_F32);
}

static void test_matmul_bf16(void **state) {
    (void)state;
    every_matmul(DTYPE_BF16);
}

/* More shapes than the cache of products holds, and then the first ones again, which it had to drop. */
static void test_many_shapes(void **state) {
    (void)state;
    for (int64_t m = 1; m <= 530; m++) check_matmul(DTYPE_F32, DTYPE_F32, m, 3, 2, false, false, false);
    for (int64_t m = 1; m <= 20; m++) check_matmul(DTYPE_F32, DTYPE_F32, m, 3, 2, false, false, false);
}

/* ---- weights ---- */

typedef struct layer {
    const kernels *k;
    weight w;
    matrix values; /* float32, as given to weight_update */
    float *seen;   /* rounded to act: what the products read */
} layer;

static void layer_update(layer *l, uint64_t seed) {
    rng r = rng_seed(seed);
    if (l->values.data) matrix_free(&l->values);
    l->values = matrix_random(DTYPE_F32, l->w.rows * l->w.cols, &r);
    l->k->weight_update(&l->w, l->values.data);
    l->k->to_float(l->seen, l->w.plain, l->w.rows * l->w.cols);
}

static layer layer_create(const kernels *k, int64_t rows, int64_t cols) {
    layer l = {.k = k, .seen = xcalloc((size_t)(rows * cols), 4)};
    assert_ok(k->weight_create(&l.w, rows, cols));
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
    matrix x = matrix_random(l->k->act, N * cols, &r), y = matrix_random(y_type, N * rows, &r);
    l->k->linear(y.data, y_type, x.data, &l->w, N);
    reference expected = multiply(x.values, false, l->seen, true, N, rows, cols);
    check(&y, NULL, &expected);
    matrix_free(&x);
    matrix_free(&y);
}

static void check_backward_input(layer *l, int64_t N, bool add) {
    rng r = rng_seed((uint64_t)N + 100);
    int64_t rows = l->w.rows, cols = l->w.cols;
    matrix dy = matrix_random(l->k->act, N * rows, &r), dx = matrix_random(l->k->act, N * cols, &r);
    float *old = copy_of(&dx);
    l->k->linear_backward_input((grad_out){dx.data, add}, dy.data, &l->w, N);
    reference expected = multiply(dy.values, false, l->seen, false, N, cols, rows);
    check(&dx, add ? old : NULL, &expected);
    l->k->linear_backward_input((grad_out){NULL, false}, dy.data, &l->w, N); /* not wanted */
    free(old);
    matrix_free(&dy);
    matrix_free(&dx);
}

static void check_backward_weight(layer *l, int64_t N) {
    rng r = rng_seed((uint64_t)N + 200);
    int64_t rows = l->w.rows, cols = l->w.cols;
    matrix dy = matrix_random(l->k->act, N * rows, &r), x = matrix_random(l->k->act, N * cols, &r);
    matrix dw = matrix_random(DTYPE_F32, rows * cols, &r);
    float *old = copy_of(&dw);
    l->k->linear_backward_weight((float *)dw.data, dy.data, x.data, &l->w, N);
    reference expected = multiply(dy.values, true, x.values, false, rows, cols, N);
    check(&dw, old, &expected);
    free(old);
    matrix_free(&dy);
    matrix_free(&x);
    matrix_free(&dw);
}

static void check_layer(const kernels *k, int64_t rows, int64_t cols) {
    static const int64_t row_counts[] = {0, 1, 7, 33, 64};
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

static void every_layer(dtype type) {
    const kernels *k = kernels_for(type);
    if (!k) skip();
    check_layer(k, 96, 64);
    check_layer(k, 64, 130);
    check_layer(k, 17, 33);
    check_layer(k, 1, 12);
    check_layer(k, 256, 5);
}

static void test_weights_f32(void **state) {
    (void)state;
    every_layer(DTYPE_F32);
}

static void test_weights_bf16(void **state) {
    (void)state;
    every_layer(DTYPE_BF16);
}

/* The values are copied: an array that is gone after weight_update (late QAT's) does not matter. */
static void test_update_copies(void **state) {
    (void)state;
    const kernels *k = kernels_for(DTYPE_F32);
    layer l = layer_create(k, 8, 6);
    memset(l.values.data, 0, 8 * 6 * 4);
    check_linear(&l, 3, DTYPE_F32);
    layer_destroy(&l);
}

static void test_gram(void **state) {
    (void)state;
    dtype types[] = {DTYPE_F32, DTYPE_BF16};
    for (int t = 0; t < 2; t++) {
        const kernels *k = kernels_for(types[t]);
        if (!k) continue;
        rng r = rng_seed(5);
        matrix x = matrix_random(types[t], 37 * 24, &r), h = matrix_random(DTYPE_F32, 24 * 24, &r);
        float *old = copy_of(&h);
        k->gram((float *)h.data, x.data, 37, 24);
        k->gram((float *)h.data, x.data, 0, 24);
        reference expected = multiply(x.values, true, x.values, false, 24, 24, 37);
        check(&h, old, &expected);
        free(old);
        matrix_free(&x);
        matrix_free(&h);
    }
}

static void test_same_bits(void **state) {
    (void)state;
    const kernels *k = kernels_for(kernels_best_act());
    rng r = rng_seed(9);
    matrix dy = matrix_random(k->act, 700 * 96, &r), x = matrix_random(k->act, 700 * 64, &r);
    layer l = layer_create(k, 96, 64);
    matrix first = matrix_random(DTYPE_F32, 96 * 64, &r), second = matrix_random(DTYPE_F32, 96 * 64, &r);
    memset(first.data, 0, 96 * 64 * 4);
    memset(second.data, 0, 96 * 64 * 4);
    k->linear_backward_weight((float *)first.data, dy.data, x.data, &l.w, 700);
    k->linear_backward_weight((float *)second.data, dy.data, x.data, &l.w, 700);
    assert_memory_equal(first.data, second.data, 96 * 64 * 4);
    layer_destroy(&l);
    matrix_free(&dy);
    matrix_free(&x);
    matrix_free(&first);
    matrix_free(&second);
}

/* ---- memory ---- */

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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matmul_f32),  cmocka_unit_test(test_matmul_bf16),  cmocka_unit_test(test_many_shapes),
        cmocka_unit_test(test_weights_f32), cmocka_unit_test(test_weights_bf16), cmocka_unit_test(test_update_copies),
        cmocka_unit_test(test_gram),        cmocka_unit_test(test_same_bits),    cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

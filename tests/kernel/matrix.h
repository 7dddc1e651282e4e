/* How products are tested: matrices of either type on a device, plain double loops, and the tables of products. */
#ifndef MOEC_TESTS_KERNEL_MATRIX_H
#define MOEC_TESTS_KERNEL_MATRIX_H

#include "operation.h"

#include "base/random.h"

/* ---- tables ------------------------------------------------------------------------------------------------------ */

#define DEFINE_PRODUCTS(variant)                                                                                       \
    static void products_##variant(kernels *table) {                                                                   \
        fill_memory_##variant(table);                                                                                  \
        fill_products(table);                                                                                          \
        fill_quantized_##variant(table);                                                                               \
        fill_weight_gradient_##variant(table);                                                                         \
    }
DEFINE_PRODUCTS(avx2_f32)
DEFINE_PRODUCTS(avx512_f32)
DEFINE_PRODUCTS(avx512bf16_bf16)

/* oneDNN's products behind those of each instruction set that this CPU has. oneDNN goes as far as MOEC_ISA says, and has no
 * bf16 where that forbids it. */
static inline int product_tables(kernels tables[MAX_TABLES]) {
    assert_ok(kernels_check());
    int count = test_tables(tables, products_avx2_f32, products_avx512_f32, products_avx512bf16_bf16);
    while (count > 0 && !kernels_for(tables[count - 1].act)) count--;
    return count;
}

/* ---- matrices: device memory, and its values as float ------------------------------------------------------------ */

typedef struct matrix {
    const kernels *k;
    dtype type;
    int64_t count;
    void *data;    /* device */
    float *values; /* host; what the device's elements are exactly */
} matrix;

static inline void matrix_read(matrix *m) {
    if (m->type == DTYPE_BF16)
        m->k->to_float(m->values, m->data, m->count);
    else
        m->k->download(m->values, m->data, (size_t)m->count * sizeof(float));
}

/* type: float32, or the act of k */
static inline matrix matrix_random(const kernels *k, dtype type, int64_t count, rng *r) {
    matrix m = {.k = k, .type = type, .count = count, .values = zeros(count, sizeof(float))};
    rng_normal(r, m.values, (size_t)count, 1);
    assert_ok(k->alloc(&m.data, (size_t)count * dtype_bytes(type)));
    if (type == DTYPE_BF16)
        k->to_act(m.data, m.values, count);
    else
        k->upload(m.data, m.values, (size_t)count * sizeof(float));
    matrix_read(&m);
    return m;
}

static inline void matrix_free(matrix *m) {
    m->k->release(m->data);
    free(m->values);
}

static inline float *matrix_copy(const matrix *m) {
    float *copy = zeros(m->count, sizeof *copy);
    memcpy(copy, m->values, (size_t)m->count * sizeof *copy);
    return copy;
}

/* ---- the reference ----------------------------------------------------------------------------------------------- */

typedef struct reference {
    double *sum;  /* [m, n] */
    double *size; /* [m, n]: Σ |a b|, which rounding errors are relative to */
} reference;

/* op(a)[m, k] · op(b)[k, n]; op(b) is laid out in rows first, along which the sums are vectors */
static inline reference reference_product(const float *a, bool transpose_a, const float *b, bool transpose_b, int64_t m,
                                          int64_t n, int64_t k) {
    reference r = {zeros(m * n, sizeof(double)), zeros(m * n, sizeof(double))};
    double *columns = zeros(k * n, sizeof(double));
    for (int64_t l = 0; l < k; l++)
        for (int64_t j = 0; j < n; j++) columns[l * n + j] = transpose_b ? b[j * k + l] : b[l * n + j];
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = 0; l < k; l++) {
            double x = transpose_a ? a[l * m + i] : a[i * k + l], *sum = r.sum + i * n, *size = r.size + i * n;
            const double *row = columns + l * n;
            for (int64_t j = 0; j < n; j++) sum[j] += x * row[j], size[j] += fabs(x * row[j]);
        }
    free(columns);
    return r;
}

/* c, from element `at` on, holds old (or NULL: 0) + the m · n sums, formed with a relative error of `error` of each product
 * and rounded to c's type. Frees the reference. */
static inline void matrix_check(matrix *c, const char *name, int64_t at, int64_t count, const float *old, reference r,
                                double error) {
    matrix_read(c);
    double rounding = c->type == DTYPE_BF16 ? 1.0 / 256 : 1e-6;
    for (int64_t i = 0; i < count; i++) {
        double before = old ? old[at + i] : 0, expected = r.sum[i] + before, got = c->values[at + i];
        double tolerance = error * r.size[i] + rounding * (fabs(expected) + fabs(before)) + 1e-6;
        if (!(fabs(got - expected) <= tolerance))
            fail_msg("%s: %s[%lld] is %g, expected %g ± %g", c->k->name, name, (long long)(at + i), got, expected,
                     tolerance);
    }
    free(r.sum);
    free(r.size);
}

static const double SUM_ERROR = 1e-6; /* of float32 sums of some thousand products at most */

/* ---- weights on a grid ------------------------------------------------------------------------------------------- */

/* Random codes, a group's now and then all 0 with scale 0; scales are powers of two where `exact`, so that bf16 holds
 * code · scale without an error. */
static inline quantized random_quantized(int64_t rows, int64_t cols, int64_t group, int levels, bool exact, rng *r) {
    quantized q = {.rows = rows, .cols = cols, .group = group, .levels = levels};
    int64_t groups = quantized_groups(&q);
    q.q = zeros(rows * cols, 1);
    q.scale = zeros(rows * groups, sizeof(float));
    for (int64_t i = 0; i < rows * groups; i++) {
        if (rng_below(r, 8) == 0) continue;
        q.scale[i] = exact ? ldexpf(1, (int)rng_below(r, 8) - 8) : 0.01f + 0.1f * (float)rng_uniform(r);
        for (int64_t c = 0; c < group; c++)
            q.q[i * group + c] = (int8_t)((int)rng_below(r, 2 * (uint64_t)levels + 1) - levels);
    }
    if (rng_below(r, 2) == 0) return q;
    q.input_scale = zeros(cols, sizeof(float));
    for (int64_t c = 0; c < cols; c++)
        q.input_scale[c] = exact ? ldexpf(1, (int)rng_below(r, 4) - 2) : 0.5f + (float)rng_uniform(r);
    return q;
}

#endif

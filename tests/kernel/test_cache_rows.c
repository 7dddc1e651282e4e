/* Caches of keys and values in fewer bits: what a row becomes, and attention to it. */
#include "test.h"

#include "base/half.h"
#include "variants.h"

enum { HEADS = 4, KV_HEADS = 2, SPANS = 5, CAPACITY = 330 };
static const int64_t queries[SPANS] = {1, 3, 29, 4, 100}, keys[SPANS] = {1, 300, 310, 17, 101};
static const cache_type types[] = {CACHE_ACT, CACHE_BF16, CACHE_INT8};

static const char *row_of(const void *rows, cache_type type, dtype act, int dim, int64_t row) {
    return (const char *)rows + (size_t)row * cache_row_bytes(type, act, KV_HEADS, dim);
}

/* By the definition in kernel.h, number by number. */
static double value_of(const void *rows, cache_type type, dtype act, int dim, int64_t row, int head, int c) {
    const char *at = row_of(rows, type, act, dim, row);
    const int i = head * dim + c;
    if (type == CACHE_ACT) return act_at(act, at, i);
    if (type == CACHE_BF16) return bfloat_to_float(((const uint16_t *)at)[i]);
    float scale;
    memcpy(&scale, at + (KV_HEADS * dim + 3) / 4 * 4 + head * sizeof scale, sizeof scale);
    return (double)scale * ((const int8_t *)at)[i];
}

static void check_rows(const kernels *table, dtype act, int dim) {
    enum { ROWS = 600 };
    uint64_t seed = 3;
    const int64_t width = KV_HEADS * dim;
    void *x = act_random(act, ROWS * width, 2, &seed, NULL);
    for (int c = 0; c < dim; c++) act_set(act, x, 5 * width + c, 0);
    for (int c = 0; c < dim; c++) act_set(act, x, 6 * width + c, 1e-40f);
    for (int t = 0; t < 3; t++) {
        char *rows = xmalloc(ROWS * cache_row_bytes(types[t], act, KV_HEADS, dim));
        table->cache_put(rows, types[t], x, ROWS, KV_HEADS, dim);
        for (int64_t r = 0; r < ROWS; r++)
            for (int h = 0; h < KV_HEADS; h++) {
                double top = 0;
                for (int c = 0; c < dim; c++) top = fmax(top, fabs(act_at(act, x, r * width + h * dim + c)));
                for (int c = 0; c < dim; c++) {
                    const double exact = act_at(act, x, r * width + h * dim + c);
                    const double error = fabs(value_of(rows, types[t], act, dim, r, h, c) - exact);
                    const double most = types[t] == CACHE_ACT    ? 0
                                        : types[t] == CACHE_BF16 ? fabs(exact) / 256
                                                                 : top / 254;
                    assert_true(error <= most * 1.0001 + 1e-38);
                }
            }
        free(rows);
    }
    free(x);
}

static void what_a_row_becomes(void **state) {
    (void)state;
    for (int i = 0; i < VARIANTS; i++) {
        if (!variant_runs_here(i)) continue;
        kernels table = {0};
        variants[i].fill_attention(&table);
        check_rows(&table, variants[i].act, 64);
        check_rows(&table, variants[i].act, 13);
    }
    assert_int_equal(cache_row_bytes(CACHE_INT8, DTYPE_F32, 2, 13), 28 + 8);
    assert_int_equal(cache_row_bytes(CACHE_INT8, DTYPE_BF16, 3, 64), 192 + 12);
    assert_int_equal(cache_row_bytes(CACHE_BF16, DTYPE_F32, 3, 64), 384);
    assert_int_equal(cache_row_bytes(CACHE_ACT, DTYPE_F32, 3, 64), 768);
}

static void what_is_not_finite_is_not_lost(void **state) {
    (void)state;
    enum { DIM = 16 };
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int b = 0; b < 3; b++) {
        kernels table = {0};
        float x[KV_HEADS * DIM] = {0};
        char row[256];
        fill_attention_avx2_f32(&table);
        x[3] = bad[b];
        x[DIM] = 2;
        table.cache_put(row, CACHE_INT8, x, 1, KV_HEADS, DIM);
        for (int c = 0; c < DIM; c++) assert_true(isnan(value_of(row, CACHE_INT8, DTYPE_F32, DIM, 0, 0, c)));
        assert_float_equal(value_of(row, CACHE_INT8, DTYPE_F32, DIM, 0, 1, 0), 2, 1e-6);
    }
}

/* softmax(q kᵀ / √dim) v in double, over what the caches hold. */
static double attended(const double *q, const void *k, const void *v, cache_type type, dtype act, int dim,
                       int64_t first, int64_t count, int head, int c) {
    double total = 0, sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double score = 0;
        for (int j = 0; j < dim; j++) score += q[j] * value_of(k, type, act, dim, first + i, head, j);
        const double p = exp(score / sqrt(dim));
        total += p;
        sum += p * value_of(v, type, act, dim, first + i, head, c);
    }
    return sum / total;
}

typedef struct attending {
    dtype act;
    cache_type type;
    int dim;
    int64_t rows;
    attention_span spans[SPANS];
    int32_t block[SPANS]; /* each sequence in one */
    double *Q;
    char *q, *k, *v, *y;
    attention_shape shape;
} attending;

static void *fill_cache(const kernels *table, const attending *a, float size, uint64_t *seed) {
    void *x = act_random(a->act, SPANS * CAPACITY * KV_HEADS * a->dim, size, seed, NULL);
    char *rows = xmalloc(SPANS * CAPACITY * cache_row_bytes(a->type, a->act, KV_HEADS, a->dim));
    table->cache_put(rows, a->type, x, SPANS * CAPACITY, KV_HEADS, a->dim);
    free(x);
    return rows;
}

static void make(attending *made, const kernels *table, dtype act, cache_type type, int dim) {
    attending a = {.act = act, .type = type, .dim = dim};
    uint64_t seed = 5;
    for (int i = 0; i < SPANS; i++) {
        a.block[i] = SPANS - 1 - i;
        a.spans[i] = (attention_span){a.rows, queries[i], {&made->block[i], CAPACITY}, keys[i]};
        a.rows += queries[i];
    }
    a.Q = xmalloc((size_t)(a.rows * HEADS * dim) * sizeof *a.Q);
    a.q = act_random(act, a.rows * HEADS * dim, 2, &seed, a.Q);
    a.k = fill_cache(table, &a, 2, &seed);
    a.v = fill_cache(table, &a, 1, &seed);
    a.y = act_constant(act, a.rows * HEADS * dim, 7);
    a.shape = (attention_shape){.heads = HEADS, .kv_heads = KV_HEADS, .head_dim = dim, .q_stride = HEADS * dim};
    *made = a;
}

static void release(attending *a) {
    free(a->Q), free(a->q), free(a->k), free(a->v), free(a->y);
}

static void check_attention(const variant *variant, cache_type type, int dim) {
    kernels table = {0};
    variant->fill_attention(&table);
    attending a;
    make(&a, &table, variant->act, type, dim);
    const double tolerance = variant->act == DTYPE_F32 ? 2e-5 : 1.5e-2;
    table.attention_spans(a.y, a.q, a.k, a.v, type, a.spans, SPANS, &a.shape);
    for (int i = 0; i < SPANS; i++)
        for (int64_t n = 0; n < queries[i]; n += 1 + n / 3)
            for (int h = 0; h < HEADS; h++) {
                const int64_t at = ((a.spans[i].row + n) * HEADS + h) * dim;
                for (int c = 0; c < dim; c += 5)
                    assert_float_equal(act_at(variant->act, a.y, at + c),
                                       attended(a.Q + at, a.k, a.v, type, variant->act, dim, a.block[i] * CAPACITY,
                                                keys[i] - queries[i] + 1 + n, h / (HEADS / KV_HEADS), c),
                                       tolerance);
            }
    /* in whatever company, to the last bit */
    char *alone = act_constant(variant->act, a.rows * HEADS * dim, 9);
    for (int i = 0; i < SPANS; i++) table.attention_spans(alone, a.q, a.k, a.v, type, &a.spans[i], 1, &a.shape);
    assert_memory_equal(alone, a.y, (size_t)(a.rows * HEADS * dim) * dtype_bytes(variant->act));
    free(alone);
    release(&a);
}

/* The sequences' rows in blocks of `rows` all over another cache; *blocks: the tables, one behind another. */
static char *scatter(const attending *a, const char *from, int64_t rows, int32_t *blocks) {
    const int64_t each = (CAPACITY + rows - 1) / rows, all = SPANS * each;
    const size_t row = cache_row_bytes(a->type, a->act, KV_HEADS, a->dim);
    char *to = xcalloc((size_t)(all * rows), row);
    for (int64_t i = 0; i < all; i++) blocks[i] = (int32_t)((i * 13 + 3) % all);
    assert_int_not_equal(all % 13, 0); /* so that each is met */
    for (int s = 0; s < SPANS; s++)
        for (int64_t n = 0; n < CAPACITY; n++)
            memcpy(to + (size_t)cache_table_row((cache_table){blocks + s * each, rows}, n) * row,
                   from + (size_t)(a->block[s] * CAPACITY + n) * row, row);
    return to;
}

/* Wherever the blocks lie and however large they are: the bits of the rows one behind another. */
static void check_blocks(const variant *variant, cache_type type, int dim, int64_t rows) {
    kernels table = {0};
    variant->fill_attention(&table);
    attending a;
    make(&a, &table, variant->act, type, dim);
    const int64_t each = (CAPACITY + rows - 1) / rows;
    const size_t bytes = (size_t)(a.rows * HEADS * dim) * dtype_bytes(variant->act);
    int32_t *blocks = xmalloc((size_t)(SPANS * each) * sizeof *blocks);
    char *k = scatter(&a, a.k, rows, blocks), *v = scatter(&a, a.v, rows, blocks);
    char *apart = act_constant(variant->act, a.rows * HEADS * dim, 9);
    table.attention_spans(a.y, a.q, a.k, a.v, type, a.spans, SPANS, &a.shape);
    for (int i = 0; i < SPANS; i++) a.spans[i].table = (cache_table){blocks + i * each, rows};
    table.attention_spans(apart, a.q, k, v, type, a.spans, SPANS, &a.shape);
    assert_memory_equal(apart, a.y, bytes);
    free(blocks), free(k), free(v), free(apart);
    release(&a);
}

static void attention_through_blocks(void **state) {
    static const int64_t rows[] = {1, 16, 23, 64, 100, 128, 300};
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        for (size_t n = 0; n < 3 * sizeof rows / sizeof *rows; n++)
            if (variant_runs_here(i)) check_blocks(&variants[i], types[n % 3], n % 2 ? 24 : 64, rows[n / 3]);
}

static void attention_to_them(void **state) {
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        for (int t = 0; t < 3; t++) {
            if (!variant_runs_here(i)) continue;
            check_attention(&variants[i], types[t], 64);
            check_attention(&variants[i], types[t], 24);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_row_becomes),
        cmocka_unit_test(what_is_not_finite_is_not_lost),
        cmocka_unit_test(attention_to_them),
        cmocka_unit_test(attention_through_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

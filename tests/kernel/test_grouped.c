/* The products of experts, each with its own rows, against plain double loops, for each instruction set. */
#include "matrix.h"

static kernels tables[MAX_TABLES + 2];
static int table_count, own_count; /* all; those before them that have products of weights on a grid */

enum { MOST_EXPERTS = 64 };

/* E weights of one shape, how many rows each has, and their values as the products read them. */
typedef struct experts {
    const kernels *k;
    int64_t E, rows, cols;
    int32_t start[MOST_EXPERTS + 1];
    weight w[MOST_EXPERTS];
    const weight *pointers[MOST_EXPERTS];
    float *values[MOST_EXPERTS];
} experts;

static void create_expert(experts *x, int64_t e, int64_t group, rng *r) {
    const kernels *k = x->k;
    int64_t count = x->rows * x->cols;
    x->values[e] = zeros(count, sizeof(float));
    x->pointers[e] = &x->w[e];
    if (group) {
        quantized q = random_quantized(x->rows, x->cols, group, 31, k->act == DTYPE_BF16, r);
        quantized_expand(&q, x->values[e]);
        assert_ok(k->weight_quantized(&x->w[e], &q, NULL));
        quantized_free(&q);
        return;
    }
    matrix values = matrix_random(k, DTYPE_F32, count, r);
    assert_ok(k->weight_create(&x->w[e], x->rows, x->cols, NULL));
    k->weight_update(&x->w[e], values.data, 0, x->w[e].rows);
    k->to_float(x->values[e], x->w[e].plain, count);
    matrix_free(&values);
}

/* group: columns that share a scale; 0: dense weights */
static experts *experts_create(const kernels *k, const int32_t *sizes, int64_t E, int64_t rows, int64_t cols,
                               int64_t group) {
    rng r = rng_seed((uint64_t)(E * 1000003 + rows * 1009 + cols));
    experts *x = zeros(1, sizeof *x);
    *x = (experts){.k = k, .E = E, .rows = rows, .cols = cols};
    for (int64_t e = 0; e < E; e++) {
        x->start[e + 1] = x->start[e] + sizes[e];
        create_expert(x, e, group, &r);
    }
    return x;
}

static void experts_free(experts *x) {
    for (int64_t e = 0; e < x->E; e++) {
        x->k->weight_destroy(&x->w[e]);
        free(x->values[e]);
    }
    free(x);
}

/* The grouped rows are fewer than the most that there could be: SPARE more, which nobody may write. */
enum { SPARE = 3 };

static matrix rows_random(const experts *x, int64_t cols, rng *r) {
    return matrix_random(x->k, x->k->act, (x->start[x->E] + SPARE) * cols, r);
}

static void assert_spare_untouched(const experts *x, const matrix *m, const float *old, int64_t cols) {
    int64_t from = x->start[x->E] * cols;
    assert_memory_equal(m->values + from, old + from, SPARE * cols * sizeof(float));
}

/* y = x Wᵀ of each expert, or dx = dy W. */
static void check_forward_or_back(const experts *x, bool back) {
    rng r = rng_seed(7 + back);
    int64_t from = back ? x->rows : x->cols, to = back ? x->cols : x->rows, most = x->start[x->E] + SPARE;
    matrix in = rows_random(x, from, &r), out = rows_random(x, to, &r);
    float *old = matrix_copy(&out);
    if (back)
        x->k->grouped_linear_backward_input(out.data, in.data, x->pointers, x->start, x->E, most);
    else
        x->k->grouped_linear(out.data, in.data, x->pointers, x->start, x->E, most);
    for (int64_t e = 0; e < x->E; e++) {
        int64_t count = x->start[e + 1] - x->start[e];
        const float *own = in.values + x->start[e] * from;
        matrix_check(&out, back ? "grouped_linear_backward_input" : "grouped_linear", x->start[e] * to, count * to,
                     NULL, reference_product(own, false, x->values[e], !back, count, to, from), SUM_ERROR);
    }
    matrix_read(&out);
    assert_spare_untouched(x, &out, old, to);
    free(old);
    matrix_free(&in);
    matrix_free(&out);
}

/* dW += dyᵀ x of each expert but the second, whose gradient nobody wants. */
static void check_backward_weight(const experts *x) {
    rng r = rng_seed(9);
    matrix dy = rows_random(x, x->rows, &r), in = rows_random(x, x->cols, &r), dw[MOST_EXPERTS];
    float *pointers[MOST_EXPERTS] = {NULL};
    for (int64_t e = 0; e < x->E; e++) {
        dw[e] = matrix_random(x->k, DTYPE_F32, x->rows * x->cols, &r);
        if (e != 1) pointers[e] = dw[e].data;
    }
    x->k->grouped_linear_backward_weight(pointers, dy.data, in.data, x->pointers, x->start, x->E,
                                         x->start[x->E] + SPARE);
    for (int64_t e = 0; e < x->E; e++) {
        int64_t at = x->start[e], count = e == 1 ? 0 : x->start[e + 1] - at;
        float *old = matrix_copy(&dw[e]);
        matrix_check(
            &dw[e], "grouped_linear_backward_weight", 0, x->rows * x->cols, old,
            reference_product(dy.values + at * x->rows, true, in.values + at * x->cols, false, x->rows, x->cols, count),
            SUM_ERROR);
        free(old);
        matrix_free(&dw[e]);
    }
    matrix_free(&dy);
    matrix_free(&in);
}

/* Empty groups, single and odd rows, sizes around the pieces into which products cut groups, thousands. */
static const struct {
    int64_t E;
    int32_t sizes[8];
} groupings[] = {
    {1, {5}}, {2, {0, 0}}, {7, {0, 1, 3, 0, 256, 257, 511}}, {5, {1023, 1024, 1025, 0, 16}}, {4, {0, 5001, 31, 2100}}};
enum { GROUPINGS = sizeof groupings / sizeof *groupings };

/* The last one, with its thousands of rows, for small weights only. */
static bool too_much(int g, int64_t rows, int64_t cols) {
    return g == GROUPINGS - 1 && rows * cols > 2000;
}

static void test_dense(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{33, 40}, {64, 96}, {130, 17}, {1, 5}, {7, 70}, {66, 1}};
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int g = 0; g < GROUPINGS; g++) {
                if (too_much(g, shapes[s][0], shapes[s][1])) continue;
                experts *x =
                    experts_create(&tables[t], groupings[g].sizes, groupings[g].E, shapes[s][0], shapes[s][1], 0);
                check_forward_or_back(x, false);
                check_forward_or_back(x, true);
                check_backward_weight(x);
                experts_free(x);
            }
}

static void test_quantized(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {/* rows, cols, group */ {33, 40, 40}, {64, 96, 32}, {1, 5, 5}, {70, 24, 8}};
    for (int t = 0; t < own_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            for (int g = 0; g < GROUPINGS; g++) {
                if (too_much(g, shapes[s][0], shapes[s][1])) continue;
                experts *x = experts_create(&tables[t], groupings[g].sizes, groupings[g].E, shapes[s][0], shapes[s][1],
                                            shapes[s][2]);
                check_forward_or_back(x, false);
                experts_free(x);
            }
}

/* As many experts as a router has, most of them with a few rows. */
static void test_many_experts(void **state) {
    (void)state;
    int32_t sizes[MOST_EXPERTS];
    for (int e = 0; e < MOST_EXPERTS; e++) sizes[e] = e * 37 % 11 * (e % 3);
    for (int t = 0; t < table_count; t++)
        for (int group = 0; group <= (t < own_count ? 48 : 0); group += 48) {
            experts *x = experts_create(&tables[t], sizes, MOST_EXPERTS, 40, 48, group);
            check_forward_or_back(x, false);
            if (!group) check_forward_or_back(x, true);
            if (!group) check_backward_weight(x);
            experts_free(x);
        }
}

static void test_same_bits(void **state) {
    (void)state;
    static const int32_t sizes[3] = {1500, 0, 700};
    enum { ROWS = 96, COLS = 70 };
    for (int t = 0; t < table_count; t++) {
        experts *x = experts_create(&tables[t], sizes, 3, ROWS, COLS, 0);
        rng r = rng_seed(9);
        matrix dy = rows_random(x, ROWS, &r), in = rows_random(x, COLS, &r);
        float *dw[2];
        for (int run = 0; run < 2; run++) {
            float *all = dw[run] = zeros(3 * ROWS * COLS, sizeof(float));
            float *pointers[3] = {all, all + ROWS * COLS, all + 2 * ROWS * COLS};
            x->k->grouped_linear_backward_weight(pointers, dy.data, in.data, x->pointers, x->start, 3, 2200);
        }
        assert_memory_equal(dw[0], dw[1], 3 * ROWS * COLS * sizeof(float));
        free(dw[0]), free(dw[1]);
        matrix_free(&dy);
        matrix_free(&in);
        experts_free(x);
    }
}

/* A NaN stays with the expert whose row it is in, whatever of a block of tokens or columns is padding. */
static void test_nan_stays_with_its_expert(void **state) {
    (void)state;
    static const int32_t sizes[3] = {3, 7, 301};
    enum { ROWS = 37, COLS = 70 };
    for (int t = 0; t < table_count; t++) {
        experts *x = experts_create(&tables[t], sizes, 3, ROWS, COLS, 0);
        rng r = rng_seed(9);
        matrix dy = rows_random(x, ROWS, &r), in = rows_random(x, COLS, &r), y = rows_random(x, ROWS, &r);
        matrix dw = matrix_random(x->k, DTYPE_F32, 3 * ROWS * COLS, &r);
        float *all = dw.data, *pointers[3] = {all, all + ROWS * COLS, all + 2 * ROWS * COLS};
        act_write(x->k, in.data, 0, NAN);
        x->k->grouped_linear(y.data, in.data, x->pointers, x->start, 3, x->start[3]);
        x->k->grouped_linear_backward_weight(pointers, dy.data, in.data, x->pointers, x->start, 3, x->start[3]);
        matrix_read(&y);
        matrix_read(&dw);
        for (int i = 0; i < x->start[3] * ROWS; i++) assert_int_equal(isnan(y.values[i]) != 0, i < ROWS);
        for (int i = 0; i < 3 * ROWS * COLS; i++)
            assert_int_equal(isnan(dw.values[i]) != 0, i < ROWS * COLS && i % COLS == 0);
        matrix_free(&dy);
        matrix_free(&in);
        matrix_free(&y);
        matrix_free(&dw);
        experts_free(x);
    }
}

/* oneDNN's own, which a CPU with AMX takes for the gradients of weights. */
static void add_onednn_table(dtype act, fill memory) {
    if (!kernels_for(act)) return;
    kernels *k = &tables[table_count++];
    *k = (kernels){.name = act == DTYPE_BF16 ? "onednn bf16" : "onednn f32", .act = act};
    memory(k);
    fill_products(k);
}

int main(void) {
    table_count = own_count = product_tables(tables);
    add_onednn_table(DTYPE_F32, fill_memory_avx2_f32);
    add_onednn_table(DTYPE_BF16, fill_memory_avx512bf16_bf16);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_quantized),
        cmocka_unit_test(test_many_experts),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_nan_stays_with_its_expert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

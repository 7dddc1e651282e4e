/* Products in integers, for each set of integer instructions that this CPU has, against plain sums of the same codes with inputs that
 * are rounded as kernel_list.h says; one result for any number of rows and on all sets, to the bit. */
#include "kernel/cpu/packed.h"
#include "matrix.h"

static kernels tables[MAX_TABLES];
static int table_count;
static const packed_products *sets[3];
static int set_count;

static void find_sets(void) {
    sets[set_count++] = &packed_products_int8_avx2;
    if (__builtin_cpu_supports("avxvnni")) sets[set_count++] = &packed_products_int8_avxvnni;
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
        sets[set_count++] = &packed_products_int8_avx512vnni;
}

/* ---- codes ---- */

typedef enum kind { BYTES, SIGNED_NIBBLES, NIBBLES, WITH_OFFSET, WITH_INPUT_SCALE, KINDS } kind;

/* All codes that the kind has occur, −128 too; scales that float16 holds and, where not `half`, others. */
static quantized random_codes(kind k, int64_t rows, int64_t cols, int64_t group, bool half, rng *r) {
    static const int least[KINDS] = {-128, -8, 0, 0, -128}, count[KINDS] = {256, 16, 16, 16, 256};
    quantized q = quantized_alloc(rows, cols, group, k == WITH_OFFSET);
    const int64_t groups = quantized_groups(&q);
    for (int64_t i = 0; i < rows * cols; i++) q.q[i] = (int8_t)(least[k] + (int)rng_below(r, (uint64_t)count[k]));
    for (int64_t i = 0; i < rows * groups; i++) {
        q.scale[i] = ldexpf(1 + (float)rng_below(r, 1024) / 1024, (int)rng_below(r, 6) - 9);
        if (!half) q.scale[i] *= 1.0001f;
        if (q.offset) q.offset[i] = -ldexpf((float)rng_below(r, 1024), -14);
    }
    if (k != WITH_INPUT_SCALE) return q;
    q.input_scale = zeros(cols, sizeof(float));
    for (int64_t c = 0; c < cols; c++) q.input_scale[c] = 0.5f + (float)rng_uniform(r);
    return q;
}

/* ---- the reference ---- */

/* How many columns share an input's scale, from column c of a group on. */
static int64_t block_of(const quantized *q, int64_t within) {
    const int64_t width = q->group == q->cols ? (q->group + 31) / 32 * 32 : (q->group + 3) / 4 * 4;
    int64_t block = 32;
    while (width % block != 0) block /= 2;
    return within + block < q->group ? block : q->group - within;
}

/* One row of x times every row of the codes; size: Σ |products|. */
static void reference_row(const quantized *q, int bits, const float *x, double *y, double *size) {
    for (int64_t r = 0; r < q->rows; r++) y[r] = size[r] = 0;
    for (int64_t from = 0, count; from < q->cols; from += count) {
        const int64_t group = from / q->group;
        int32_t code[32];
        float values[32], most = 0;
        count = block_of(q, from % q->group);
        for (int64_t i = 0; i < count; i++) {
            values[i] = q->input_scale ? x[from + i] * q->input_scale[from + i] : x[from + i];
            most = fmaxf(most, fabsf(values[i]));
        }
        const float scale = most / 127, inverse = most > 0 ? 127 / most : 0;
        const float step = bits == 16 ? scale / 256 : scale;
        int32_t total = 0;
        for (int64_t i = 0; i < count; i++) {
            const float steps = values[i] * inverse, rest = rintf((steps - rintf(steps)) * 256);
            code[i] = (int32_t)rintf(steps);
            if (bits == 16) code[i] = 256 * code[i] + (int32_t)fmaxf(-127, fminf(127, rest));
            total += code[i];
        }
        for (int64_t r = 0; r < q->rows; r++) {
            int64_t sum = 0;
            for (int64_t i = 0; i < count; i++) sum += (int64_t)code[i] * q->q[r * q->cols + from + i];
            const int64_t at = r * quantized_groups(q) + group;
            const double one = (double)sum * step * q->scale[at];
            const double other = q->offset ? (double)q->offset[at] * step * total : 0;
            y[r] += one + other;
            size[r] += fabs(one) + fabs(other);
        }
    }
}

static reference reference_packed(const quantized *q, int bits, const float *x, int64_t N) {
    reference r = {zeros(N * q->rows, sizeof(double)), zeros(N * q->rows, sizeof(double))};
    for (int64_t n = 0; n < N; n++) reference_row(q, bits, x + n * q->cols, r.sum + n * q->rows, r.size + n * q->rows);
    return r;
}

/* ---- products ---- */

static void check_product(const kernels *k, const weight *w, const quantized *q, const matrix *x, int64_t N,
                          dtype y_type) {
    const int bits = w->packed->fine ? 16 : 8;
    rng r = rng_seed((uint64_t)N);
    matrix y = matrix_random(k, y_type, (N + 1) * w->rows, &r);
    float *old = matrix_copy(&y);
    k->linear(y.data, y_type, x->data, w, N);
    matrix_check(&y, packed_taken->name, 0, N * w->rows, NULL, reference_packed(q, bits, x->values, N), SUM_ERROR);
    assert_memory_equal(y.values + N * w->rows, old + N * w->rows, w->rows * sizeof(float)); /* nor beyond the rows */
    free(old);
    matrix_free(&y);
}

static const int64_t row_counts[] = {0, 1, 2, 3, 4, 5, 6, 7, 13, 16, 17, 48, 49, 130};
enum { MOST_ROWS = 130 };

/* What all sets and numbers of rows have given. */
static void check_same(const kernels *k, const weight *w, const matrix *x, float *first) {
    float *y = zeros(MOST_ROWS * w->rows, sizeof *y);
    k->linear(y, DTYPE_F32, x->data, w, MOST_ROWS);
    if (packed_taken == sets[0])
        memcpy(first, y, (size_t)(MOST_ROWS * w->rows) * sizeof *y);
    else
        assert_memory_equal(y, first, (size_t)(MOST_ROWS * w->rows) * sizeof *y);
    for (int64_t N = 1; N <= 20; N++) {
        const int64_t from = MOST_ROWS - N; /* other neighbours than before */
        k->linear(y, DTYPE_F32, (char *)x->data + (size_t)(from * w->cols) * act_bytes(k), w, N);
        assert_memory_equal(y, first + from * w->rows, (size_t)(N * w->rows) * sizeof *y);
    }
    free(y);
}

static void check_weight(const kernels *k, kind kind, int64_t rows, int64_t cols, int64_t group, bool half, int bits) {
    rng r = rng_seed((uint64_t)(rows * 1009 + cols));
    quantized q = random_codes(kind, rows, cols, group, half, &r);
    weight w;
    assert_ok(k->weight_packed(&w, &q, bits, NULL));
    assert_true(w.rows == rows && w.cols == cols && w.packed && !w.plain && !w.quantized && w.packed_bytes > 0);
    matrix x = matrix_random(k, k->act, MOST_ROWS * cols, &r);
    float *first = zeros(MOST_ROWS * rows, sizeof *first);
    for (int s = 0; s < set_count; s++) {
        packed_taken = sets[s];
        for (size_t i = 0; i < sizeof row_counts / sizeof *row_counts; i++) {
            check_product(k, &w, &q, &x, row_counts[i], k->act);
            check_product(k, &w, &q, &x, row_counts[i], DTYPE_F32);
        }
        check_same(k, &w, &x, first);
    }
    free(first);
    matrix_free(&x);
    k->weight_destroy(&w);
    assert_null(w.packed);
    quantized_free(&q);
}

/* One scale a row, and groups; rows and columns that are no whole tiles, steps or blocks; groups that are not, either. */
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
                                    {6, 48, 16},
                                    {40, 30, 6},
                                    {17, 21, 7},
                                    {35, 96, 48},
                                    {32, 576, 32}};

static void test_products(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            check_weight(&tables[t], (kind)(s % KINDS), shapes[s][0], shapes[s][1], shapes[s][2], s % 2,
                         s % 3 ? 8 : 16);
}

static void test_kinds(void **state) {
    (void)state;
    for (int t = 0; t < table_count; t++)
        for (kind k = BYTES; k < KINDS; k++)
            for (int half = 0; half < 2; half++) {
                check_weight(&tables[t], k, 67, 96, 32, half, 8);
                check_weight(&tables[t], k, 33, 80, 40, half, 8);
                check_weight(&tables[t], k, 64, 128, 64, half, 16);
            }
}

/* 4 bits where the codes allow it, 16 bits a scale where those do. */
static void test_bytes(void **state) {
    (void)state;
    const kernels *k = &tables[0];
    static const struct {
        kind kind;
        bool half;
        int64_t bytes;
    } cases[] = {{BYTES, true, 64 * 96 + 64 * 3 * 2},
                 {BYTES, false, 64 * 96 + 64 * 3 * 4},
                 {NIBBLES, true, 64 * 48 + 64 * 3 * 2},
                 {SIGNED_NIBBLES, false, 64 * 48 + 64 * 3 * 4},
                 {WITH_OFFSET, true, 64 * 48 + 64 * 3 * 2 * 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rng r = rng_seed(1);
        quantized q = random_codes(cases[i].kind, 64, 96, 32, cases[i].half, &r);
        weight w;
        assert_ok(k->weight_packed(&w, &q, 8, NULL));
        assert_int_equal(w.packed_bytes, cases[i].bytes);
        k->weight_destroy(&w);
        quantized_free(&q);
    }
}

/* Values and embeddings are those of the codes, exactly. */
static void test_values(void **state) {
    (void)state;
    enum { ROWS = 37, COLS = 1100, FIRST = 5, COUNT = 30 };
    for (int t = 0; t < table_count; t++)
        for (kind kind = BYTES; kind < KINDS; kind++) {
            const kernels *k = &tables[t];
            rng r = rng_seed(2);
            quantized q = random_codes(kind, ROWS, COLS, 22, kind % 2, &r);
            float *expected = zeros(ROWS * COLS, sizeof *expected), *values = zeros(COUNT * COLS, sizeof *values);
            quantized_expand(&q, expected);
            weight w;
            assert_ok(k->weight_packed(&w, &q, 8, NULL));
            k->weight_values(values, &w, FIRST, COUNT);
            assert_memory_equal(values, expected + FIRST * COLS, COUNT * COLS * sizeof *values);
            const int32_t ids[] = {ROWS - 1, 0, 7};
            void *y = zeros(3 * COLS, act_bytes(k));
            k->embed(y, &w, ids, 3);
            for (int n = 0; n < 3; n++)
                for (int c = 0; c < COLS; c++) {
                    float one;
                    k->to_act(&one, &expected[ids[n] * COLS + c], 1);
                    assert_true(act_read(k, y, n * COLS + c) == act_read(k, &one, 0));
                }
            free(y), free(values), free(expected);
            k->weight_destroy(&w);
            quantized_free(&q);
        }
}

/* ---- several weights at once ---- */

enum { SEVERAL = 4, SEVERAL_COLS = 96 };

/* One x, weights of several kinds and sizes: the same as one by one. */
static void test_several(void **state) {
    (void)state;
    static const int64_t rows[SEVERAL] = {70, 33, 32, 5};
    for (int t = 0; t < table_count; t++)
        for (int s = 0; s < set_count; s++) {
            const kernels *k = &tables[t];
            rng r = rng_seed(3);
            weight w[SEVERAL];
            const weight *pointers[SEVERAL];
            packed_taken = sets[s];
            for (int i = 0; i < SEVERAL; i++) {
                quantized q = random_codes(i < 2 ? BYTES : (kind)(i + 1), rows[i], SEVERAL_COLS, 32, true, &r);
                assert_ok(k->weight_packed(&w[i], &q, i % 2 ? 16 : 8, NULL));
                pointers[i] = &w[i];
                quantized_free(&q);
            }
            matrix x = matrix_random(k, k->act, MOST_ROWS * SEVERAL_COLS, &r);
            for (int64_t N = 0; N <= MOST_ROWS; N += N < 17 ? 1 : 113) {
                void *y[SEVERAL], *alone = zeros(MOST_ROWS * 70, act_bytes(k));
                for (int i = 0; i < SEVERAL; i++) y[i] = zeros(N * rows[i], act_bytes(k));
                k->linear_several(y, x.data, pointers, SEVERAL, N);
                for (int i = 0; i < SEVERAL; i++) {
                    k->linear(alone, k->act, x.data, &w[i], N);
                    assert_memory_equal(y[i], alone, (size_t)(N * rows[i]) * act_bytes(k));
                    free(y[i]);
                }
                free(alone);
            }
            matrix_free(&x);
            for (int i = 0; i < SEVERAL; i++) k->weight_destroy(&w[i]);
        }
}

/* The grouped product of experts of one shape is the same as each one's own, to the bit. */
static void assert_each_alone(const kernels *k, const weight *const *w, const int32_t *start, int E, rng *r) {
    const int64_t rows = w[0]->rows, cols = w[0]->cols;
    matrix x = matrix_random(k, k->act, start[E] * cols, r);
    char *y = zeros(start[E] * rows, act_bytes(k)), *alone = zeros(start[E] * rows, act_bytes(k));
    k->grouped_linear(y, x.data, w, start, E, start[E]);
    for (int e = 0; e < E; e++)
        k->linear(alone + (size_t)(start[e] * rows) * act_bytes(k), k->act,
                  (char *)x.data + (size_t)(start[e] * cols) * act_bytes(k), w[e], start[e + 1] - start[e]);
    assert_memory_equal(y, alone, (size_t)(start[E] * rows) * act_bytes(k));
    free(y), free(alone);
    matrix_free(&x);
}

/* Experts of unequal numbers of rows, some of none, one of another kind, with one input for all or each with its own steps by column: the
 * same as each alone. */
static void test_grouped(void **state) {
    (void)state;
    enum { E = 6, ROWS = 40, COLS = 64 };
    static const int32_t few[E + 1] = {0, 1, 1, 4, 5, 5, 7}, many[E + 1] = {0, 60, 61, 61, 70, 100, 160};
    for (int t = 0; t < table_count; t++)
        for (int s = 0; s < 4 * set_count; s++) {
            const kernels *k = &tables[t];
            const int32_t *start = s % 2 ? few : many;
            rng r = rng_seed(4);
            weight w[E];
            const weight *pointers[E];
            packed_taken = sets[s / 4];
            for (int e = 0; e < E; e++) {
                quantized q = random_codes(e == 3 ? NIBBLES : BYTES, ROWS, COLS, 32, true, &r);
                if (s % 4 > 1 && !q.input_scale) q.input_scale = zeros(COLS, sizeof *q.input_scale);
                for (int c = 0; c < COLS && s % 4 > 1; c++) q.input_scale[c] = 0.5f + (float)rng_uniform(&r);
                assert_ok(k->weight_packed(&w[e], &q, e == 2 ? 16 : 8, NULL));
                pointers[e] = &w[e];
                quantized_free(&q);
            }
            assert_each_alone(k, pointers, start, E, &r);
            for (int e = 0; e < E; e++) k->weight_destroy(&w[e]);
        }
}

/* Experts of one layer in three forms, whichever comes first: each is multiplied as it is. A recipe can say so. */
static void test_grouped_forms(void **state) {
    (void)state;
    enum { E = 3, ROWS = 40, COLS = 64 };
    static const int32_t start[E + 1] = {0, 3, 20, 26};
    for (int t = 0; t < table_count; t++)
        for (int first = 0; first < E; first++) {
            const kernels *k = &tables[t];
            rng r = rng_seed(6);
            weight w[E];
            const weight *pointers[E];
            packed_taken = sets[0];
            for (int e = 0; e < E; e++) {
                const int form = (e + first) % E;
                quantized q = random_codes(BYTES, ROWS, COLS, COLS, true, &r);
                matrix values = matrix_random(k, DTYPE_F32, ROWS * COLS, &r);
                if (form == 0) assert_ok(k->weight_packed(&w[e], &q, 16, NULL));
                if (form == 1) assert_ok(k->weight_quantized(&w[e], &q, NULL));
                if (form == 2) assert_ok(k->weight_create(&w[e], ROWS, COLS, NULL));
                if (form == 2) k->weight_update(&w[e], values.data, 0, ROWS);
                pointers[e] = &w[e];
                matrix_free(&values);
                quantized_free(&q);
            }
            assert_each_alone(k, pointers, start, E, &r);
            for (int e = 0; e < E; e++) k->weight_destroy(&w[e]);
        }
}

/* ---- what is no number, and the ends of the range ---- */

static void test_extremes(void **state) {
    (void)state;
    enum { ROWS = 33, COLS = 64 };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int s = 0; s < set_count; s++) {
        const kernels *k = &tables[0];
        rng r = rng_seed(5);
        quantized q = random_codes(BYTES, ROWS, COLS, 32, true, &r);
        weight w;
        float x[COLS] = {0}, y[ROWS];
        packed_taken = sets[s];
        assert_ok(k->weight_packed(&w, &q, 8, NULL));
        k->linear(y, DTYPE_F32, x, &w, 1);
        for (int i = 0; i < ROWS; i++) assert_true(y[i] == 0);
        for (int b = 0; b < 3; b++) {
            memset(x, 0, sizeof x);
            x[40] = bad[b];
            k->linear(y, DTYPE_F32, x, &w, 1);
            for (int i = 0; i < ROWS; i++) assert_false(isfinite(y[i]));
        }
        for (int c = 0; c < COLS; c++) x[c] = 1e-42f; /* its reciprocal is no number */
        k->linear(y, DTYPE_F32, x, &w, 1);
        for (int i = 0; i < ROWS; i++) assert_true(isfinite(y[i]));
        for (int i = 0; i < ROWS * COLS; i++) q.q[i] = -128; /* the largest sums */
        k->weight_destroy(&w);
        assert_ok(k->weight_packed(&w, &q, 8, NULL));
        for (int c = 0; c < COLS; c++) x[c] = c % 4 == 3 ? -3.f : 3.f;
        matrix rows = {.k = k, .type = DTYPE_F32, .count = COLS, .data = x, .values = x};
        check_product(k, &w, &q, &rows, 1, DTYPE_F32);
        for (int c = 0; c < COLS; c++) x[c] = 3;
        check_product(k, &w, &q, &rows, 1, DTYPE_F32);
        k->weight_destroy(&w);
        quantized_free(&q);
    }
}

int main(void) {
    table_count = test_tables(tables, products_avx2_f32, products_avx512_f32, products_avx512bf16_bf16);
    for (int t = 0; t < table_count; t++)
        (t == 0 ? fill_stream_avx2_f32 : t == 1 ? fill_stream_avx512_f32 : fill_stream_avx512bf16_bf16)(&tables[t]);
    find_sets();
    const packed_products *taken = packed_taken;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),      cmocka_unit_test(test_kinds),    cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_values),        cmocka_unit_test(test_several),  cmocka_unit_test(test_grouped),
        cmocka_unit_test(test_grouped_forms), cmocka_unit_test(test_extremes),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    packed_taken = taken;
    return failed;
}

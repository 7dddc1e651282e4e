/* The table of quantisers, the rates that they are dialled to, rows that count differently, and how bytes are shared out. */
#include "test.h"

#include "base/random.h"
#include "quant/allocate.h"
#include "quant/candidates.h"
#include "quant/ldl_factor.h"
#include "quant/quantize.h"
#include "quant/quantizer.h"
#include "quant/rate_limit.h"
#include "tensor/rotation.h"
#include <math.h>

enum { ROWS = 48, COLS = 160 };

typedef struct fixture {
    float *w, *hessian;
    double weight[ROWS];
} fixture;

/* Gaussian weights; inputs whose neighbours are alike. */
static int setup(void **state) {
    fixture *f = xcalloc(1, sizeof *f);
    float x[COLS];
    rng r = rng_seed(3);
    f->w = xmalloc(ROWS * COLS * sizeof *f->w);
    f->hessian = xcalloc(COLS * COLS, sizeof *f->hessian);
    rng_normal(&r, f->w, ROWS * COLS, 0.07f);
    for (int n = 0; n < 600; n++) {
        rng_normal(&r, x, COLS, 1);
        for (int c = 1; c < COLS; c++) x[c] = 0.8f * x[c - 1] + 0.6f * x[c];
        for (int i = 0; i < COLS; i++)
            for (int j = 0; j < COLS; j++) f->hessian[i * COLS + j] += x[i] * x[j] / 600;
    }
    for (int i = 0; i < ROWS; i++) f->weight[i] = i % 2 ? 16 : 1;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    free(f->w);
    free(f->hessian);
    free(f);
    return 0;
}

static matrix_problem problem_of(const fixture *f) {
    return (matrix_problem){.w = f->w, .hessian = f->hessian, .rows = ROWS, .cols = COLS, .damp = 0.01};
}

/* −Σ log₂ p over all integers, a weight. */
static double entropy(const quantized *q) {
    int seen[256] = {0};
    double bits = 0;
    for (int64_t i = 0; i < q->rows * q->cols; i++) seen[q->q[i] + 128]++;
    for (int i = 0; i < 256; i++)
        if (seen[i]) bits -= seen[i] * log2(seen[i] / (double)(q->rows * q->cols));
    return bits / (double)(q->rows * q->cols);
}

static void rates_are_what_an_entropy_coder_needs(void **state) {
    const matrix_problem p = problem_of(*state);
    for (int i = 0; i <= QUANTIZER_GPTQ; i++) {
        double before = 0;
        for (double rate = 1; rate < 6.5; rate += 0.5) {
            quantized q;
            assert_ok(quantize_matrix((quantizer)i, &q, &p, rate));
            /* GPTQ's feedback spreads what it rounds, most where steps are coarse */
            assert_float_equal(entropy(&q), rate, i == QUANTIZER_ROUND ? 0.06 : 0.3);
            const double error = matrix_error(&p, &q);
            if (before > 0) assert_true(error < 0.75 * before && error > 0.3 * before); /* 6 dB a bit, or a bit less */
            before = error;
            quantized_free(&q);
        }
    }
}

static void gptq_uses_the_hessian(void **state) {
    const matrix_problem p = problem_of(*state);
    quantized rounded, better;
    assert_ok(quantize_matrix(QUANTIZER_ROUND, &rounded, &p, 3));
    assert_ok(quantize_matrix(QUANTIZER_GPTQ, &better, &p, 3));
    assert_true(matrix_error(&p, &better) < 0.7 * matrix_error(&p, &rounded));
    quantized_free(&rounded);
    quantized_free(&better);
}

/* On average over its inputs a row's output is as large as it was, up to the step of a stored scale; a row of zeros stays one. */
static void rows_keep_their_outputs(void **state) {
    matrix_problem p = problem_of(*state);
    float values[ROWS * COLS], w[ROWS * COLS];
    row_output y[ROWS];
    memcpy(w, p.w, sizeof w);
    memset(w + 5 * COLS, 0, COLS * sizeof *w);
    p.w = w;
    for (int with = 1; with >= 0; with--)
        for (int i = QUANTIZER_RATE; i <= QUANTIZER_TRELLIS; i++)
            for (double rate = 1.5; rate < 4; rate++) {
                quantized q;
                p.hessian = with ? ((const fixture *)*state)->hessian : NULL;
                assert_ok(quantize_matrix((quantizer)i, &q, &p, rate));
                quantized_expand(&q, values);
                row_outputs(y, p.w, values, p.hessian, ROWS, COLS);
                for (int r = 0; r < ROWS; r++) {
                    if (r == 5)
                        assert_true(y[r].own == 0 && y[r].quantised == 0);
                    else
                        assert_float_equal(y[r].quantised / y[r].own, 1, 0.005);
                }
                quantized_free(&q);
            }
}

/* What is made once for many rates changes nothing, nor in rotated columns, whose factor is another. */
static void a_factor_is_made_once(void **state) {
    matrix_problem p = problem_of(*state);
    ldl_factor factor;
    bool made;
    assert_ok(quantizer_factor(QUANTIZER_GPTQ, &factor, &p, &made));
    assert_false(made);
    for (int q = QUANTIZER_RATE; q <= QUANTIZER_TRELLIS; q++)
        for (uint32_t rotation = 0; rotation < 2; rotation++) {
            quantized own, lent;
            p.rotation = 0;
            assert_ok(quantizer_factor((quantizer)q, &factor, &p, &made));
            assert_true(made);
            p.rotation = rotation;
            assert_ok(quantize_matrix((quantizer)q, &own, &p, 3));
            p.factor = &factor;
            assert_ok(quantize_matrix((quantizer)q, &lent, &p, 3));
            assert_memory_equal(own.q, lent.q, ROWS * COLS);
            p.factor = NULL;
            quantized_free(&own), quantized_free(&lent);
            ldl_factor_free(&factor);
        }
}

static coded_size count_bytes(const quantized *q) {
    return (coded_size){(double)(q->rows * q->cols), q->input_scale ? 2 * (double)q->cols : 0};
}

/* Bytes are those of all rows, the error is about theirs. */
static void some_rows_stand_for_all(void **state) {
    const matrix_problem p = problem_of(*state);
    candidate all, some;
    assert_ok(candidate_measure(&all, QUANTIZER_GPTQ, &p, 3, count_bytes));
    assert_ok(candidates_measure(&some, QUANTIZER_GPTQ, &p, &(candidate_ranks){0}, 3, count_bytes, ROWS * COLS / 4));
    assert_float_equal(some.bytes, all.bytes, 1e-6);
    assert_true(some.error != all.error && some.error < 1.2 * all.error && some.error > all.error / 1.2);
    assert_ok(candidate_measure(&all, QUANTIZER_TRELLIS, &p, 3, count_bytes));
    assert_float_equal(all.bytes, ROWS * COLS + 2 * COLS, 1e-6);
    assert_ok(candidates_measure(&some, QUANTIZER_TRELLIS, &p, &(candidate_ranks){0}, 3, count_bytes, ROWS * COLS / 4));
    assert_float_equal(some.bytes, all.bytes, 1e-6);
}

static void rows_that_count_more_are_finer(void **state) {
    const fixture *f = *state;
    matrix_problem p = problem_of(f);
    quantized same, by_weight;
    assert_ok(quantize_matrix(QUANTIZER_ROUND, &same, &p, 3));
    p.row_weight = f->weight;
    assert_ok(quantize_matrix(QUANTIZER_ROUND, &by_weight, &p, 3));
    assert_true(matrix_error(&p, &by_weight) < 0.85 * matrix_error(&p, &same));
    for (int r = 0; r < ROWS; r += 2) assert_true(by_weight.scale[r] > 1.5f * by_weight.scale[r + 1]);
    assert_float_equal(entropy(&by_weight), 3, 0.4);
    quantized_free(&same);
    quantized_free(&by_weight);
}

static void what_is_no_matrix_is_refused(void **state) {
    const fixture *f = *state;
    matrix_problem p = problem_of(f);
    quantized q;
    quantizer found;
    assert_fails(quantize_matrix(QUANTIZER_GPTQ, &q, &p, 0.1), "expected a rate of 0.25 to 8 bits a weight, found 0.1");
    assert_fails(quantize_matrix(QUANTIZER_GPTQ, &q, &p, NAN), "expected a rate");
    f->w[COLS + 3] = NAN;
    for (int i = 0; i < QUANTIZERS; i++)
        assert_fails(quantize_matrix((quantizer)i, &q, &p, 3), "row 1, column 3: expected a finite weight");
    f->w[COLS + 3] = 0;
    assert_true(quantizer_find("round", &found) && found == QUANTIZER_ROUND);
    assert_false(quantizer_find("rounded", &found));
    assert_non_null(strstr(quantizer_list(), "round, gptq"));
}

static void zeros_and_pruned_weights_stay(void **state) {
    const fixture *f = *state;
    matrix_problem p = problem_of(f);
    uint8_t *pruned = xcalloc(ROWS * COLS, 1);
    for (int i = 0; i < ROWS * COLS; i += 3) pruned[i] = 1;
    for (int c = 0; c < COLS; c++) f->w[5 * COLS + c] = 0;
    p.pruned = pruned;
    for (int i = 0; i <= QUANTIZER_GPTQ; i++) {
        quantized q;
        assert_ok(quantize_matrix((quantizer)i, &q, &p, 4));
        for (int j = 0; j < ROWS * COLS; j += 3) assert_int_equal(q.q[j], 0);
        assert_true(q.scale[5] == 0 && q.scale[6] > 0);
        quantized_free(&q);
    }
    free(pruned);
}

/* ---- the limit ---- */

static void the_limit_of_white_inputs_is_known(void **state) {
    const fixture *f = *state;
    matrix_problem p = problem_of(f);
    rate_limit l;
    double squares = 0;
    float *same = xmalloc(ROWS * COLS * sizeof *same);
    for (int i = 0; i < ROWS * COLS; i++) same[i] = i % 2 ? 0.5f : -0.5f; /* every row has σ² = ¼ */
    p.w = same;
    p.hessian = NULL;
    squares = 0.25 * ROWS * COLS;
    assert_ok(rate_limit_open(&l, &p));
    for (double rate = 0.5; rate < 6; rate += 0.5)
        assert_float_equal(rate_limit_bits(&l, squares * exp2(-2 * rate)), rate, 1e-6);
    assert_float_equal(rate_limit_bits(&l, 2 * squares), 0, 1e-9);
    rate_limit_close(&l);
    free(same);
}

/* Nobody is below it, and a uniform grid on white inputs is 0.25 bits above. */
static void quantisers_keep_their_distance(void **state) {
    const fixture *f = *state;
    matrix_problem p = problem_of(f);
    for (int white = 0; white < 2; white++) {
        rate_limit l;
        quantized q;
        if (white) p.hessian = NULL;
        assert_ok(rate_limit_open(&l, &p));
        assert_ok(quantize_matrix(QUANTIZER_GPTQ, &q, &p, 4));
        const double distance = entropy(&q) - rate_limit_bits(&l, matrix_error(&p, &q));
        assert_true(distance > 0.15 && distance < (white ? 0.35 : 0.6));
        quantized_free(&q);
        rate_limit_close(&l);
    }
}

/* ---- sharing out ---- */

static candidate_curve curve_of(double elements, double error) {
    candidate_curve c = {0};
    for (int i = candidate_rate_count; i-- > 0;) /* in any order */
        curve_add(&c, (candidate){candidate_rates[i], elements * candidate_rates[i] / 8,
                                  error * elements * exp2(-2 * candidate_rates[i])});
    return c;
}

/* With errors of a·n·4^−r bytes are best shared where a·4^−r is the same for all. */
static void bytes_are_shared_at_equal_slopes(void **state) {
    (void)state;
    const candidate_curve curves[] = {curve_of(1e6, 1), curve_of(1e5, 16), curve_of(3e6, 0.25)};
    allocation_item items[3];
    for (int i = 0; i < 3; i++) items[i] = (allocation_item){.ways = {{&curves[i], 0.5, 6.5}}, .way_count = 1};
    const double bytes = 4.1e6 * 3 / 8;
    const double lambda = allocate(items, 3, bytes);
    double sum = 0;
    for (int i = 0; i < 3; i++) sum += items[i].chosen.bytes;
    assert_true(sum <= bytes && sum > 0.999 * bytes && lambda > 0);
    assert_float_equal(items[1].chosen.rate - items[0].chosen.rate, 2, 0.1);
    assert_float_equal(items[0].chosen.rate - items[2].chosen.rate, 1, 0.1);
    items[2].ways[0].least = items[2].ways[0].most = 5; /* given: the others have the rest */
    allocate(items, 3, bytes * 1.4);
    assert_float_equal(items[2].chosen.rate, 5, 1e-9);
    assert_true(allocation_least_bytes(items, 3) > 3e6 * 5 / 8);
}

/* A way that costs more at each rate and is worth it is taken, one that is not is not. */
static void the_better_way_is_taken(void **state) {
    (void)state;
    const candidate_curve plain = curve_of(1e5, 1);
    for (int worth = 0; worth < 2; worth++) {
        candidate_curve corrected = plain;
        for (int i = 0; i < corrected.count; i++) { /* half a bit, for three quarters or a third of the error */
            corrected.at[i].bytes += 1e5 / 16;
            corrected.at[i].error *= worth ? 0.33 : 0.75;
        }
        allocation_item item = {.ways = {{&plain, 0.5, 6.5}, {&corrected, 0.5, 6.5}}, .way_count = 2};
        allocate(&item, 1, 1e5 * 3 / 8);
        assert_int_equal(item.way, worth);
        assert_true(item.chosen.bytes <= 1e5 * 3 / 8 && item.chosen.bytes > 0.99 * 1e5 * 3 / 8);
    }
}

static void ends_of_what_can_be_asked(void **state) {
    (void)state;
    const candidate_curve c = curve_of(1000, 1);
    allocation_item item = {.ways = {{&c, 0.5, 6.5}}, .way_count = 1};
    assert_float_equal(allocate(&item, 1, 1e9), 0, 0);
    assert_float_equal(item.chosen.rate, 6.5, 1e-9);
    allocate(&item, 1, 1);
    assert_float_equal(item.chosen.rate, 0.5, 1e-9);
    assert_float_equal(curve_rate_of_bytes(&c, 1000 * 3.3 / 8), 3.3, 1e-6);
    assert_float_equal(curve_at(&c, 3.5).error, 1000 * exp2(-7), 1e-6);
    assert_float_equal(curve_at(&c, 7).bytes, 1000 * 6.5 / 8, 1e-6);
}

/* ---- groups, asymmetric grids, rotated columns ---- */

/* Weights of group g of row r have a mean of their own and grow with g. */
static void spread_groups(float *w) {
    for (int i = 0; i < ROWS * COLS; i++) {
        const int row = i / COLS, group = i % COLS / 32;
        w[i] = w[i] * (float)(1 << group) + 0.05f * (float)(row % 3 - 1) * (float)(1 << group);
    }
}

static double error_of(quantizer q, const matrix_problem *p, double *bits) {
    quantized found;
    assert_ok(quantize_matrix(q, &found, p, 3));
    assert_int_equal(found.group, p->group ? p->group : COLS);
    assert_true((found.offset != NULL) == p->asymmetric && found.rotation == p->rotation);
    for (int64_t i = 0; i < found.rows * quantized_groups(&found) && found.offset; i++) {
        const float quarters = found.scale[i] > 0 ? 4 * found.offset[i] / found.scale[i] : 0;
        assert_true(quarters == rintf(quarters) && fabsf(quarters) <= QUANTIZED_MOST_ZERO);
    }
    const double error = matrix_error(p, &found);
    if (bits) *bits = entropy(&found);
    quantized_free(&found);
    return error;
}

/* Groups of unlike size have the same step, as rows do, so error against bits stays as it was: an entropy coder gives the larger ones more bits. Around
 * their means they need fewer. */
static void groups_keep_the_slope(void **state) {
    fixture *f = *state;
    spread_groups(f->w);
    for (int q = 0; q <= QUANTIZER_GPTQ; q++) {
        matrix_problem p = problem_of(f);
        double bits, grouped_bits, centred_bits;
        const double error = error_of((quantizer)q, &p, &bits);
        p.group = 32;
        const double grouped = error_of((quantizer)q, &p, &grouped_bits);
        p.asymmetric = true;
        const double centred = error_of((quantizer)q, &p, &centred_bits);
        /* The order-0 entropy of all codes together: half a bit is a factor of 2 in the error. */
        assert_true(fabs(log2(grouped / error) / 2 + grouped_bits - bits) < 0.2);
        assert_true(centred < grouped); /* a finer step at the same rate */
    }
}

static void offsets_take_the_mean_away(void **state) {
    fixture *f = *state;
    for (int i = 0; i < ROWS * COLS; i++) f->w[i] += 0.5f;
    for (int q = 0; q <= QUANTIZER_GPTQ; q++) {
        matrix_problem p = problem_of(f);
        const double error = error_of((quantizer)q, &p, NULL);
        p.asymmetric = true;
        assert_true(error_of((quantizer)q, &p, NULL) < 0.1 * error); /* 0.07 σ under a mean of 0.5 */
    }
}

static void rotated_and_back(void **state) {
    fixture *f = *state;
    float row[COLS];
    matrix_problem p = problem_of(f);
    assert_int_equal(rotation_block(COLS), 32);
    assert_int_equal(rotation_block(576), 64);
    assert_int_equal(rotation_block(8191), 1);
    assert_int_equal(rotation_block(1 << 20), ROTATION_MOST);
    memcpy(row, f->w, sizeof row);
    rotate_row(row, COLS, 7);
    double before = 0, after = 0, moved = 0;
    for (int c = 0; c < COLS; c++)
        before += f->w[c] * f->w[c], after += row[c] * row[c], moved += fabsf(row[c] - f->w[c]);
    assert_float_equal(before, after, 1e-6);
    assert_true(moved > 0.02 * COLS);
    rotate_row_back(row, COLS, 7);
    for (int c = 0; c < COLS; c++) assert_float_equal(row[c], f->w[c], 1e-6);
    for (int q = 0; q < QUANTIZERS; q++) {
        p.rotation = 0;
        const double plain = error_of((quantizer)q, &p, NULL);
        p.rotation = 7;
        const double rotated = error_of((quantizer)q, &p, NULL);
        assert_true(rotated < 1.5 * plain && rotated > plain / 1.5); /* Gaussian weights gain nothing */
    }
}

/* What outliers in a few columns cost a step a row: rotated they are spread. */
static void rotation_spreads_outliers(void **state) {
    fixture *f = *state;
    for (int i = 0; i < ROWS * COLS; i++)
        if (i % COLS % 40 == 0) f->w[i] *= 30;
    matrix_problem p = problem_of(f);
    p.hessian = NULL;
    double bits, rotated_bits;
    const double plain = error_of(QUANTIZER_ROUND, &p, &bits);
    p.rotation = 1;
    const double rotated = error_of(QUANTIZER_ROUND, &p, &rotated_bits);
    assert_true(fabs(plain / rotated - 1) < 0.5); /* the same step: */
    assert_true(rotated_bits > bits);             /* an entropy coder likes outliers better than what they become */
}

static void what_does_not_fit_is_refused(void **state) {
    fixture *f = *state;
    uint8_t pruned[ROWS * COLS] = {1};
    quantized q;
    matrix_problem p = problem_of(f);
    p.group = 33;
    assert_fails(quantize_matrix(QUANTIZER_GPTQ, &q, &p, 3), "expected a group that divides the 160 columns, found 33");
    p.group = 32;
    assert_fails(quantize_matrix(QUANTIZER_TRELLIS, &q, &p, 3),
                 "expected no groups and no asymmetric grids with trellis");
    p.group = 0;
    p.rotation = 1;
    p.pruned = pruned;
    assert_fails(quantize_matrix(QUANTIZER_GPTQ, &q, &p, 3), "expected nothing pruned");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rates_are_what_an_entropy_coder_needs, setup, teardown),
        cmocka_unit_test_setup_teardown(gptq_uses_the_hessian, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_keep_their_outputs, setup, teardown),
        cmocka_unit_test_setup_teardown(a_factor_is_made_once, setup, teardown),
        cmocka_unit_test_setup_teardown(some_rows_stand_for_all, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_that_count_more_are_finer, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_matrix_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(zeros_and_pruned_weights_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(the_limit_of_white_inputs_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(quantisers_keep_their_distance, setup, teardown),
        cmocka_unit_test_setup_teardown(groups_keep_the_slope, setup, teardown),
        cmocka_unit_test_setup_teardown(offsets_take_the_mean_away, setup, teardown),
        cmocka_unit_test_setup_teardown(rotated_and_back, setup, teardown),
        cmocka_unit_test_setup_teardown(rotation_spreads_outliers, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_fit_is_refused, setup, teardown),
        cmocka_unit_test(bytes_are_shared_at_equal_slopes),
        cmocka_unit_test(the_better_way_is_taken),
        cmocka_unit_test(ends_of_what_can_be_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

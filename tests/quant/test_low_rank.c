/* Corrections of low rank: as good as singular values allow, under a Hessian and rows' weights; where they pay; what is
 * refused. */
#include "test.h"

#include "base/random.h"
#include "quant/candidates.h"
#include "quant/low_rank.h"
#include <lapacke.h>
#include <math.h>

enum { ROWS = 48, COLS = 64 };

typedef struct fixture {
    float w[ROWS * COLS], hessian[COLS * COLS];
    double row_weight[ROWS];
    matrix_problem problem;
} fixture;

/* Inputs of COLS numbers with a few directions that are much larger than the others, as those of trained models have. */
static int setup(void **state) {
    enum { INPUTS = 1000, LARGE = 3 };
    fixture *f = xcalloc(1, sizeof *f);
    float large[LARGE * COLS];
    rng r = rng_seed(11);
    rng_normal(&r, f->w, ROWS * COLS, 0.1f);
    rng_normal(&r, large, LARGE * COLS, 1);
    for (int n = 0; n < INPUTS; n++) {
        float x[COLS], part[LARGE];
        rng_normal(&r, x, COLS, 0.3f);
        rng_normal(&r, part, LARGE, 1);
        for (int i = 0; i < LARGE; i++)
            for (int c = 0; c < COLS; c++) x[c] += part[i] * large[i * COLS + c];
        for (int i = 0; i < COLS; i++)
            for (int j = 0; j < COLS; j++) f->hessian[i * COLS + j] += x[i] * x[j] / INPUTS;
    }
    for (int i = 0; i < ROWS; i++) f->row_weight[i] = 0.2 + 0.1 * (i % 7);
    f->problem = (matrix_problem){
        .w = f->w, .hessian = f->hessian, .rows = ROWS, .cols = COLS, .row_weight = f->row_weight, .damp = 1e-4};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    free(*state);
    return 0;
}

/* Σ of the squares of all but the `rank` largest singular values of D^½ (W − Q) L. */
static double least_possible(const matrix_problem *p, const quantized *q, int rank) {
    static double m[ROWS * COLS], l[COLS * COLS], s[COLS], none[1];
    static float e[ROWS * COLS];
    quantized_expand(q, e);
    for (int i = 0; i < COLS * COLS; i++) l[i] = p->hessian ? p->hessian[i] : i % (COLS + 1) == 0;
    for (int i = 0; i < COLS; i++) l[i * (COLS + 1)] += 1e-9;
    assert_int_equal(LAPACKE_dpotrf(LAPACK_ROW_MAJOR, 'L', COLS, l, COLS), 0);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++) {
            double sum = 0;
            for (int j = c; j < COLS; j++) sum += ((double)p->w[r * COLS + j] - e[r * COLS + j]) * l[j * COLS + c];
            m[r * COLS + c] = sum * (p->row_weight ? sqrt(p->row_weight[r]) : 1);
        }
    assert_int_equal(LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'N', ROWS, COLS, m, COLS, s, none, ROWS, none, COLS), 0);
    double sum = 0;
    for (int i = rank; i < ROWS; i++) sum += s[i] * s[i];
    return sum;
}

static void as_good_as_singular_values_allow(void **state) {
    fixture *f = *state;
    for (int plain = 0; plain < 2; plain++)
        for (int rank = 1; rank <= 16; rank *= 4) {
            matrix_problem p = f->problem;
            quantized q;
            if (plain) {
                p.hessian = NULL;
                p.row_weight = NULL;
            }
            assert_ok(quantize_matrix(QUANTIZER_ROUND, &q, &p, 2.5));
            const double before = matrix_error(&p, &q), least = least_possible(&p, &q, rank);
            low_rank found;
            assert_ok(low_rank_find(&found, &p, &q, rank));
            assert_ok(low_rank_attach(&q, &found, rank, 8));
            const double after = matrix_error(&p, &q);
            assert_true(after < before && after > 0.999 * least && after < 1.03 * least + 1e-4 * before);
            low_rank_free(&found);
            quantized_free(&q);
        }
}

/* The same by the one call, and as a copy. */
static void a_problem_asks_for_it(void **state) {
    const fixture *f = *state;
    matrix_problem p = f->problem;
    quantized plain, corrected;
    static float x[ROWS * COLS], y[ROWS * COLS];
    assert_ok(quantize_matrix(QUANTIZER_RATE, &plain, &p, 2));
    p.rank = 5;
    p.rank_bits = 6;
    assert_ok(quantize_matrix(QUANTIZER_RATE, &corrected, &p, 2));
    assert_memory_equal(plain.q, corrected.q, ROWS * COLS);
    assert_non_null(corrected.correction);
    assert_int_equal(corrected.correction->rows, 5);
    assert_int_equal(corrected.correction->levels, 31);
    assert_true(matrix_error(&p, &corrected) < matrix_error(&p, &plain));
    quantized copy = quantized_copy(&corrected);
    quantized_expand(&corrected, x);
    quantized_free(&corrected);
    quantized_expand(&copy, y);
    assert_memory_equal(x, y, sizeof x);
    for (int i = 0; i < ROWS; i++) {
        quantized_expand_row(&copy, i, y);
        assert_memory_equal(x + i * COLS, y, COLS * sizeof *y);
    }
    quantized_free(&copy), quantized_free(&plain);
}

/* Rounding leaves what its inputs' large directions make much of; GPTQ does not. */
static void it_pays_where_errors_are_not_white(void **state) {
    const fixture *f = *state;
    double left[2];
    for (int gptq = 0; gptq < 2; gptq++) {
        matrix_problem p = f->problem;
        quantized q;
        p.row_weight = NULL;
        assert_ok(quantize_matrix(gptq ? QUANTIZER_GPTQ : QUANTIZER_ROUND, &q, &p, 3));
        const double before = matrix_error(&p, &q);
        p.rank = 3;
        assert_ok(low_rank_correct(&q, &p));
        left[gptq] = matrix_error(&p, &q) / before;
        quantized_free(&q);
    }
    assert_true(left[0] < 0.3 && left[1] > 0.7);
}

static coded_size count_bytes(const quantized *q) {
    return (coded_size){.rows = (double)(q->rows * q->cols)};
}

static void ranks_are_candidates(void **state) {
    const fixture *f = *state;
    candidate_ranks ranks = candidate_ranks_up_to(16, 8, ROWS, COLS);
    assert_true(ranks.count == 3 && ranks.rank[0] == 1 && ranks.rank[1] == 4 && ranks.rank[2] == 16);
    ranks = candidate_ranks_up_to(7, 8, ROWS, COLS);
    assert_true(ranks.count == 2 && ranks.rank[0] == 1 && ranks.rank[1] == 7);
    assert_int_equal(candidate_ranks_up_to(0, 8, ROWS, COLS).count, 0);
    ranks = candidate_ranks_up_to(1000, 8, ROWS, COLS);
    assert_int_equal(ranks.rank[ranks.count - 1], low_rank_most(ROWS, COLS));
    assert_true((ROWS + COLS) * low_rank_most(ROWS, COLS) <= ROWS * COLS);
    candidate out[1 + CANDIDATE_RANKS], alone;
    assert_ok(candidates_measure(out, QUANTIZER_ROUND, &f->problem, &ranks, 2, count_bytes, 0));
    assert_ok(candidate_measure(&alone, QUANTIZER_ROUND, &f->problem, 2, count_bytes));
    assert_memory_equal(&out[0], &alone, sizeof alone);
    for (int i = 0; i < ranks.count; i++) {
        assert_true(out[i + 1].error < out[i].error);
        assert_float_equal(out[i + 1].bytes, ROWS * COLS + ranks.rank[i] * (ROWS + COLS), 1e-6);
    }
}

/* Matrices of which some rows would be measured without one: what is foretold is what the whole matrix has, and no rank is beyond what
 * some rows could have. */
static void large_matrices_are_measured_whole(void **state) {
    (void)state;
    const int64_t rows = 40000, cols = 64;
    float *w = xmalloc((size_t)(rows * cols) * sizeof *w);
    rng r = rng_seed(2);
    rng_normal(&r, w, (size_t)(rows * cols), 0.1f);
    const matrix_problem p = {.w = w, .rows = rows, .cols = cols, .damp = 0.01};
    const candidate_ranks ranks = candidate_ranks_up_to(1000, 8, rows, cols);
    const int most = ranks.rank[ranks.count - 1];
    assert_true(rows * cols > CANDIDATE_ELEMENTS && most == low_rank_most(rows, cols));
    candidate out[1 + CANDIDATE_RANKS];
    assert_ok(candidates_measure(out, QUANTIZER_ROUND, &p, &ranks, 2, count_bytes, 0));
    assert_float_equal(out[ranks.count].bytes - out[0].bytes, (double)most * (double)(rows + cols), 1);
    quantized q;
    matrix_problem whole = p;
    whole.rank = most;
    whole.rank_bits = 8;
    assert_ok(quantize_matrix(QUANTIZER_ROUND, &q, &whole, 2));
    assert_float_equal(out[ranks.count].error / matrix_error(&p, &q), 1, 1e-9);
    quantized_free(&q);
    free(w);
}

static void what_cannot_be_is_refused(void **state) {
    const fixture *f = *state;
    quantized q;
    low_rank found;
    matrix_problem p = f->problem;
    assert_ok(quantize_matrix(QUANTIZER_ROUND, &q, &p, 3));
    assert_fails(low_rank_find(&found, &p, &q, 0), "expected a rank of 1 to");
    assert_ok(low_rank_find(&found, &p, &q, 2));
    assert_fails(low_rank_attach(&q, &found, 3, 8), "expected a rank of 1 to 2, found 3");
    assert_fails(low_rank_attach(&q, &found, 2, 9), "bits");
    low_rank_free(&found);
    static float zeros[COLS * COLS];
    p.hessian = zeros; /* an expert without tokens */
    assert_ok(low_rank_find(&found, &p, &q, 2));
    for (int64_t i = 0; i < 2 * (ROWS + COLS); i++) assert_true(isfinite(found.factors[i]));
    low_rank_free(&found);
    quantized_free(&q);
    static const uint8_t pruned[ROWS * COLS];
    p = f->problem;
    p.pruned = pruned;
    p.rank = 2;
    assert_fails(quantize_matrix(QUANTIZER_ROUND, &q, &p, 3), "expected nothing pruned");
    static float bad[COLS * COLS];
    for (int i = 0; i < COLS; i++) bad[i * (COLS + 1)] = -50;
    p = f->problem;
    p.hessian = bad;
    p.rank = 2;
    assert_ok(quantize_matrix(QUANTIZER_ROUND, &q, &f->problem, 3));
    assert_fails(low_rank_correct(&q, &p), "positive definite");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(as_good_as_singular_values_allow, setup, teardown),
        cmocka_unit_test_setup_teardown(a_problem_asks_for_it, setup, teardown),
        cmocka_unit_test_setup_teardown(it_pays_where_errors_are_not_white, setup, teardown),
        cmocka_unit_test_setup_teardown(ranks_are_candidates, setup, teardown),
        cmocka_unit_test(large_matrices_are_measured_whole),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Trellis-coded quantisation with steps by column: paths, the distance from what information theory allows, row weights, pruned weights, inputs
 * that tower above the others, threads, bad weights. */
#include "test.h"

#include "base/random.h"
#include "quant/code_cost.h"
#include "quant/dependent.h"
#include "quant/ldl_factor.h"
#include "quant/quantize.h"
#include "tensor/trellis.h"
#include <math.h>
#include <omp.h>

enum { ROWS = 96, COLS = 160 };

static float *normal(int64_t count, float std, uint64_t seed) {
    rng r = rng_seed(seed);
    float *w = xmalloc((size_t)count * sizeof *w);
    rng_normal(&r, w, (size_t)count, std);
    return w;
}

/* Inputs that follow one another and differ in size by a factor of 4. */
static float *uneven_hessian(void) {
    enum { SAMPLES = 4 * COLS };
    float *x = normal(SAMPLES * COLS, 1, 11), *h = xcalloc(COLS * COLS, sizeof *h);
    for (int64_t n = 0; n < SAMPLES; n++) {
        float *row = x + n * COLS;
        for (int64_t j = 1; j < COLS; j++) row[j] = 0.8f * row[j - 1] + 0.6f * row[j];
        for (int64_t j = 0; j < COLS; j++)
            for (int64_t k = 0; k < COLS; k++)
                h[j * COLS + k] += row[j] * row[k] * exp2f(0.5f * (float)(j % 5 + k % 5)) / SAMPLES;
    }
    free(x);
    return h;
}

static double error_of(const quantized *q, const float *w, const float *hessian) {
    float *expanded = xmalloc((size_t)(q->rows * q->cols) * sizeof *expanded);
    quantized_expand(q, expanded);
    const double e = hessian_error(w, expanded, hessian, q->rows, q->cols);
    free(expanded);
    return e;
}

/* Bits a weight that no code of Gaussian rows of deviation σ can do with at this error: ½ log₂ (σ² |H|^(1/n) / (error a weight)), where the
 * error is below every eigenvalue's share. */
static double least_bits(const float *hessian, double sigma, double error) {
    ldl_factor f;
    double logs = 0;
    assert_ok(ldl_factor_create(&f, hessian, COLS, 0, false));
    for (int64_t j = 0; j < COLS; j++) logs += 2 * log2(f.root[j]);
    ldl_factor_free(&f);
    return 0.5 * (log2(sigma * sigma) + logs / COLS - log2(error / (ROWS * COLS)));
}

/* What a coder needs that knows each column's spread: order-0 entropy of the codes by quantiser and class of spread would be less. */
static double bits_of(const quantized *q, int states, double sigma) {
    code_cost cost;
    const trellis *t = trellis_of(states);
    int8_t k[COLS];
    double bits = 0;
    code_cost_fill(&cost, states > 1);
    for (int64_t r = 0; r < q->rows; r++) {
        int state = 0;
        if (t) assert_true(trellis_codes(t, q->q + r * COLS, COLS, k));
        for (int64_t c = 0; c < COLS; c++) {
            const double spread = log2(sigma) - log2(q->input_scale[c]) - log2(q->scale[r]);
            const int code = t ? k[c] : q->q[r * COLS + c];
            bits += code_cost_at(&cost, (float)spread)[t ? t->quantizer[state] : 0][abs(code)];
            if (t) state = t->next[state][code & 1];
        }
    }
    return bits / (double)(q->rows * COLS);
}

static void points_of_a_row_are_a_path(void **state) {
    (void)state;
    rng r = rng_seed(5);
    for (int states = 4; states <= TRELLIS_MOST_STATES; states *= 2) {
        int8_t k[999], points[999], back[999];
        for (int i = 0; i < 999; i++) k[i] = (int8_t)((int)rng_below(&r, 127) - 63);
        trellis_points(trellis_of(states), k, 999, points);
        assert_true(trellis_codes(trellis_of(states), points, 999, back));
        assert_memory_equal(k, back, sizeof k);
        points[0] = 1; /* state 0 has even points only */
        assert_false(trellis_codes(trellis_of(states), points, 999, back));
    }
    assert_null(trellis_of(0));
    assert_null(trellis_of(12));
    assert_null(trellis_of(128));
}

/* At most 0.16 bit a weight above the bound where it is exact, at nearly 4 bits; a single scalar quantiser cannot be nearer than 0.25. */
static void states_come_near_the_bound(void **state) {
    (void)state;
    const double sigma = 0.05;
    float *h = uneven_hessian(), *w = normal(ROWS * COLS, (float)sigma, 1);
    const int states[] = {1, 4, 8, 32};
    double gap[4];
    for (int i = 0; i < 4; i++) {
        dependent_options o = dependent_options_default;
        quantized q;
        o.states = states[i];
        o.step = 0.3 * sigma;
        if (o.states == 1) o.rate_weight = 0;
        assert_ok(quantize_dependent(&q, w, h, ROWS, COLS, &o));
        gap[i] = bits_of(&q, o.states, sigma) - least_bits(h, sigma, error_of(&q, w, h));
        quantized_free(&q);
    }
    assert_true(gap[0] > 0.2 && gap[0] < 0.3);
    assert_true(gap[1] < 0.2 && gap[2] < 0.16);
    assert_true(gap[2] < gap[1] && gap[3] < gap[2] && gap[3] > 0.05);
    /* GPTQ, whose columns all have one step, at about the same error */
    quantized q;
    assert_ok(quantize_gptq(&q, w, h, ROWS, COLS, &(grid_options){.bits = 6, .least_step = 0.4}, 0.01));
    const double error = error_of(&q, w, h);
    double counts[128] = {0}, entropy = 0;
    for (int64_t i = 0; i < ROWS * COLS; i++) counts[q.q[i] + 64]++;
    for (int i = 0; i < 128; i++)
        if (counts[i] > 0) entropy -= counts[i] / (ROWS * COLS) * log2(counts[i] / (ROWS * COLS));
    assert_true(entropy - least_bits(h, sigma, error) > gap[2] + 0.2);
    quantized_free(&q);
    free(w);
    free(h);
}

static void rows_with_finer_steps_have_smaller_errors(void **state) {
    (void)state;
    float *h = uneven_hessian(), *w = normal(ROWS * COLS, 0.05f, 2), step[ROWS];
    for (int r = 0; r < ROWS; r++) step[r] = r < ROWS / 2 ? 0.25f : 1;
    dependent_options o = dependent_options_default;
    o.row_step = step;
    quantized q;
    assert_ok(quantize_dependent(&q, w, h, ROWS, COLS, &o));
    const int64_t half = ROWS / 2 * COLS;
    float *expanded = xmalloc(ROWS * COLS * sizeof *expanded);
    quantized_expand(&q, expanded);
    const double first = hessian_error(w, expanded, h, ROWS / 2, COLS);
    const double second = hessian_error(w + half, expanded + half, h, ROWS / 2, COLS);
    assert_true(second / first > 12 && second / first < 20);
    free(expanded);
    quantized_free(&q);
    free(w);
    free(h);
}

static void pruned_weights_are_zero(void **state) {
    (void)state;
    float *h = uneven_hessian(), *w = normal(ROWS * COLS, 0.05f, 3);
    uint8_t *pruned = xcalloc(ROWS * COLS, 1);
    for (int64_t i = 0; i < ROWS * COLS; i += 3) pruned[i] = 1;
    dependent_options o = dependent_options_default;
    o.pruned = pruned;
    quantized q;
    assert_ok(quantize_dependent(&q, w, h, ROWS, COLS, &o));
    int64_t others = 0;
    for (int64_t i = 0; i < ROWS * COLS; i++) {
        if (pruned[i]) assert_int_equal(q.q[i], 0);
        others += !pruned[i] && q.q[i];
    }
    assert_true(others > ROWS * COLS / 3);
    quantized_free(&q);
    free(pruned);
    free(w);
    free(h);
}

/* One input is a thousand times the others: its steps would be too fine for a byte. Two were never seen. */
static void an_input_that_towers_above_all_still_fits(void **state) {
    (void)state;
    float *h = uneven_hessian(), *w = normal(ROWS * COLS, 0.05f, 4);
    for (int64_t j = 0; j < COLS; j++) {
        h[7 * COLS + j] *= 1000, h[j * COLS + 7] *= 1000;
        h[20 * COLS + j] = h[j * COLS + 20] = h[21 * COLS + j] = h[j * COLS + 21] = 0;
    }
    quantized q;
    assert_ok(quantize_dependent(&q, w, h, ROWS, COLS, &dependent_options_default));
    int largest = 0;
    for (int64_t r = 0; r < ROWS; r++) largest = abs(q.q[r * COLS + 7]) > largest ? abs(q.q[r * COLS + 7]) : largest;
    assert_true(largest > 60 && largest <= q.levels);
    assert_true(error_of(&q, w, h) < 1e-3 * hessian_error(w, NULL, h, ROWS, COLS));
    for (int64_t c = 0; c < COLS; c++) assert_true(q.input_scale[c] > 0 && isfinite(q.input_scale[c]));
    quantized_free(&q);
    free(w);
    free(h);
}

static void threads_do_not_matter(void **state) {
    (void)state;
    float *h = uneven_hessian(), *w = normal(ROWS * COLS, 0.05f, 6);
    const int threads = omp_get_max_threads();
    quantized one, many;
    omp_set_num_threads(1);
    assert_ok(quantize_dependent(&one, w, h, ROWS, COLS, &dependent_options_default));
    omp_set_num_threads(3);
    assert_ok(quantize_dependent(&many, w, h, ROWS, COLS, &dependent_options_default));
    omp_set_num_threads(threads);
    assert_memory_equal(one.q, many.q, ROWS * COLS);
    quantized_free(&one);
    quantized_free(&many);
    free(w);
    free(h);
}

static void odd_matrices(void **state) {
    (void)state;
    float *w = normal(300, 0.05f, 7);
    quantized q;
    assert_ok(quantize_dependent(&q, w, NULL, 1, 300, &dependent_options_default)); /* no Hessian: the identity */
    assert_true(error_of(&q, w, NULL) < 0.05 * hessian_error(w, NULL, NULL, 1, 300));
    quantized_free(&q);
    assert_ok(quantize_dependent(&q, w, NULL, 300, 1, &dependent_options_default));
    quantized_free(&q);
    float zeros[12] = {0};
    assert_ok(quantize_dependent(&q, zeros, NULL, 3, 4, &dependent_options_default));
    for (int i = 0; i < 12; i++) assert_int_equal(q.q[i], 0);
    assert_true(q.scale[0] == 0 && q.scale[2] == 0);
    quantized_free(&q);
    w[5] = NAN;
    assert_fails(quantize_dependent(&q, w, NULL, 75, 4, &dependent_options_default), "row 1, column 1");
    dependent_options o = dependent_options_default;
    o.states = 5;
    assert_fails(quantize_dependent(&q, zeros, NULL, 3, 4, &o), "expected 1, 4, 8, 16, 32 or 64, found 5");
    o = dependent_options_default;
    o.step = 0;
    assert_fails(quantize_dependent(&q, zeros, NULL, 3, 4, &o), "step");
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_of_a_row_are_a_path),
        cmocka_unit_test(states_come_near_the_bound),
        cmocka_unit_test(rows_with_finer_steps_have_smaller_errors),
        cmocka_unit_test(pruned_weights_are_zero),
        cmocka_unit_test(an_input_that_towers_above_all_still_fits),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(odd_matrices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The loops of each width against plain ones, for shapes that tiles cover, half cover and do not cover. */
#include "test.h"

#include "base/random.h"
#include "kernel/kernel.h"
#include "quant/quantize.h"
#include "quant/wide.h"
#include <math.h>

enum { MOST_TABLES = 2 };

static int tables_here(const wide_loops *out[MOST_TABLES]) {
    out[0] = &wide_loops_avx2;
    out[1] = wide_loops_taken();
    return out[1] == out[0] ? 1 : 2;
}

static void fill(rng *r, float *x, int64_t count) {
    rng_normal(r, x, (size_t)count, 1);
}

static void products_are_subtracted(void **state) {
    (void)state;
    enum { MOST = 150, STRIDE = 170 };
    static const int64_t shapes[][3] = {{1, 1, 1}, {4, 16, 5}, {7, 33, 130}, {64, 64, 64}, {5, 15, 3}, {150, 150, 150}};
    static double a[MOST * STRIDE], b[MOST * STRIDE], c[MOST * STRIDE], expected[MOST * STRIDE];
    const wide_loops *tables[MOST_TABLES];
    rng r = rng_seed(1);
    for (int t = tables_here(tables) - 1; t >= 0; t--)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            const int64_t rows = shapes[s][0], cols = shapes[s][1], depth = shapes[s][2];
            for (int i = 0; i < MOST * STRIDE; i++) {
                a[i] = rng_uniform(&r) - 0.5, b[i] = rng_uniform(&r) - 0.5;
                c[i] = expected[i] = rng_uniform(&r);
            }
            for (int64_t i = 0; i < rows; i++)
                for (int64_t j = 0; j < cols; j++)
                    for (int64_t m = 0; m < depth; m++) expected[i * MOST + j] -= a[i * STRIDE + m] * b[m * MOST + j];
            tables[t]->subtract_product(c, a, b, MOST, STRIDE, rows, cols, depth);
            for (int i = 0; i < MOST * STRIDE; i++) assert_true(fabs(c[i] - expected[i]) <= 1e-11);
        }
}

static void errors_are_made_up_for(void **state) {
    (void)state;
    enum { COLS = 200, ROWS = 11 };
    static float w[ROWS * COLS], expected[ROWS * COLS], e[ROWS * FACTOR_BLOCK], u[FACTOR_BLOCK * COLS];
    static const int64_t shapes[][3] = {{1, 199, 1}, {4, 128, 128}, {11, 3, 3}, {8, 100, 70}, {3, 200, 5}};
    const wide_loops *tables[MOST_TABLES];
    rng r = rng_seed(2);
    for (int t = tables_here(tables) - 1; t >= 0; t--)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            const int64_t rows = shapes[s][0], from = shapes[s][1], width = shapes[s][2];
            fill(&r, w, ROWS * COLS);
            fill(&r, e, ROWS * FACTOR_BLOCK);
            fill(&r, u, FACTOR_BLOCK * COLS);
            memcpy(expected, w, sizeof w);
            for (int64_t i = 0; i < rows; i++)
                for (int64_t k = from; k < COLS; k++)
                    for (int64_t j = 0; j < width; j++)
                        expected[i * COLS + k] -= e[i * FACTOR_BLOCK + j] * u[j * COLS + k];
            tables[t]->make_up(w, e, u, COLS, rows, from, width);
            for (int i = 0; i < ROWS * COLS; i++) assert_float_equal(w[i], expected[i], 1e-4);
        }
}

/* A row of a panel by itself. */
static double round_row(const panel_block *b, int row, const float *u, int64_t n, int64_t width, float levels,
                        float *codes) {
    float w[FACTOR_BLOCK];
    double sum = 0;
    for (int64_t j = 0; j < width; j++) w[j] = b->w[j][row];
    for (int64_t j = 0; j < width; j++) {
        const float scale = b->scale[j][row], offset = b->offset[j][row];
        codes[j] = b->keep[j][row] * grid_nearest(w[j] - offset, scale > 0 ? 1 / scale : 0, levels);
        const float e = (w[j] - (codes[j] * scale + offset)) / u[j * n + j];
        for (int64_t k = j + 1; k < width; k++) w[k] -= e * u[j * n + k];
        sum += (double)e * e;
    }
    return sum;
}

static void blocks_are_rounded(void **state) {
    (void)state;
    enum { COLS = 140 };
    static panel_block b, before;
    static float u[FACTOR_BLOCK * COLS], codes[FACTOR_BLOCK];
    static const int64_t widths[] = {1, 2, 31, FACTOR_BLOCK};
    const wide_loops *tables[MOST_TABLES];
    rng r = rng_seed(3);
    for (int t = tables_here(tables) - 1; t >= 0; t--)
        for (size_t s = 0; s < sizeof widths / sizeof *widths; s++) {
            memset(&b, 0, sizeof b);
            fill(&r, b.w[0], FACTOR_BLOCK * PANEL);
            fill(&r, b.offset[0], FACTOR_BLOCK * PANEL);
            fill(&r, u, FACTOR_BLOCK * COLS);
            for (int i = 0; i < FACTOR_BLOCK * COLS; i++) u[i] *= 0.02f;
            for (int j = 0; j < FACTOR_BLOCK; j++) {
                u[j * COLS + j] = 0.5f + (float)rng_uniform(&r);
                for (int i = 0; i < PANEL; i++) {
                    b.scale[j][i] = rng_uniform(&r) < 0.1 ? 0 : 0.1f + (float)rng_uniform(&r);
                    b.keep[j][i] = rng_uniform(&r) < 0.9;
                }
            }
            before = b;
            tables[t]->round_block(&b, u, COLS, widths[s], 7);
            for (int i = 0; i < PANEL; i++) {
                const double error = round_row(&before, i, u, COLS, widths[s], 7, codes);
                int other = 0; /* a weight half-way between two codes may go either way */
                for (int64_t j = 0; j < widths[s]; j++) other += b.q[j][i] != codes[j];
                assert_true(other <= 1);
                if (other == 0) assert_true(fabs(b.error[i] - error) <= 1e-3 * (1 + error));
            }
        }
}

static void rows_have_their_error(void **state) {
    (void)state;
    enum { COLS = 67 };
    float w[COLS], importance[COLS];
    const wide_loops *tables[MOST_TABLES];
    rng r = rng_seed(4);
    fill(&r, w, COLS);
    for (int i = 0; i < COLS; i++) importance[i] = (float)rng_uniform(&r);
    for (int t = tables_here(tables) - 1; t >= 0; t--)
        for (int64_t cols = 0; cols <= COLS; cols++) {
            double plain = 0, weighted = 0;
            for (int64_t c = 0; c < cols; c++) {
                const double e = (double)w[c] - 0.25 * (double)grid_nearest(w[c], 4, 3);
                plain += e * e;
                weighted += (double)importance[c] * e * e;
            }
            assert_true(fabs(tables[t]->rounding_error(w, NULL, cols, 0.25f, 3) - plain) <= 1e-5 * (1 + plain));
            assert_true(fabs(tables[t]->rounding_error(w, importance, cols, 0.25f, 3) - weighted) <=
                        1e-5 * (1 + weighted));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_subtracted),
        cmocka_unit_test(errors_are_made_up_for),
        cmocka_unit_test(blocks_are_rounded),
        cmocka_unit_test(rows_have_their_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

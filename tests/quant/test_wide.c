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
    enum { MOST = 150, C = 151, A = 170, B = 160 };
    static const int64_t shapes[][3] = {{1, 1, 1},    {4, 16, 5},      {7, 33, 130}, {64, 64, 64}, {5, 15, 3},
                                        {6, 32, 128}, {150, 150, 150}, {3, 40, 0},   {8, 7, 129}};
    static float a[MOST * A], b[MOST * B], c[MOST * C], expected[MOST * C];
    const wide_loops *tables[MOST_TABLES];
    rng r = rng_seed(1);
    for (int t = tables_here(tables) - 1; t >= 0; t--)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            const int64_t rows = shapes[s][0], cols = shapes[s][1], depth = shapes[s][2];
            fill(&r, a, MOST * A);
            fill(&r, b, MOST * B);
            fill(&r, c, MOST * C);
            memcpy(expected, c, sizeof c);
            for (int64_t i = 0; i < rows; i++)
                for (int64_t j = 0; j < cols; j++) {
                    double sum = c[i * C + j];
                    for (int64_t m = 0; m < depth; m++) sum -= (double)a[i * A + m] * b[m * B + j];
                    expected[i * C + j] = (float)sum;
                }
            tables[t]->subtract_product(c, C, a, A, b, B, rows, cols, depth);
            for (int i = 0; i < MOST * C; i++) assert_float_equal(c[i], expected[i], 1e-4);
        }
}

static void rows_stand_side_by_side(void **state) {
    (void)state;
    enum { STRIDE = 131 };
    static float x[PANEL * STRIDE], back[PANEL * STRIDE], columns[FACTOR_BLOCK][PANEL];
    const float *from[PANEL];
    float *to[PANEL];
    const wide_loops *tables[MOST_TABLES];
    rng r = rng_seed(5);
    fill(&r, x, PANEL * STRIDE);
    for (int i = 0; i < PANEL; i++) from[i] = x + i * STRIDE, to[i] = back + i * STRIDE;
    for (int t = tables_here(tables) - 1; t >= 0; t--)
        for (int64_t width = 0; width <= FACTOR_BLOCK; width++) {
            memset(back, 0, sizeof back);
            memset(columns, 0, sizeof columns);
            tables[t]->side_by_side(columns, from, width);
            for (int64_t j = 0; j < FACTOR_BLOCK; j++)
                for (int i = 0; i < PANEL; i++) assert_true(columns[j][i] == (j < width ? x[i * STRIDE + j] : 0));
            tables[t]->row_by_row(to, (const float(*)[PANEL])columns, width);
            for (int i = 0; i < PANEL; i++)
                for (int64_t j = 0; j < STRIDE; j++)
                    assert_true(back[i * STRIDE + j] == (j < width ? x[i * STRIDE + j] : 0));
        }
}

/* A row of a panel by itself. */
static double round_row(const panel_block *b, const panel_grids *grids, int row, const float *f, const float *root,
                        int64_t n, int64_t width, float levels, float *e) {
    float w[FACTOR_BLOCK];
    double sum = 0;
    for (int64_t j = 0; j < width; j++) w[j] = b->w[j][row];
    for (int64_t j = 0; j < width; j++) {
        const int64_t at = grids->group[j] * PANEL + row;
        const float scale = grids->scale[at], offset = grids->offset[at];
        const float code = b->keep[j][row] * grid_nearest(w[j] - offset, grids->inverse[at], levels);
        const float left = (w[j] - (code * scale + offset)) * root[j];
        e[j] = code * scale + offset - b->origin[j][row];
        for (int64_t k = j + 1; k < width; k++) w[k] -= e[j] * f[j * n + k];
        sum += (double)left * left;
    }
    return sum;
}

static void blocks_are_rounded(void **state) {
    (void)state;
    enum { COLS = 140, GROUPS = 3 };
    static panel_block b, before;
    static float f[FACTOR_BLOCK * COLS], root[FACTOR_BLOCK], e[FACTOR_BLOCK];
    static float scale[GROUPS * PANEL], inverse[GROUPS * PANEL], offset[GROUPS * PANEL];
    static int32_t group[FACTOR_BLOCK];
    const panel_grids grids = {scale, inverse, offset, group};
    static const int64_t widths[] = {1, 2, 7, 8, 9, 31, FACTOR_BLOCK};
    const wide_loops *tables[MOST_TABLES];
    rng r = rng_seed(3);
    for (int t = tables_here(tables) - 1; t >= 0; t--)
        for (size_t s = 0; s < sizeof widths / sizeof *widths; s++) {
            memset(&b, 0, sizeof b);
            fill(&r, b.origin[0], FACTOR_BLOCK * PANEL);
            fill(&r, b.w[0], FACTOR_BLOCK * PANEL);
            fill(&r, offset, GROUPS * PANEL);
            fill(&r, f, FACTOR_BLOCK * COLS);
            for (int i = 0; i < FACTOR_BLOCK * COLS; i++) f[i] *= 0.02f;
            for (int i = 0; i < GROUPS * PANEL; i++) {
                scale[i] = rng_uniform(&r) < 0.1 ? 0 : 0.1f + (float)rng_uniform(&r);
                inverse[i] = scale[i] > 0 ? 1 / scale[i] : 0;
            }
            for (int j = 0; j < FACTOR_BLOCK; j++) {
                root[j] = 0.5f + (float)rng_uniform(&r);
                group[j] = (int32_t)(rng_uniform(&r) * GROUPS);
                for (int i = 0; i < PANEL; i++) b.keep[j][i] = rng_uniform(&r) < 0.9;
            }
            before = b;
            tables[t]->round_block(&b, &grids, f, root, COLS, widths[s], 7);
            for (int i = 0; i < PANEL; i++) {
                const double error = round_row(&before, &grids, i, f, root, COLS, widths[s], 7, e);
                int other = 0; /* a weight half-way between two codes may go either way, and takes what follows along */
                for (int64_t j = 0; j < widths[s]; j++) other += fabsf(b.e[j][i] - e[j]) > 1e-4f;
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
        cmocka_unit_test(rows_stand_side_by_side),
        cmocka_unit_test(blocks_are_rounded),
        cmocka_unit_test(rows_have_their_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

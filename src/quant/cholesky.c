#include "quant/cholesky.h"

#include "base/memory.h"
#include "quant/wide.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 32,
    ROWS = 2 * BLOCK,         /* below it, at a time */
    PARALLEL_ROWS = 4 * BLOCK /* fewer are not worth a team of threads */
};

/* The block on the diagonal, itself. */
static bool factor_block(float *a, int64_t n, int64_t size) {
    for (int64_t i = 0; i < size; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = a[i * n + j];
            for (int64_t m = 0; m < j; m++) sum -= (double)a[i * n + m] * a[j * n + m];
            if (i == j && !(sum > 0 && isfinite(sum))) return false;
            a[i * n + j] = (float)(i == j ? sqrt(sum) : sum / a[j * n + j]);
        }
    return true;
}

/* −L⁻ᵀ of that block, as a matrix [size, size] of its own. */
static void negative_inverse(float *out, const float *l, int64_t n, int64_t size) {
    memset(out, 0, (size_t)(size * size) * sizeof *out);
    for (int64_t j = 0; j < size; j++) { /* column j of −L⁻¹ is row j here */
        float *x = out + j * size;
        x[j] = -1 / l[j * n + j];
        for (int64_t i = j + 1; i < size; i++) {
            double sum = 0;
            for (int64_t m = j; m < i; m++) sum -= (double)l[i * n + m] * x[m];
            x[i] = (float)(sum / l[i * n + i]);
        }
    }
}

static int64_t block_at(int64_t first, int64_t n) {
    return n - first < BLOCK ? n - first : BLOCK;
}

/* across [first, size]: Lᵀ of the block's rows, as far as the columns are done. */
static void transpose(float *across, const float *rows, int64_t n, int64_t first, int64_t size) {
    for (int64_t i = 0; i < size; i++)
        for (int64_t m = 0; m < first; m++) across[m * size + i] = rows[i * n + m];
}

/* x [count, size]: the columns first … first+size−1 of some rows, less what the columns before have of them. */
static void subtract_before(float *x, const float *rows, const float *across, int64_t n, int64_t count, int64_t first,
                            int64_t size) {
    for (int64_t i = 0; i < count; i++) memcpy(x + i * size, rows + i * n + first, (size_t)size * sizeof *x);
    wide_loops_taken()->subtract_product(x, size, rows, n, across, size, count, size, first);
}

static void put_back(float *rows, const float *x, int64_t n, int64_t count, int64_t first, int64_t size) {
    for (int64_t i = 0; i < count; i++) memcpy(rows + i * n + first, x + i * size, (size_t)size * sizeof *x);
}

/* Rows below the diagonal's block: y Lᵀ = x. */
static void solve_rows(float *rows, const float *across, const float *inverse, int64_t n, int64_t count, int64_t first,
                       int64_t size) {
    float x[ROWS * BLOCK], y[ROWS * BLOCK] = {0};
    subtract_before(x, rows, across, n, count, first, size);
    wide_loops_taken()->subtract_product(y, size, x, size, inverse, size, count, size, size);
    put_back(rows, y, n, count, first, size);
}

/* Looking left: a block of columns is touched once, when all before it are done. */
bool cholesky_lower(float *a, int64_t n) {
    float *across = xmalloc((size_t)(BLOCK * n) * sizeof *across), x[BLOCK * BLOCK], inverse[BLOCK * BLOCK];
    bool good = true;
    for (int64_t first = 0; first < n && good; first += BLOCK) {
        const int64_t size = block_at(first, n), last = first + size;
        float *rows = a + first * n;
        transpose(across, rows, n, first, size);
        subtract_before(x, rows, across, n, size, first, size);
        put_back(rows, x, n, size, first, size);
        good = factor_block(rows + first, n, size);
        if (!good) break;
        negative_inverse(inverse, rows + first, n, size);
#pragma omp parallel for schedule(dynamic) if (n - last > PARALLEL_ROWS)
        for (int64_t i = last; i < n; i += ROWS)
            solve_rows(a + i * n, across, inverse, n, n - i < ROWS ? n - i : ROWS, first, size);
    }
    free(across);
    return good;
}

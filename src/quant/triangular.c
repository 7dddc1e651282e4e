#include "quant/triangular.h"

#include "base/memory.h"
#include "quant/wide.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 64,
    PARALLEL_ROWS = 2 * BLOCK /* fewer are not worth a team of threads */
};

/* ---- Cholesky ---- */

/* The block on the diagonal, itself. */
static bool factor_block(double *a, int64_t n, int64_t size) {
    for (int64_t i = 0; i < size; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = a[i * n + j];
            for (int64_t m = 0; m < j; m++) sum -= a[i * n + m] * a[j * n + m];
            if (i == j && !(sum > 0 && isfinite(sum))) return false;
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    return true;
}

/* Rows below it: x L_blockᵀ = a. */
static void solve_rows(double *a, const double *block, int64_t n, int64_t rows, int64_t size) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < size; j++) {
            double sum = a[i * n + j];
            for (int64_t m = 0; m < j; m++) sum -= a[i * n + m] * block[j * n + m];
            a[i * n + j] = sum / block[j * n + j];
        }
}

static int64_t block_at(int64_t first, int64_t n) {
    return n - first < BLOCK ? n - first : BLOCK;
}

/* across [BLOCK, n]: Lᵀ of the block's columns, for the rows from `last` on. */
static void transpose(double *across, const double *a, int64_t n, int64_t first, int64_t last) {
    for (int64_t i = last; i < n; i++)
        for (int64_t m = first; m < last; m++) across[(m - first) * n + i] = a[i * n + m];
}

bool cholesky_lower(double *a, int64_t n) {
    const wide_loops *loops = wide_loops_taken();
    double *across = xmalloc((size_t)(BLOCK * n) * sizeof *across);
    bool good = true;
    for (int64_t first = 0; first < n && good; first += BLOCK) {
        const int64_t size = block_at(first, n), last = first + size;
        double *block = a + first * n + first;
        good = factor_block(block, n, size);
        if (!good) break;
#pragma omp parallel for schedule(dynamic) if (n - last > PARALLEL_ROWS)
        for (int64_t i = last; i < n; i += BLOCK) solve_rows(a + i * n + first, block, n, block_at(i, n), size);
        transpose(across, a, n, first, last);
#pragma omp parallel for schedule(dynamic) if (n - last > PARALLEL_ROWS)
        for (int64_t i = last; i < n; i += BLOCK) /* up to the diagonal's block, whose upper half comes along */
            loops->subtract_product(a + i * n + last, a + i * n + first, across + last, n, n, block_at(i, n),
                                    i + block_at(i, n) - last, size);
    }
    free(across);
    return good;
}

/* ---- the inverse ---- */

static void invert_block(double *l, int64_t n, int64_t size) {
    for (int64_t j = 0; j < size; j++) {
        l[j * n + j] = 1 / l[j * n + j];
        for (int64_t i = j + 1; i < size; i++) {
            double sum = 0;
            for (int64_t m = j; m < i; m++) sum -= l[i * n + m] * l[m * n + j];
            l[i * n + j] = sum / l[i * n + i];
        }
    }
}

/* −l as a matrix [size, size] of its own with zeros above. */
static void copy_negative(double *x, const double *l, int64_t n, int64_t size) {
    for (int64_t i = 0; i < size; i++)
        for (int64_t j = 0; j < size; j++) x[i * size + j] = j <= i ? -l[i * n + j] : 0;
}

/* Block by block: X_ij = −X_ii Σ_k L_ik X_kj, with X_kj there already and L_i kept aside. */
void invert_lower(double *l, int64_t n) {
    const wide_loops *loops = wide_loops_taken();
    double *row = xmalloc((size_t)(2 * BLOCK * n) * sizeof *row), *product = row + BLOCK * n;
    double diagonal[BLOCK * BLOCK];
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t size = block_at(first, n);
        double *block = l + first * n;
        invert_block(block + first, n, size);
        copy_negative(diagonal, block + first, n, size);
        for (int64_t i = 0; i < size; i++) memcpy(row + i * n, block + i * n, (size_t)first * sizeof *row);
#pragma omp parallel for schedule(dynamic) if (first > PARALLEL_ROWS)
        for (int64_t k = 0; k < first; k += BLOCK) {
            for (int64_t i = 0; i < size; i++) {
                memset(product + i * n + k, 0, BLOCK * sizeof *product);
                memset(block + i * n + k, 0, BLOCK * sizeof *block);
            }
            loops->subtract_product(product + k, row + k, l + k * n + k, n, n, size, BLOCK, first - k); /* −Σ L X */
            loops->subtract_product(block + k, diagonal, product + k, n, size, size, BLOCK, size);
        }
        for (int64_t i = 0; i < size; i++) /* later blocks take the whole of this one */
            memset(block + i * n + first + i + 1, 0, (size_t)(size - i - 1) * sizeof *block);
    }
    free(row);
}

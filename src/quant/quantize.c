#include "quant/quantize.h"

#include "base/memory.h"
#include "quant/wide.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

status quantized_create(quantized *out, int64_t rows, int64_t cols, int bits) {
    *out = (quantized){0};
    if (bits < 2 || bits > 8) return fail("expected 2 to 8 bits a weight, found %d", bits);
    if (rows < 1 || cols < 1)
        return fail("expected a matrix, found %lld rows and %lld columns", (long long)rows, (long long)cols);
    out->rows = rows;
    out->cols = out->group = cols;
    out->levels = (1 << (bits - 1)) - 1;
    out->q = xcalloc((size_t)(rows * cols), sizeof(int8_t));
    out->scale = xcalloc((size_t)rows, sizeof(float));
    return STATUS_OK;
}

status quantized_create_for(quantized *out, int64_t rows, int64_t cols, const grid_options *grid) {
    TRY(quantized_create(out, rows, cols, grid->bits));
    if (!grid->row_scale) return STATUS_OK;
    if (grid->group) out->group = grid->group;
    const size_t bytes = (size_t)(rows * quantized_groups(out)) * sizeof(float);
    out->scale = xrealloc(out->scale, bytes);
    memcpy(out->scale, grid->row_scale, bytes);
    if (!grid->row_offset) return STATUS_OK;
    out->offset = xmalloc(bytes);
    memcpy(out->offset, grid->row_offset, bytes);
    return STATUS_OK;
}

status check_finite(const float *w, int64_t rows, int64_t cols) {
    for (int64_t i = 0; i < rows * cols; i++)
        if (!isfinite(w[i]))
            return fail("row %lld, column %lld: expected a finite weight, found %g", (long long)(i / cols),
                        (long long)(i % cols), (double)w[i]);
    return STATUS_OK;
}

float scale_round(float scale) {
    enum { DROPPED = 18 }; /* of float32's 23 mantissa bits */
    uint32_t bits;
    memcpy(&bits, &scale, sizeof bits);
    bits = (bits + (1u << (DROPPED - 1))) & ~((1u << DROPPED) - 1);
    memcpy(&scale, &bits, sizeof bits);
    return scale;
}

/* least_step · σ */
static float least_scale(const float *w, int64_t cols, const grid_options *grid) {
    double squares = 0;
    for (int64_t c = 0; c < cols; c++) squares += (double)w[c] * w[c];
    return (float)(grid->least_step * sqrt(squares / (double)cols));
}

float grid_least_scale(const float *w, int64_t cols, const grid_options *grid) {
    return scale_round(least_scale(w, cols, grid));
}

/* max |w|: of finite numbers without their signs the bits are in the numbers' order, and integers need no calls. */
static float largest_magnitude(const float *w, int64_t cols) {
    uint32_t most = 0;
    float largest;
    for (int64_t c = 0; c < cols; c++) {
        uint32_t bits;
        memcpy(&bits, w + c, sizeof bits);
        bits &= INT32_MAX;
        most = bits > most ? bits : most;
    }
    memcpy(&largest, &most, sizeof largest);
    return largest;
}

int scale_candidates(float out[SCALE_CANDIDATES], const float *w, const float *importance, int64_t row, int64_t cols,
                     const grid_options *grid) {
    if (grid->row_scale) {
        out[0] = grid->row_scale[row];
        return out[0] > 0;
    }
    const float levels = (float)((1 << (grid->bits - 1)) - 1);
    const float least = fmaxf(least_scale(w, cols, grid), (float)grid->least_scale);
    const float largest = largest_magnitude(w, cols);
    /* From a little above the largest weight down to about a quarter of it, where the best grids of 2 bits lie. */
    double error[SCALE_CANDIDATES];
    float fraction = 1.05f, previous = 0;
    int count = 0;
    for (int i = 0; i < SCALE_CANDIDATES; i++, fraction *= 0.93f) {
        float scale = scale_round(fmaxf(fraction * largest / levels, least));
        /* A row so small that its scale or the inverse leaves float32 is as good as zero. */
        if (scale == previous || scale < 1e-37f || !isfinite(scale)) continue;
        previous = scale;
        const double e = wide_loops_taken()->rounding_error(w, importance, cols, scale, levels);
        int at = count++;
        for (; at > 0 && error[at - 1] > e; at--) {
            error[at] = error[at - 1];
            out[at] = out[at - 1];
        }
        error[at] = e;
        out[at] = scale;
    }
    return count;
}

/* To the nearest point of a given scale, group by group. */
static void round_given(quantized *out, const float *w, int64_t row, const uint8_t *pruned) {
    for (int64_t c = 0; c < out->cols; c++) {
        const int64_t at = row * out->cols + c, group = at / out->group;
        const float scale = out->scale[group], offset = out->offset ? out->offset[group] : 0;
        if (scale > 0 && !(pruned && pruned[at]))
            out->q[at] = (int8_t)grid_nearest(w[at] - offset, 1.0f / scale, (float)out->levels);
    }
}

/* Of the best scale that is found. */
static void round_searched(quantized *out, const float *w, int64_t row, const grid_options *grid) {
    const int64_t cols = out->cols;
    float candidates[SCALE_CANDIDATES];
    if (scale_candidates(candidates, w + row * cols, NULL, row, cols, grid) == 0) return;
    out->scale[row] = candidates[0];
    round_given(out, w, row, grid->pruned);
}

status quantize_round(quantized *out, const float *w, int64_t rows, int64_t cols, const grid_options *grid) {
    TRY(quantized_create_for(out, rows, cols, grid));
    status s = check_finite(w, rows, cols);
    if (s != STATUS_OK) {
        quantized_free(out);
        return s;
    }
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        grid->row_scale ? round_given(out, w, r, grid->pruned) : round_searched(out, w, r, grid);
    return STATUS_OK;
}

enum { HESSIAN_ROWS = 32 }; /* at a time: H's rows are read once for all of them */

/* Σ e · product over some columns of all rows. */
static double dot_columns(const float *e, const float *product, int64_t rows, int64_t cols, int64_t first,
                          int64_t last) {
    double sum = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = first; c < last; c++) sum += (double)product[r * cols + c] * e[r * cols + c];
    return sum;
}

/* Some columns of all rows, negative, so that the product is added. */
static void negate_columns(float block[HESSIAN_ROWS * FACTOR_BLOCK], const float *e, int64_t rows, int64_t cols,
                           int64_t first, int64_t last) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = first; c < last; c++) block[r * FACTOR_BLOCK + c - first] = -e[r * cols + c];
}

/* Σ e H eᵀ of a few rows. H is symmetric: each block of columns meets itself once and all later ones twice, before and behind its own
 * turn. product: [HESSIAN_ROWS, cols] scratch. */
static double quadratic_form(const float *e, const float *hessian, int64_t rows, int64_t cols, float *product) {
    float block[HESSIAN_ROWS * FACTOR_BLOCK];
    double sum = 0;
    memset(product, 0, (size_t)(rows * cols) * sizeof(float));
    for (int64_t first = 0; first < cols; first += FACTOR_BLOCK) {
        const int64_t last = first + FACTOR_BLOCK < cols ? first + FACTOR_BLOCK : cols;
        negate_columns(block, e, rows, cols, first, last);
        sum += dot_columns(e, product, rows, cols, first, last);
        wide_loops_taken()->subtract_product(product + first, cols, block, FACTOR_BLOCK, hessian + first * cols + first,
                                             cols, rows, cols - first, last - first);
        sum += dot_columns(e, product, rows, cols, first, last);
    }
    return sum;
}

double hessian_error(const float *w, const float *quantised, const float *hessian, int64_t rows, int64_t cols) {
    const int64_t panels = (rows + HESSIAN_ROWS - 1) / HESSIAN_ROWS;
    double *sums = xcalloc((size_t)panels, sizeof(double));
    const size_t own = (size_t)(2 * HESSIAN_ROWS * cols) * sizeof(float);
    bool done = true;
#pragma omp parallel for schedule(dynamic) reduction(&& : done)
    for (int64_t p = 0; p < panels; p++) {
        const int64_t first = p * HESSIAN_ROWS, count = first + HESSIAN_ROWS > rows ? rows - first : HESSIAN_ROWS;
        float *e = malloc(own);
        done = done && e;
        if (!e) continue;
        for (int64_t i = 0; i < count * cols; i++)
            e[i] = w[first * cols + i] - (quantised ? quantised[first * cols + i] : 0);
        if (hessian)
            sums[p] = quadratic_form(e, hessian, count, cols, e + HESSIAN_ROWS * cols);
        else
            for (int64_t i = 0; i < count * cols; i++) sums[p] += (double)e[i] * e[i];
        free(e);
    }
    if (!done) memory_out(own);
    double total = 0;
    for (int64_t p = 0; p < panels; p++) total += sums[p];
    free(sums);
    return total;
}

/* out[r] of some rows: what comes out of w H and of the quantised rows, along w. product: [HESSIAN_ROWS, cols] scratch. */
static void along_rows(row_output *out, const float *w, const float *quantised, const float *hessian, int64_t rows,
                       int64_t cols, float *product) {
    float block[HESSIAN_ROWS * FACTOR_BLOCK];
    if (hessian) memset(product, 0, (size_t)(rows * cols) * sizeof *product);
    for (int64_t first = 0; hessian && first < cols; first += FACTOR_BLOCK) {
        const int64_t last = first + FACTOR_BLOCK < cols ? first + FACTOR_BLOCK : cols;
        negate_columns(block, w, rows, cols, first, last);
        wide_loops_taken()->subtract_product(product, cols, block, FACTOR_BLOCK, hessian + first * cols, cols, rows,
                                             cols, last - first);
    }
    const float *wh = hessian ? product : w;
    for (int64_t r = 0; r < rows; r++) {
        out[r] = (row_output){0};
        for (int64_t c = r * cols; c < (r + 1) * cols; c++) {
            out[r].own += (double)wh[c] * w[c];
            out[r].quantised += (double)wh[c] * quantised[c];
        }
    }
}

void row_outputs(row_output *out, const float *w, const float *quantised, const float *hessian, int64_t rows,
                 int64_t cols) {
    const size_t own = (size_t)(HESSIAN_ROWS * cols) * sizeof(float);
    bool done = true;
#pragma omp parallel for schedule(dynamic) reduction(&& : done)
    for (int64_t first = 0; first < rows; first += HESSIAN_ROWS) {
        const int64_t count = first + HESSIAN_ROWS > rows ? rows - first : HESSIAN_ROWS;
        float *product = malloc(own);
        done = done && product;
        if (product) along_rows(out + first, w + first * cols, quantised + first * cols, hessian, count, cols, product);
        free(product);
    }
    if (!done) memory_out(own);
}

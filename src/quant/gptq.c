/* GPTQ (Frantar et al., 2022, arXiv:2210.17323). A row w is rounded column by column; the error of each column is made up
 * for by the columns that are still free. With U upper triangular and H⁻¹ = UᵀU,
 *     e_j = (w_j − q_j) / U_jj,   w_k ← w_k − e_j U_jk  for k > j,
 * and Σ_j e_j² is exactly (w − q) H (w − q)ᵀ, which makes comparing scales free. */
#include "quant/quantize.h"

#include "base/memory.h"
#include "quant/clones.h"
#include "quant/inverse_factor.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    PANEL = 16,    /* rows that a thread works on at a time */
    FINALISTS = 3, /* scales that are compared by GPTQ's own error */
};

/* Columns first … last−1 of one row, w and pruned in act-order: q, e, and w brought up to date up to last. Returns Σ e². */
FOR_EACH_WIDTH
static double round_block(float *w, int8_t *q, float *e, const uint8_t *pruned, const inverse_factor *p, int64_t first,
                          int64_t last, float scale, float levels) {
    const float inverse = 1.0f / scale;
    double sum = 0;
    for (int64_t j = first; j < last; j++) {
        const float *u = p->factor + j * p->cols;
        const float nearest = pruned[j] ? 0 : grid_nearest(w[j], inverse, levels);
        const float error = (w[j] - nearest * scale) / u[j];
        q[j] = (int8_t)nearest;
        e[j - first] = error;
        sum += (double)error * error;
        for (int64_t k = j + 1; k < last; k++) w[k] -= error * u[k];
    }
    return sum;
}

/* One row panel with one scale a row (0: the row is left alone). w, q and pruned [PANEL, cols] in act-order, w is
 * destroyed. */
static void round_panel(float *w, int8_t *q, const uint8_t *pruned, double *error, const float *scale, int64_t rows,
                        const inverse_factor *p, float levels) {
    float e[PANEL * FACTOR_BLOCK];
    memset(error, 0, (size_t)rows * sizeof *error);
    for (int64_t first = 0; first < p->cols; first += FACTOR_BLOCK) {
        const int64_t last = first + FACTOR_BLOCK < p->cols ? first + FACTOR_BLOCK : p->cols;
        memset(e, 0, sizeof e);
        for (int64_t r = 0; r < rows; r++)
            if (scale[r] > 0)
                error[r] += round_block(w + r * p->cols, q + r * p->cols, e + r * FACTOR_BLOCK, pruned + r * p->cols, p,
                                        first, last, scale[r], levels);
        inverse_factor_make_up(p, w, e, rows, first, last);
    }
}

/* What a thread works in, each [PANEL, cols] in act-order. */
typedef struct panel {
    float *work;
    int8_t *q;
    uint8_t *pruned;
} panel;

/* false: no memory; in a parallel region nobody but the caller may say so (base/memory.h). */
static bool panel_create(panel *p, int64_t cols) {
    const size_t count = (size_t)(PANEL * cols);
    p->work = malloc(count * sizeof *p->work);
    p->q = calloc(count, sizeof *p->q);
    p->pruned = calloc(count, sizeof *p->pruned);
    return p->work && p->q && p->pruned;
}

static void panel_free(panel *p) {
    free(p->work);
    free(p->q);
    free(p->pruned);
}

/* Rows first … first+rows−1 of the matrix: try the finalists, keep each row's best. */
static void quantize_panel(quantized *out, const float *w, int64_t first, int64_t rows, const inverse_factor *p,
                           const grid_options *grid, panel *space) {
    const int64_t cols = p->cols;
    float candidates[PANEL][SCALE_CANDIDATES], scale[PANEL], *work = space->work;
    int count[PANEL];
    double error[PANEL], best[PANEL];
    int8_t *q = space->q;
    uint8_t *pruned = space->pruned;
    for (int64_t r = 0; r < rows; r++) {
        count[r] = scale_candidates(candidates[r], w + (first + r) * cols, p->importance, first + r, cols, grid);
        best[r] = INFINITY;
        for (int64_t c = 0; c < cols && grid->pruned; c++)
            pruned[r * cols + c] = grid->pruned[(first + r) * cols + p->order[c]];
    }
    const int finalists = grid->row_scale ? 1 : FINALISTS;
    for (int i = 0; i < finalists; i++) {
        for (int64_t r = 0; r < rows; r++) {
            scale[r] = i < count[r] ? candidates[r][i] : 0;
            for (int64_t c = 0; c < cols; c++) work[r * cols + c] = w[(first + r) * cols + p->order[c]];
        }
        round_panel(work, q, pruned, error, scale, rows, p, (float)out->levels);
        for (int64_t r = 0; r < rows; r++) {
            if (scale[r] == 0 || error[r] >= best[r]) continue;
            best[r] = error[r];
            out->scale[first + r] = scale[r];
            for (int64_t c = 0; c < cols; c++) out->q[(first + r) * cols + p->order[c]] = q[r * cols + c];
        }
    }
}

status quantize_gptq(quantized *out, const float *w, const float *hessian, int64_t rows, int64_t cols,
                     const grid_options *grid, double damp) {
    inverse_factor problem = {0};
    TRY(quantized_create(out, rows, cols, grid->bits));
    status s = check_finite(w, rows, cols);
    if (s == STATUS_OK) s = inverse_factor_create(&problem, hessian, cols, damp, true);
    if (s != STATUS_OK) {
        quantized_free(out);
        return s;
    }
    bool done = true;
#pragma omp parallel reduction(&& : done)
    {
        panel space = {0};
        done = panel_create(&space, cols);
#pragma omp for schedule(dynamic)
        for (int64_t r = 0; r < rows; r += PANEL)
            if (done) quantize_panel(out, w, r, rows - r < PANEL ? rows - r : PANEL, &problem, grid, &space);
        panel_free(&space);
    }
    inverse_factor_free(&problem);
    if (!done) memory_out((size_t)(PANEL * cols) * sizeof(float));
    return STATUS_OK;
}

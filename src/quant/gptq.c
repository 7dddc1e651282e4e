/* GPTQ (Frantar et al., 2022, arXiv:2210.17323). A row w is rounded column by column; the error of each column is made up
 * for by the columns that are still free. With U upper triangular and H⁻¹ = UᵀU,
 *     e_j = (w_j − q_j) / U_jj,   w_k ← w_k − e_j U_jk  for k > j,
 * and Σ_j e_j² is exactly (w − q) H (w − q)ᵀ, which makes comparing scales free. */
#include "quant/quantize.h"

#include "base/memory.h"
#include "quant/inverse_factor.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { FINALISTS = 3 }; /* scales that are compared by GPTQ's own error */

/* The grids of one row: scale and offset of each group. scale NULL: the row is left alone; offset NULL: 0. */
typedef struct row_grid {
    const float *scale, *offset;
} row_grid;

/* Where a panel's rows stand in memory: w, q and pruned [PANEL, cols] in act-order, group [cols]: of each column. */
typedef struct panel_rows {
    float *w;
    int8_t *q;
    const uint8_t *pruned;
    const row_grid *grids;
    const int32_t *group;
    int64_t rows;
} panel_rows;

static void load_block(panel_block *b, const panel_rows *from, int64_t cols, int64_t first, int64_t width) {
    memset(b, 0, sizeof *b);
    for (int64_t r = 0; r < from->rows; r++) {
        const row_grid grid = from->grids[r];
        for (int64_t j = 0; j < width && grid.scale; j++) {
            const int64_t at = r * cols + first + j, group = from->group[first + j];
            b->w[j][r] = from->w[at];
            b->keep[j][r] = !from->pruned[at];
            b->scale[j][r] = grid.scale[group];
            b->offset[j][r] = grid.offset ? grid.offset[group] : 0;
        }
    }
}

/* e [PANEL, FACTOR_BLOCK] for the columns behind the block. */
static void store_block(const panel_block *b, const panel_rows *to, float *e, int64_t cols, int64_t first,
                        int64_t width) {
    for (int64_t r = 0; r < to->rows; r++)
        for (int64_t j = 0; j < width; j++) {
            to->q[r * cols + first + j] = (int8_t)b->q[j][r];
            e[r * FACTOR_BLOCK + j] = b->e[j][r];
        }
}

/* One row panel; w is destroyed. error [rows]: Σ e² of each. */
static void round_panel(const panel_rows *panel, double *error, const inverse_factor *p, float levels) {
    const wide_loops *loops = wide_loops_taken();
    float e[PANEL * FACTOR_BLOCK];
    panel_block block;
    memset(error, 0, (size_t)panel->rows * sizeof *error);
    for (int64_t first = 0; first < p->cols; first += FACTOR_BLOCK) {
        const int64_t last = first + FACTOR_BLOCK < p->cols ? first + FACTOR_BLOCK : p->cols;
        load_block(&block, panel, p->cols, first, last - first);
        loops->round_block(&block, p->factor + first * p->cols + first, p->cols, last - first, levels);
        store_block(&block, panel, e, p->cols, first, last - first);
        for (int64_t r = 0; r < panel->rows; r++) error[r] += block.error[r];
        inverse_factor_make_up(p, panel->w, e, panel->rows, first, last);
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

/* What is to be rounded, the same for all panels. */
typedef struct rounding {
    const float *w;
    const inverse_factor *p;
    const grid_options *grid;
    const int32_t *group; /* [cols] of each column, in act-order */
} rounding;

static void fill_work(panel *space, const rounding *job, int64_t first, int64_t rows) {
    const int64_t cols = job->p->cols, *order = job->p->order;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) space->work[r * cols + c] = job->w[(first + r) * cols + order[c]];
}

static void keep_row(quantized *out, const panel *space, const rounding *job, int64_t first, int64_t r) {
    const int64_t cols = job->p->cols;
    for (int64_t c = 0; c < cols; c++) out->q[(first + r) * cols + job->p->order[c]] = space->q[r * cols + c];
}

static void fill_pruned(panel *space, const rounding *job, int64_t first, int64_t rows) {
    const int64_t cols = job->p->cols, *order = job->p->order;
    for (int64_t r = 0; r < rows && job->grid->pruned; r++)
        for (int64_t c = 0; c < cols; c++)
            space->pruned[r * cols + c] = job->grid->pruned[(first + r) * cols + order[c]];
}

/* Rows first … first+rows−1 on the grids that are given. */
static void quantize_given(quantized *out, const rounding *job, int64_t first, int64_t rows, panel *space) {
    const int64_t groups = quantized_groups(out);
    row_grid grids[PANEL] = {0};
    double error[PANEL];
    for (int64_t r = 0; r < rows; r++) {
        const int64_t at = (first + r) * groups;
        grids[r] = (row_grid){out->scale + at, out->offset ? out->offset + at : NULL};
    }
    fill_pruned(space, job, first, rows);
    fill_work(space, job, first, rows);
    const panel_rows panel = {space->work, space->q, space->pruned, grids, job->group, rows};
    round_panel(&panel, error, job->p, (float)out->levels);
    for (int64_t r = 0; r < rows; r++) keep_row(out, space, job, first, r);
}

/* The same where scales are looked for: try the finalists, keep each row's best. */
static void quantize_searched(quantized *out, const rounding *job, int64_t first, int64_t rows, panel *space) {
    const int64_t cols = job->p->cols;
    const float *importance = job->grid->plain_clip ? NULL : job->p->importance;
    const int finalists = job->grid->plain_clip ? 1 : FINALISTS;
    float candidates[PANEL][SCALE_CANDIDATES];
    row_grid grids[PANEL] = {0};
    int count[PANEL];
    double error[PANEL], best[PANEL];
    for (int64_t r = 0; r < rows; r++) {
        count[r] = scale_candidates(candidates[r], job->w + (first + r) * cols, importance, first + r, cols, job->grid);
        best[r] = INFINITY;
    }
    fill_pruned(space, job, first, rows);
    for (int i = 0; i < finalists; i++) {
        for (int64_t r = 0; r < rows; r++) grids[r] = (row_grid){i < count[r] ? &candidates[r][i] : NULL, NULL};
        fill_work(space, job, first, rows);
        const panel_rows panel = {space->work, space->q, space->pruned, grids, job->group, rows};
        round_panel(&panel, error, job->p, (float)out->levels);
        for (int64_t r = 0; r < rows; r++) {
            if (!grids[r].scale || error[r] >= best[r]) continue;
            best[r] = error[r];
            out->scale[first + r] = *grids[r].scale;
            keep_row(out, space, job, first, r);
        }
    }
}

static void quantize_panel(quantized *out, const rounding *job, int64_t first, panel *space) {
    const int64_t rows = out->rows - first < PANEL ? out->rows - first : PANEL;
    (job->grid->row_scale ? quantize_given : quantize_searched)(out, job, first, rows, space);
}

/* malloc'ed [cols] */
static int32_t *groups_of(const quantized *out, const inverse_factor *p) {
    int32_t *group = xmalloc((size_t)p->cols * sizeof *group);
    for (int64_t j = 0; j < p->cols; j++) group[j] = (int32_t)(p->order[j] / out->group);
    return group;
}

status quantize_gptq(quantized *out, const float *w, const float *hessian, int64_t rows, int64_t cols,
                     const grid_options *grid, double damp) {
    inverse_factor problem = {0};
    TRY(quantized_create_for(out, rows, cols, grid));
    status s = check_finite(w, rows, cols);
    if (s == STATUS_OK) s = inverse_factor_create(&problem, hessian, cols, damp, true);
    if (s != STATUS_OK) {
        quantized_free(out);
        return s;
    }
    bool done = true;
    int32_t *group = groups_of(out, &problem);
    const rounding job = {.w = w, .p = &problem, .grid = grid, .group = group};
#pragma omp parallel reduction(&& : done)
    {
        panel space = {0};
        done = panel_create(&space, cols);
#pragma omp for schedule(dynamic)
        for (int64_t r = 0; r < rows; r += PANEL)
            if (done) quantize_panel(out, &job, r, &space);
        panel_free(&space);
    }
    inverse_factor_free(&problem);
    free(group);
    if (!done) memory_out((size_t)(PANEL * cols) * sizeof(float));
    return STATUS_OK;
}

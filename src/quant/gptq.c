/* GPTQ (Frantar et al., 2022, arXiv:2210.17323), as LDLQ has it (ldl_factor.h). A row w is rounded column by column; the error of each
 * column is made up for by the columns that are still free. With H = F D Fᵀ and δ = w − q,
 *     q_k = round(v_k),   v_k = w_k + Σ_{i<k} δ_i F_ik,
 * and Σ_k D_k (v_k − q_k)² is exactly δ H δᵀ, which makes comparing scales free. */
#include "quant/quantize.h"

#include "base/memory.h"
#include "quant/ldl_factor.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    FINALISTS = 3, /* scales of a row that are compared by GPTQ's own error, side by side */
    BATCH = 32,    /* rows of the matrix at a time: the factor is read once for all of them and their finalists */
    MOST_ROWS = FINALISTS * BATCH
};

/* What is to be rounded, the same for all batches. */
typedef struct rounding {
    const float *w;
    const ldl_factor *factor;
    const grid_options *grid;
    const int32_t *group; /* [cols] of each column, in act-order */
    int64_t groups;
} rounding;

/* What a thread works in. Row i stands for row i % rows of the batch, with its finalist i / rows. */
typedef struct row_batch {
    int64_t first, rows; /* of the matrix */
    int64_t count;       /* of rows here */
    float *origin;       /* [BATCH, cols] the weights in act-order */
    uint8_t *pruned;     /* [BATCH, cols] */
    float *e;            /* [MOST_ROWS, cols] what became of them less what they were */
    float *x;            /* [MOST_ROWS, FACTOR_BLOCK] a block's weights with what the errors before add to them */
    float *scale, *inverse, *offset; /* [panels, groups, PANEL]; 0: the row becomes 0 */
    double error[MOST_ROWS];
    panel_block block;
} row_batch;

/* NULL: no memory; in a parallel region nobody but the caller may say so (base/memory.h). */
static void *floats_of(int64_t count, bool *good) {
    void *p = calloc((size_t)count, sizeof(float));
    *good = *good && p;
    return p;
}

static void row_batch_free(row_batch *b) {
    if (!b) return;
    void *parts[] = {b->origin, b->pruned, b->e, b->x, b->scale, b->inverse, b->offset, b};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) free(parts[i]);
}

static row_batch *row_batch_create(const rounding *job) {
    const int64_t cols = job->factor->cols, grids = MOST_ROWS * job->groups;
    row_batch *b = calloc(1, sizeof *b);
    bool good = b;
    if (!good) return NULL;
    b->origin = floats_of(BATCH * cols, &good);
    b->e = floats_of(MOST_ROWS * cols, &good);
    b->x = floats_of(MOST_ROWS * FACTOR_BLOCK, &good);
    b->scale = floats_of(grids, &good);
    b->inverse = floats_of(grids, &good);
    b->offset = floats_of(grids, &good);
    b->pruned = calloc((size_t)(BATCH * cols), 1);
    for (int64_t j = 0; j < FACTOR_BLOCK; j++)
        for (int r = 0; r < PANEL; r++) b->block.keep[j][r] = 1;
    if (good && b->pruned) return b;
    row_batch_free(b);
    return NULL;
}

static void row_batch_begin(row_batch *b, const rounding *job, int64_t first, int64_t rows) {
    const int64_t cols = job->factor->cols, *order = job->factor->order;
    const size_t grids = (size_t)(MOST_ROWS * job->groups) * sizeof(float);
    b->first = first;
    b->rows = rows;
    memset(b->scale, 0, grids);
    memset(b->inverse, 0, grids);
    memset(b->offset, 0, grids);
    for (int64_t r = 0; r < rows; r++) {
        const float *w = job->w + (first + r) * cols;
        for (int64_t c = 0; c < cols; c++) b->origin[r * cols + c] = w[order[c]];
        const uint8_t *pruned = job->grid->pruned ? job->grid->pruned + (first + r) * cols : NULL;
        for (int64_t c = 0; pruned && c < cols; c++) b->pruned[r * cols + c] = pruned[order[c]];
    }
}

/* Where a row's grid of a group stands. */
static int64_t grid_at(const rounding *job, int64_t row, int64_t group) {
    return (row / PANEL * job->groups + group) * PANEL + row % PANEL;
}

static void row_batch_set_grid(row_batch *b, const rounding *job, int64_t row, int64_t group, float scale,
                               float offset) {
    const int64_t at = grid_at(job, row, group);
    b->scale[at] = scale;
    b->inverse[at] = scale > 0 ? 1 / scale : 0;
    b->offset[at] = offset;
}

/* ---- blocks ---- */

/* Columns first … first+width−1 of a panel from `row` on; rows beyond the last have grids of 0 and whatever stands there. */
static void load_block(row_batch *b, const rounding *job, int64_t row, int64_t first, int64_t width) {
    const int64_t cols = job->factor->cols;
    const float *x[PANEL], *origin[PANEL];
    for (int r = 0; r < PANEL; r++) {
        const int64_t at = (row + r) % b->rows * cols + first;
        x[r] = b->x + (row + r) * FACTOR_BLOCK;
        origin[r] = b->origin + at;
        for (int64_t j = 0; job->grid->pruned && j < width; j++) b->block.keep[j][r] = !b->pruned[at + j];
    }
    wide_loops_taken()->side_by_side(b->block.w, x, width);
    wide_loops_taken()->side_by_side(b->block.origin, origin, width);
    memset(b->block.error, 0, sizeof b->block.error);
}

static void store_block(row_batch *b, const rounding *job, int64_t row, int64_t first, int64_t width) {
    float *e[PANEL];
    for (int r = 0; r < PANEL; r++) {
        e[r] = b->e + (row + r) * job->factor->cols + first;
        b->error[row + r] += (double)b->block.error[r];
    }
    wide_loops_taken()->row_by_row(e, b->block.e, width);
}

static void round_columns(row_batch *b, const rounding *job, float levels, int64_t first, int64_t width) {
    const ldl_factor *f = job->factor;
    for (int64_t row = 0; row < b->count; row += PANEL) {
        const int64_t grids = grid_at(job, row, 0);
        const panel_grids grid = {b->scale + grids, b->inverse + grids, b->offset + grids, job->group + first};
        load_block(b, job, row, first, width);
        wide_loops_taken()->round_block(&b->block, &grid, f->factor + first * f->cols + first, f->root + first, f->cols,
                                        width, levels);
        store_block(b, job, row, first, width);
    }
}

/* All rows, `finalists` of each, on the grids that are set. */
static void round_batch(row_batch *b, const rounding *job, int64_t finalists, float levels) {
    const int64_t cols = job->factor->cols;
    b->count = finalists * b->rows;
    memset(b->error, 0, sizeof b->error);
    for (int64_t first = 0; first < cols; first += FACTOR_BLOCK) {
        const int64_t last = first + FACTOR_BLOCK < cols ? first + FACTOR_BLOCK : cols;
        for (int64_t i = 0; i < b->count; i++)
            memcpy(b->x + i * FACTOR_BLOCK, b->origin + i % b->rows * cols + first,
                   (size_t)(last - first) * sizeof *b->x);
        ldl_factor_make_up(job->factor, b->x, b->e, b->count, first, last);
        round_columns(b, job, levels, first, last - first);
    }
}

/* The codes of what became of a row. */
static void keep_row(quantized *out, const row_batch *b, const rounding *job, int64_t row) {
    const int64_t cols = job->factor->cols, first_grid = grid_at(job, row, 0);
    const float *e = b->e + row * cols, *origin = b->origin + row % b->rows * cols;
    int8_t *q = out->q + (b->first + row % b->rows) * cols;
    for (int64_t c = 0; c < cols; c++) {
        const int64_t at = first_grid + job->group[c] * PANEL;
        q[job->factor->order[c]] =
            (int8_t)grid_nearest(e[c] + origin[c] - b->offset[at], b->inverse[at], (float)out->levels);
    }
}

/* ---- grids ---- */

/* Those that are given. */
static void quantize_given(quantized *out, const rounding *job, row_batch *b) {
    for (int64_t r = 0; r < b->rows; r++)
        for (int64_t g = 0; g < job->groups; g++) {
            const int64_t at = (b->first + r) * job->groups + g;
            row_batch_set_grid(b, job, r, g, out->scale[at], out->offset ? out->offset[at] : 0);
        }
    round_batch(b, job, 1, (float)out->levels);
    for (int64_t r = 0; r < b->rows; r++) keep_row(out, b, job, r);
}

/* Those that are looked for: try the finalists, keep each row's best. */
static void quantize_searched(quantized *out, const rounding *job, row_batch *b) {
    const int64_t cols = job->factor->cols, finalists = job->grid->plain_clip ? 1 : FINALISTS;
    const float *importance = job->grid->plain_clip ? NULL : job->factor->importance;
    float candidates[BATCH][SCALE_CANDIDATES];
    int64_t count[BATCH];
    for (int64_t r = 0; r < b->rows; r++) {
        const int64_t row = b->first + r;
        count[r] = scale_candidates(candidates[r], job->w + row * cols, importance, row, cols, job->grid);
        for (int64_t i = 0; i < finalists && i < count[r]; i++)
            row_batch_set_grid(b, job, i * b->rows + r, 0, candidates[r][i], 0);
    }
    round_batch(b, job, finalists, (float)out->levels);
    for (int64_t r = 0; r < b->rows; r++) {
        int64_t best = 0;
        for (int64_t i = 1; i < finalists && i < count[r]; i++)
            if (b->error[i * b->rows + r] < b->error[best * b->rows + r]) best = i;
        if (count[r] == 0) continue;
        out->scale[b->first + r] = candidates[r][best];
        keep_row(out, b, job, best * b->rows + r);
    }
}

/* malloc'ed [cols] */
static int32_t *groups_of(const quantized *out, const ldl_factor *p) {
    int32_t *group = xmalloc((size_t)p->cols * sizeof *group);
    for (int64_t j = 0; j < p->cols; j++) group[j] = (int32_t)(p->order[j] / out->group);
    return group;
}

status quantize_gptq(quantized *out, const float *w, const float *hessian, int64_t rows, int64_t cols,
                     const grid_options *grid, double damp) {
    ldl_factor factor = {0};
    TRY(quantized_create_for(out, rows, cols, grid));
    status s = check_finite(w, rows, cols);
    if (s == STATUS_OK) s = ldl_factor_create(&factor, hessian, cols, damp, true);
    if (s != STATUS_OK) {
        quantized_free(out);
        return s;
    }
    bool done = true;
    int32_t *group = groups_of(out, &factor);
    const rounding job = {w, &factor, grid, group, quantized_groups(out)};
#pragma omp parallel reduction(&& : done)
    {
        row_batch *b = row_batch_create(&job);
        done = b;
#pragma omp for schedule(dynamic)
        for (int64_t r = 0; r < rows; r += BATCH) {
            if (!b) continue;
            row_batch_begin(b, &job, r, rows - r < BATCH ? rows - r : BATCH);
            (grid->row_scale ? quantize_given : quantize_searched)(out, &job, b);
        }
        row_batch_free(b);
    }
    ldl_factor_free(&factor);
    free(group);
    if (!done) memory_out((size_t)(MOST_ROWS * cols) * sizeof(float));
    return STATUS_OK;
}

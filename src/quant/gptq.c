/* GPTQ (Frantar et al., 2022, arXiv:2210.17323). A row w is rounded column by column; the error of each column is made up
 * for by the columns that are still free. With U upper triangular and H⁻¹ = UᵀU,
 *     e_j = (w_j − q_j) / U_jj,   w_k ← w_k − e_j U_jk  for k > j,
 * and Σ_j e_j² is exactly (w − q) H (w − q)ᵀ, which makes comparing scales free. */
#include "quant/quantize.h"

#include "base/memory.h"
#include <lapacke.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 128,   /* columns between two lazy updates of the rest */
    PANEL = 16,    /* rows that a thread works on at a time */
    FINALISTS = 3, /* scales that are compared by GPTQ's own error */
    DAMP_TRIES = 5 /* tenfold more damping each time that the Cholesky factorisation fails */
};

typedef struct gptq_problem {
    int64_t cols;
    int64_t *order;    /* [cols] act-order: columns by falling Hessian diagonal */
    float *importance; /* [cols] the damped diagonal, in the matrix's own order */
    float *factor;     /* U [cols, cols], in act-order */
} gptq_problem;

static void problem_free(gptq_problem *p) {
    free(p->order);
    free(p->importance);
    free(p->factor);
}

typedef struct ranked {
    float value;
    int64_t index;
} ranked;

static int by_falling_value(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

/* Mean of the diagonal over the columns that were seen; < 0 where H is not a Hessian. */
static double mean_diagonal(const float *hessian, int64_t cols) {
    double sum = 0;
    int64_t seen = 0;
    for (int64_t c = 0; c < cols; c++) {
        const float d = hessian[c * cols + c];
        if (!isfinite(d) || d < 0) return -1;
        sum += d;
        seen += d > 0;
    }
    return seen ? sum / (double)seen : 0;
}

/* importance = diagonal + damping; a column that was never seen counts as an average one, alone, and a Hessian of zeros as
 * the identity. */
static void order_columns(gptq_problem *p, const float *hessian, double mean, double damp) {
    const int64_t cols = p->cols;
    ranked *rank = xmalloc((size_t)cols * sizeof *rank);
    for (int64_t c = 0; c < cols; c++) {
        const double d = hessian[c * cols + c];
        p->importance[c] = (float)((d > 0 ? d : mean) + damp * mean);
        if (mean == 0) p->importance[c] = 1;
        rank[c] = (ranked){p->importance[c], c};
    }
    qsort(rank, (size_t)cols, sizeof *rank, by_falling_value);
    for (int64_t c = 0; c < cols; c++) p->order[c] = rank[c].index;
    free(rank);
}

/* U with H⁻¹ = UᵀU for the damped H in act-order, from one Cholesky factorisation: with J the reversal of all columns and
 * JHJ = LLᵀ, H = (JLJ)(JLJ)ᵀ where JLJ is upper triangular, so U = (JLJ)⁻¹ = J L⁻¹ J. a: [cols, cols] scratch.
 * In double: small eigenvalues of H are what GPTQ lives on. false: not positive definite. */
static bool inverse_factor(gptq_problem *p, const float *hessian, double *a) {
    const int64_t n = p->cols;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            const int64_t r = p->order[n - 1 - i], c = p->order[n - 1 - j];
            a[i * n + j] = r == c ? p->importance[r] : 0.5 * ((double)hessian[r * n + c] + hessian[c * n + r]);
        }
    /* Row-major lower is what LAPACK calls upper. */
    if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'U', (lapack_int)n, a, (lapack_int)n) != 0) return false;
    if (LAPACKE_dtrtri_work(LAPACK_COL_MAJOR, 'U', 'N', (lapack_int)n, a, (lapack_int)n) != 0) return false;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) p->factor[i * n + j] = j < i ? 0 : (float)a[(n - 1 - i) * n + (n - 1 - j)];
        if (!isfinite(p->factor[i * n + i]) || p->factor[i * n + i] <= 0) return false;
    }
    return true;
}

static status problem_create(gptq_problem *p, const float *hessian, int64_t cols, double damp) {
    *p = (gptq_problem){.cols = cols};
    const double mean = mean_diagonal(hessian, cols);
    if (mean < 0) return fail("expected a Hessian with a finite diagonal ≥ 0, found something else");
    p->order = xmalloc((size_t)cols * sizeof *p->order);
    p->importance = xmalloc((size_t)cols * sizeof *p->importance);
    p->factor = xmalloc((size_t)(cols * cols) * sizeof *p->factor);
    double *a = xmalloc((size_t)(cols * cols) * sizeof *a);
    bool done = false;
    for (int i = 0; i < DAMP_TRIES && !done; i++, damp = damp > 0 ? 10 * damp : 1e-3) {
        order_columns(p, hessian, mean, damp);
        done = inverse_factor(p, hessian, a);
    }
    free(a);
    if (done) return STATUS_OK;
    problem_free(p);
    return fail("the Hessian is not positive definite, not even with damping %g", damp / 10);
}

/* Columns first … last−1 of one row, w and pruned in act-order: q, e, and w brought up to date up to last. Returns Σ e². */
static double round_block(float *w, int8_t *q, float *e, const uint8_t *pruned, const gptq_problem *p, int64_t first,
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

/* w[r] −= e[r] · U[first … last) for the columns from last on; four columns of e at a time keep w in registers. */
static void lazy_update(float *w, const float *e, int64_t rows, const gptq_problem *p, int64_t first, int64_t last) {
    const int64_t n = p->cols;
    for (int64_t j = first; j < last; j += 4) {
        const int64_t width = last - j < 4 ? last - j : 4;
        const float *u = p->factor + j * n;
        for (int64_t r = 0; r < rows; r++) {
            float *row = w + r * n;
            const float *error = e + r * BLOCK + (j - first);
            if (width == 4) {
                const float e0 = error[0], e1 = error[1], e2 = error[2], e3 = error[3];
                for (int64_t k = last; k < n; k++)
                    row[k] -= (e0 * u[k] + e1 * u[n + k]) + (e2 * u[2 * n + k] + e3 * u[3 * n + k]);
                continue;
            }
            for (int64_t i = 0; i < width; i++)
                for (int64_t k = last; k < n; k++) row[k] -= error[i] * u[i * n + k];
        }
    }
}

/* One row panel with one scale a row (0: the row is left alone). w, q and pruned [PANEL, cols] in act-order, w is
 * destroyed. */
static void round_panel(float *w, int8_t *q, const uint8_t *pruned, double *error, const float *scale, int64_t rows,
                        const gptq_problem *p, float levels) {
    float e[PANEL * BLOCK];
    memset(error, 0, (size_t)rows * sizeof *error);
    for (int64_t first = 0; first < p->cols; first += BLOCK) {
        const int64_t last = first + BLOCK < p->cols ? first + BLOCK : p->cols;
        memset(e, 0, sizeof e);
        for (int64_t r = 0; r < rows; r++)
            if (scale[r] > 0)
                error[r] += round_block(w + r * p->cols, q + r * p->cols, e + r * BLOCK, pruned + r * p->cols, p, first,
                                        last, scale[r], levels);
        lazy_update(w, e, rows, p, first, last);
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
static void quantize_panel(quantized *out, const float *w, int64_t first, int64_t rows, const gptq_problem *p,
                           const grid_options *grid, panel *space) {
    const int64_t cols = p->cols;
    float candidates[PANEL][SCALE_CANDIDATES], scale[PANEL], *work = space->work;
    int count[PANEL];
    double error[PANEL], best[PANEL];
    int8_t *q = space->q;
    uint8_t *pruned = space->pruned;
    for (int64_t r = 0; r < rows; r++) {
        count[r] = scale_candidates(candidates[r], w + (first + r) * cols, p->importance, cols, grid);
        best[r] = INFINITY;
        for (int64_t c = 0; c < cols && grid->pruned; c++)
            pruned[r * cols + c] = grid->pruned[(first + r) * cols + p->order[c]];
    }
    for (int i = 0; i < FINALISTS; i++) {
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
    gptq_problem problem = {0};
    TRY(quantized_create(out, rows, cols, grid->bits));
    status s = check_finite(w, rows, cols);
    if (s == STATUS_OK) s = problem_create(&problem, hessian, cols, damp);
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
    problem_free(&problem);
    if (!done) memory_out((size_t)(PANEL * cols) * sizeof(float));
    return STATUS_OK;
}

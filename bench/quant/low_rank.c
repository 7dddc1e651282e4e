/* Whether a low-rank correction (LQER: Zhang, Cheng, Constantinides and Zhao 2024) of a quantised matrix would pay: low_rank RUN DATA RATE…
 *
 * With H = L Lᵀ and D the rows' weights, an error E costs |D½ E L|², of which the r largest squared singular values are what U V of rank r
 * takes away. It costs r (rows + cols) numbers, here of 4 bits and without any error of their own, which is more than can be had. For the same bits a
 * finer grid takes away 1 − 2^(−2 bits a weight). A line a matrix: the share that ranks 1, 4 and 16 take, the bits a weight that they cost, and the
 * best rank's error over that of the finer grid: above 1 it does not pay. */
#include "base/file.h"
#include "base/memory.h"
#include "quant/quantizer.h"
#include "store/open.h"
#include "store/pack_plan.h"
#include "train/pack.h"
#include <lapacke.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FACTOR_BITS = 4 };

/* Row-major lower L of the damped Hessian, in place; the identity where there is none. */
static float *factor_of(const matrix_problem *p) {
    const int64_t n = p->cols;
    float *l = xcalloc((size_t)(n * n), sizeof *l);
    double mean = 0;
    for (int64_t i = 0; i < n; i++) mean += p->hessian ? p->hessian[i * (n + 1)] / (double)n : 0;
    for (int64_t i = 0; i < n * n; i++) l[i] = p->hessian ? p->hessian[i] : 0;
    for (int64_t i = 0; i < n; i++) l[i * (n + 1)] += p->hessian ? (float)(p->damp * mean) : 1;
    if (LAPACKE_spotrf(LAPACK_ROW_MAJOR, 'L', (lapack_int)n, l, (lapack_int)n) != 0) exit(1);
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = r + 1; c < n; c++) l[r * n + c] = 0;
    return l;
}

/* Singular values of D½ E L, falling. */
static float *spectrum(const matrix_problem *p, const quantized *q, int64_t *count) {
    const int64_t rows = p->rows, cols = p->cols;
    float *e = xmalloc((size_t)(rows * cols) * sizeof *e), *a = xcalloc((size_t)(rows * cols), sizeof *a);
    float *l = factor_of(p);
    quantized_expand(q, e);
#pragma omp parallel for
    for (int64_t r = 0; r < rows; r++) {
        const float weight = p->row_weight ? (float)sqrt(p->row_weight[r]) : 1;
        for (int64_t k = 0; k < cols; k++) {
            const float x = weight * (p->w[r * cols + k] - e[r * cols + k]);
            for (int64_t c = 0; c <= k; c++) a[r * cols + c] += x * l[k * cols + c];
        }
    }
    *count = rows < cols ? rows : cols;
    float *s = xmalloc((size_t)*count * sizeof *s), none;
    if (LAPACKE_sgesdd(LAPACK_ROW_MAJOR, 'N', (lapack_int)rows, (lapack_int)cols, a, (lapack_int)cols, s, &none,
                       (lapack_int)rows, &none, (lapack_int)cols) != 0)
        exit(1);
    free(e), free(a), free(l);
    return s;
}

static void show(const char *name, const matrix_problem *p, double rate) {
    quantized q;
    int64_t count;
    if (quantize_matrix(QUANTIZER_TRELLIS, &q, p, rate) != STATUS_OK) exit(1);
    float *s = spectrum(p, &q, &count);
    double total = 0, sum = 0, best = INFINITY, share[17] = {0};
    const double bits = FACTOR_BITS * (double)(p->rows + p->cols) / ((double)p->rows * (double)p->cols);
    int64_t rank = 0;
    for (int64_t i = 0; i < count; i++) total += (double)s[i] * s[i];
    for (int64_t r = 1; r <= count / 2; r++) {
        sum += (double)s[r - 1] * s[r - 1];
        if (r <= 16) share[r] = sum / total;
        const double ratio = (1 - sum / total) / exp2(-2 * bits * (double)r);
        if (ratio < best) best = ratio, rank = r;
    }
    printf("%-36s %5.2f  %5lld x %-5lld  %.4f %.4f %.4f  %.4f  %4lld %.4f\n", name, rate, (long long)p->rows,
           (long long)p->cols, share[1], share[4], share[16], bits, (long long)rank, best);
    free(s);
    quantized_free(&q);
}

int main(int count, char **arguments) {
    if (count < 4) return fprintf(stderr, "usage: low_rank RUN DATA RATE...\n"), 2;
    run_config c = run_config_default();
    model *m;
    tokenizer *tok;
    pack_calibration cal;
    char *path = path_join(arguments[1], "config.yaml");
    if (run_config_load_begun(&c, path, NULL, 0) != STATUS_OK ||
        open_model(arguments[1], kernels_for(DTYPE_F32), "chosen", MODEL_VALUES, &m, &tok, NULL) != STATUS_OK)
        return fprintf(stderr, "%s\n", error_message()), 1;
    free(c.data.path);
    c.data.path = xstrdup(arguments[2]);
    if (pack_calibrate(&cal, &c, m, tok, true) != STATUS_OK) return fprintf(stderr, "%s\n", error_message()), 1;
    pack_plan plan = pack_plan_create(m, QUANTIZER_TRELLIS, 1024);
    plan.sensitivities = cal.s;
    plan.damp = 0.01;
    printf("%-36s %5s  %13s  %6s %6s %6s  %6s  %4s %6s\n", "matrix", "rate", "shape", "r 1", "r 4", "r 16", "bits/r",
           "best", "ratio");
    for (int i = 0; i < plan.count; i++) {
        packed_matrix matrix;
        if (!pack_plan_is_grid(&plan, m, i)) continue;
        if (packed_matrix_open(&matrix, &plan, m, i, cal.h) != STATUS_OK)
            return fprintf(stderr, "%s\n", error_message()), 1;
        for (int a = 3; a < count; a++) show(m->params[i]->name, &matrix.problem, atof(arguments[a]));
        packed_matrix_close(&matrix);
    }
    free(path);
    return 0;
}

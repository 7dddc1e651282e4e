#include "quant/rate_limit.h"

#include "base/memory.h"
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>

static status eigenvalues(double *falling, const float *hessian, int64_t n) {
    for (int64_t i = 0; i < n && !hessian; i++) falling[i] = 1;
    if (!hessian) return STATUS_OK;
    double *a = xmalloc((size_t)(n * n) * sizeof *a), *rising = xmalloc((size_t)n * sizeof *rising);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) a[i * n + j] = 0.5 * ((double)hessian[i * n + j] + hessian[j * n + i]);
    const lapack_int failed = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'N', 'U', (lapack_int)n, a, (lapack_int)n, rising);
    for (int64_t i = 0; i < n && failed == 0; i++) falling[i] = fmax(0, rising[n - 1 - i]);
    free(a);
    free(rising);
    return failed == 0 ? STATUS_OK
                       : fail("expected a Hessian with eigenvalues, found none (LAPACK says %d)", (int)failed);
}

status rate_limit_open(rate_limit *l, const matrix_problem *p) {
    *l = (rate_limit){.eigenvalue = xmalloc((size_t)p->cols * sizeof *l->eigenvalue),
                      .row_variance = xmalloc((size_t)p->rows * sizeof *l->row_variance),
                      .rows = p->rows,
                      .cols = p->cols};
    for (int64_t r = 0; r < p->rows; r++) {
        double squares = 0;
        for (int64_t c = 0; c < p->cols; c++) squares += (double)p->w[r * p->cols + c] * p->w[r * p->cols + c];
        l->row_variance[r] = (p->row_weight ? p->row_weight[r] : 1) * squares / (double)p->cols;
    }
    const status s = eigenvalues(l->eigenvalue, p->hessian, p->cols);
    if (s != STATUS_OK) rate_limit_close(l);
    return s;
}

void rate_limit_close(rate_limit *l) {
    free(l->eigenvalue);
    free(l->row_variance);
    *l = (rate_limit){0};
}

typedef struct water {
    double error, bits;
} water;

/* Sums from the front over the eigenvalues make a row a binary search: Σ_{i ≥ n} λ_i and Σ_{i < n} log₂ λ_i. */
typedef struct spectrum_sums {
    double *tail, *log; /* [cols + 1] */
} spectrum_sums;

static spectrum_sums sums_of(const rate_limit *l) {
    spectrum_sums s = {xcalloc((size_t)l->cols + 1, sizeof *s.tail), xcalloc((size_t)l->cols + 1, sizeof *s.log)};
    for (int64_t i = l->cols; i-- > 0;) s.tail[i] = s.tail[i + 1] + l->eigenvalue[i];
    for (int64_t i = 0; i < l->cols; i++) s.log[i + 1] = s.log[i] + (l->eigenvalue[i] > 0 ? log2(l->eigenvalue[i]) : 0);
    return s;
}

static int64_t count_above(const rate_limit *l, double least) {
    int64_t low = 0, high = l->cols;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (l->eigenvalue[middle] > least)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static water at_level(const rate_limit *l, const spectrum_sums *s, double theta) {
    water w = {0};
    for (int64_t r = 0; r < l->rows; r++) {
        const double v = l->row_variance[r];
        if (v <= 0) continue;
        const int64_t n = count_above(l, theta / v);
        w.error += (double)n * theta + v * s->tail[n];
        w.bits += 0.5 * (s->log[n] + (double)n * log2(v / theta));
    }
    return w;
}

double rate_limit_bits(const rate_limit *l, double error) {
    const spectrum_sums s = sums_of(l);
    double low = -300, high = 100; /* log₂ θ; the error grows with it */
    for (int i = 0; i < 70; i++) {
        const double middle = 0.5 * (low + high);
        if (at_level(l, &s, exp2(middle)).error < error)
            low = middle;
        else
            high = middle;
    }
    const double bits = at_level(l, &s, exp2(high)).bits / ((double)l->rows * (double)l->cols);
    free(s.tail);
    free(s.log);
    return fmax(0, bits);
}

#include "quant/inverse_factor.h"

#include "base/memory.h"
#include "quant/triangular.h"
#include "quant/wide.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DAMP_TRIES = 5 };

void inverse_factor_free(inverse_factor *f) {
    free(f->order);
    free(f->importance);
    free(f->factor);
    *f = (inverse_factor){0};
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
static double mean_of_seen(const float *hessian, int64_t cols) {
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
static void order_columns(inverse_factor *p, const float *hessian, double mean, double damp, bool by_importance) {
    const int64_t cols = p->cols;
    ranked *rank = xmalloc((size_t)cols * sizeof *rank);
    for (int64_t c = 0; c < cols; c++) {
        const double d = hessian[c * cols + c];
        p->importance[c] = (float)((d > 0 ? d : mean) + damp * mean);
        if (mean == 0) p->importance[c] = 1;
        rank[c] = (ranked){p->importance[c], c};
    }
    if (by_importance) qsort(rank, (size_t)cols, sizeof *rank, by_falling_value);
    for (int64_t c = 0; c < cols; c++) p->order[c] = rank[c].index;
    free(rank);
}

/* U with H⁻¹ = UᵀU for the damped H in act-order, from one Cholesky factorisation: with J the reversal of all columns and
 * JHJ = LLᵀ, H = (JLJ)(JLJ)ᵀ where JLJ is upper triangular, so U = (JLJ)⁻¹ = J L⁻¹ J. a: [cols, cols] scratch.
 * In double: small eigenvalues of H are what GPTQ lives on. false: not positive definite. */
static bool factorise(inverse_factor *p, const float *hessian, double *a) {
    const int64_t n = p->cols;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            const int64_t r = p->order[n - 1 - i], c = p->order[n - 1 - j];
            a[i * n + j] = r == c ? p->importance[r] : 0.5 * ((double)hessian[r * n + c] + hessian[c * n + r]);
        }
    if (!cholesky_lower(a, n)) return false;
    invert_lower(a, n);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) p->factor[i * n + j] = j < i ? 0 : (float)a[(n - 1 - i) * n + (n - 1 - j)];
        if (!isfinite(p->factor[i * n + i]) || p->factor[i * n + i] <= 0) return false;
    }
    return true;
}

status inverse_factor_create(inverse_factor *p, const float *hessian, int64_t cols, double damp, bool by_importance) {
    *p = (inverse_factor){.cols = cols};
    const double mean = mean_of_seen(hessian, cols);
    if (mean < 0) return fail("expected a Hessian with a finite diagonal ≥ 0, found something else");
    p->order = xmalloc((size_t)cols * sizeof *p->order);
    p->importance = xmalloc((size_t)cols * sizeof *p->importance);
    p->factor = xmalloc((size_t)(cols * cols) * sizeof *p->factor);
    double *a = xmalloc((size_t)(cols * cols) * sizeof *a);
    bool done = false;
    for (int i = 0; i < DAMP_TRIES && !done; i++, damp = damp > 0 ? 10 * damp : 1e-3) {
        order_columns(p, hessian, mean, damp, by_importance);
        done = factorise(p, hessian, a);
    }
    free(a);
    if (done) return STATUS_OK;
    inverse_factor_free(p);
    return fail("the Hessian is not positive definite, not even with damping %g", damp / 10);
}

void inverse_factor_make_up(const inverse_factor *p, float *w, const float *e, int64_t rows, int64_t first,
                            int64_t last) {
    wide_loops_taken()->make_up(w, e, p->factor + first * p->cols, p->cols, rows, last, last - first);
}

#include "quant/ldl_factor.h"

#include "base/memory.h"
#include "quant/cholesky.h"
#include "quant/wide.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DAMP_TRIES = 5 };

void ldl_factor_free(ldl_factor *f) {
    free(f->order);
    free(f->importance);
    free(f->factor);
    free(f->root);
    *f = (ldl_factor){0};
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
static void order_columns(ldl_factor *p, const float *hessian, double mean, double damp, bool by_importance) {
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

/* The damped H in act-order and all of it reversed: with J the reversal, JHJ = LLᵀ makes H = (JLJ)(JLJ)ᵀ, and JLJ = F √D is upper triangular.
 * Of a [cols, cols] the lower triangle is filled. */
static void reversed_problem(float *a, const ldl_factor *p, const float *hessian) {
    const int64_t n = p->cols;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < n; i++) {
        const int64_t r = p->order[n - 1 - i];
        for (int64_t j = 0; j < i; j++) a[i * n + j] = hessian[r * n + p->order[n - 1 - j]];
        a[i * n + i] = p->importance[r];
    }
}

/* L to F, in place: a number below the diagonal has its own above it to go to. inverse [cols]: 1 / √D */
static void reverse_scaled(float *a, const float *inverse, int64_t n) {
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < n; i++) { /* F's row */
        float *to = a + i * n, *from = a + (n - 1 - i) * n + n - 1;
        for (int64_t k = i + 1; k < n; k++) {
            to[k] = from[-k] * inverse[k];
            from[-k] = 0;
        }
        to[i] = 0;
    }
}

/* false: not positive definite. */
static bool factorise(ldl_factor *p, const float *hessian) {
    const int64_t n = p->cols;
    float *a = p->factor, *inverse = xmalloc((size_t)n * sizeof *inverse);
    reversed_problem(a, p, hessian);
    bool good = cholesky_lower(a, n);
    for (int64_t k = 0; k < n && good; k++) {
        p->root[k] = a[(n - 1 - k) * (n + 1)];
        inverse[k] = 1 / p->root[k];
        good = isfinite(inverse[k]);
    }
    if (good) reverse_scaled(a, inverse, n);
    free(inverse);
    return good;
}

status ldl_factor_create(ldl_factor *p, const float *hessian, int64_t cols, double damp, bool by_importance) {
    *p = (ldl_factor){.cols = cols};
    const double mean = mean_of_seen(hessian, cols);
    if (mean < 0) return fail("expected a Hessian with a finite diagonal ≥ 0, found something else");
    p->order = xmalloc((size_t)cols * sizeof *p->order);
    p->importance = xmalloc((size_t)cols * sizeof *p->importance);
    p->factor = xmalloc_large((size_t)(cols * cols) * sizeof *p->factor);
    p->root = xmalloc((size_t)cols * sizeof *p->root);
    for (int i = 0; i<DAMP_TRIES; i++, damp = damp> 0 ? 10 * damp : 1e-3) {
        order_columns(p, hessian, mean, damp, by_importance);
        if (factorise(p, hessian)) return STATUS_OK;
    }
    ldl_factor_free(p);
    return fail("the Hessian is not positive definite, not even with damping %g", damp / 10);
}

void ldl_factor_make_up(const ldl_factor *p, float *x, const float *e, int64_t rows, int64_t first, int64_t last) {
    wide_loops_taken()->subtract_product(x, FACTOR_BLOCK, e, p->cols, p->factor + first, p->cols, rows, last - first,
                                         first);
}

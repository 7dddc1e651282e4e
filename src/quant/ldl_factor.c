#include "quant/ldl_factor.h"

#include "base/memory.h"
#include "quant/cholesky.h"
#include "quant/wide.h"
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
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
static void order_columns(ldl_factor *f, const float *hessian, double mean, double damp, bool by_importance) {
    const int64_t cols = f->cols;
    ranked *rank = xmalloc((size_t)cols * sizeof *rank);
    for (int64_t c = 0; c < cols; c++) {
        const double d = hessian[c * cols + c];
        f->importance[c] = (float)((d > 0 ? d : mean) + damp * mean);
        if (mean == 0) f->importance[c] = 1;
        rank[c] = (ranked){f->importance[c], c};
    }
    if (by_importance) qsort(rank, (size_t)cols, sizeof *rank, by_falling_value);
    for (int64_t c = 0; c < cols; c++) f->order[c] = rank[c].index;
    free(rank);
}

/* The damped H in act-order and all of it reversed: with J the reversal, JHJ = LLᵀ makes H = (JLJ)(JLJ)ᵀ, and JLJ = F √D is upper triangular.
 * Of a [cols, cols] the lower triangle is filled. */
static void reversed_problem(float *a, const ldl_factor *f, const float *hessian) {
    const int64_t n = f->cols;
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < n; i++) {
        const int64_t r = f->order[n - 1 - i];
        for (int64_t j = 0; j < i; j++) a[i * n + j] = hessian[r * n + f->order[n - 1 - j]];
        a[i * n + i] = f->importance[r];
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
static bool factorise(ldl_factor *f, const float *hessian) {
    const int64_t n = f->cols;
    float *a = f->factor, *inverse = xmalloc((size_t)n * sizeof *inverse);
    reversed_problem(a, f, hessian);
    bool good = cholesky_lower(a, n);
    for (int64_t k = 0; k < n && good; k++) {
        f->root[k] = a[(n - 1 - k) * (n + 1)];
        inverse[k] = 1 / f->root[k];
        good = isfinite(inverse[k]);
    }
    if (good) reverse_scaled(a, inverse, n);
    free(inverse);
    return good;
}

/* Once, since a matrix is quantised at many rates. */
static void say_damping(int64_t cols, double asked, double taken) {
    static atomic_flag said = ATOMIC_FLAG_INIT;
    if (taken != asked && !atomic_flag_test_and_set(&said))
        fprintf(stderr,
                "note: a Hessian of %lld columns is not positive definite when %g of its mean diagonal is added: %g is "
                "(others may need that too)\n",
                (long long)cols, asked, taken);
}

status ldl_factor_create(ldl_factor *f, const float *hessian, int64_t cols, double damp, bool by_importance) {
    *f = (ldl_factor){.cols = cols, .damp = damp};
    const double mean = mean_of_seen(hessian, cols);
    if (mean < 0) return fail("expected a Hessian with a finite diagonal ≥ 0, found something else");
    f->order = xmalloc((size_t)cols * sizeof *f->order);
    f->importance = xmalloc((size_t)cols * sizeof *f->importance);
    f->factor = xmalloc_large((size_t)(cols * cols) * sizeof *f->factor);
    f->root = xmalloc((size_t)cols * sizeof *f->root);
    for (int i = 0; i < DAMP_TRIES; i++) {
        if (i > 0) f->damp = f->damp > 0 ? 10 * f->damp : 1e-3;
        order_columns(f, hessian, mean, f->damp, by_importance);
        if (!factorise(f, hessian)) continue;
        say_damping(cols, damp, f->damp);
        return STATUS_OK;
    }
    damp = f->damp;
    ldl_factor_free(f);
    return fail("the Hessian is not positive definite, not even with damping %g", damp);
}

void ldl_factor_make_up(const ldl_factor *f, float *x, const float *e, int64_t rows, int64_t first, int64_t last) {
    wide_loops_taken()->subtract_product(x, FACTOR_BLOCK, e, f->cols, f->factor + first, f->cols, rows, last - first,
                                         first);
}

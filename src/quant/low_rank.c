#include "quant/low_rank.h"

#include "base/memory.h"
#include "base/random.h"
#include "quant/cholesky.h"
#include "quant/quantize.h"
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MORE = 10 /* than the rank has the subspace */, ROUNDS = 4, MOST_DAMPS = 6 };

int low_rank_most(int64_t rows, int64_t cols) {
    const int64_t most = rows * cols / (rows + cols);
    return (int)(most < QUANTIZED_MOST_RANK ? most : QUANTIZED_MOST_RANK);
}

void low_rank_free(low_rank *l) {
    free(l->factors);
    *l = (low_rank){0};
}

/* ---- the Hessian's root ---- */

/* H + damp into a, for cholesky_lower. */
static void damped(float *a, const matrix_problem *p, double damp) {
    const int64_t n = p->cols;
    double mean = 0;
    for (int64_t i = 0; i < n; i++) mean += p->hessian[i * (n + 1)] / (double)n;
    if (!(mean > 0)) mean = 1;
    memcpy(a, p->hessian, (size_t)(n * n) * sizeof *a);
    for (int64_t i = 0; i < n; i++) a[i * (n + 1)] += (float)(damp * mean);
}

/* L [cols, cols], what is above the diagonal being of no use; NULL in *out: the identity. */
static status root_of(float **out, const matrix_problem *p) {
    const int64_t n = p->cols;
    *out = NULL;
    if (!p->hessian) return STATUS_OK;
    float *a = xmalloc((size_t)(n * n) * sizeof *a);
    double damp = p->damp > 0 ? p->damp : 0.01;
    bool positive = false;
    for (int i = 0; i < MOST_DAMPS && !positive; i++, damp *= 10) {
        damped(a, p, damp);
        positive = cholesky_lower(a, n);
    }
    if (positive) {
        *out = a;
        return STATUS_OK;
    }
    free(a);
    return fail("expected a Hessian that is positive definite once it is damped, found none");
}

static float row_root(const matrix_problem *p, int64_t row) {
    return p->row_weight ? (float)sqrt(p->row_weight[row]) : 1;
}

/* M = D^½ (W − Q) L, [rows, cols] */
static float *weighted_error(const matrix_problem *p, const quantized *q, const float *l) {
    const int64_t cols = p->cols;
    float *m = xcalloc((size_t)(p->rows * cols), sizeof *m), *e = xmalloc((size_t)(p->rows * cols) * sizeof *e);
    quantized_expand(q, e);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < p->rows; r++) {
        float *out = m + r * cols;
        const float root = row_root(p, r);
        for (int64_t j = 0; j < cols; j++) {
            const float x = root * (p->w[r * cols + j] - e[r * cols + j]);
            const float *lower = l ? l + j * cols : NULL;
            for (int64_t c = 0; c <= j && lower; c++) out[c] += x * lower[c];
            if (!lower) out[j] = x;
        }
    }
    free(e);
    return m;
}

/* ---- its largest singular values ---- */

/* y [rows, k] = m x, x [cols, k] */
static void times(float *y, const float *m, const float *x, int64_t rows, int64_t cols, int64_t k) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        float *out = y + r * k;
        memset(out, 0, (size_t)k * sizeof *out);
        for (int64_t c = 0; c < cols; c++)
            for (int64_t i = 0; i < k; i++) out[i] += m[r * cols + c] * x[c * k + i];
    }
}

/* x [cols, k] = mᵀ y, y [rows, k] */
static void times_transposed(float *x, const float *m, const float *y, int64_t rows, int64_t cols, int64_t k) {
    enum { PART = 64 };
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < cols; first += PART) {
        const int64_t end = first + PART < cols ? first + PART : cols;
        memset(x + first * k, 0, (size_t)((end - first) * k) * sizeof *x);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = first; c < end; c++)
                for (int64_t i = 0; i < k; i++) x[c * k + i] += m[r * cols + c] * y[r * k + i];
    }
}

/* The columns of x [n, k], k ≤ n, become orthonormal. */
static bool orthonormal(float *x, int64_t n, int64_t k) {
    float *tau = xmalloc((size_t)k * sizeof *tau);
    const lapack_int rows = (lapack_int)n, cols = (lapack_int)k;
    const bool done = LAPACKE_sgeqrf(LAPACK_ROW_MAJOR, rows, cols, x, cols, tau) == 0 &&
                      LAPACKE_sorgqr(LAPACK_ROW_MAJOR, rows, cols, cols, x, cols, tau) == 0;
    free(tau);
    return done;
}

/* The k largest singular values s of m and their vectors, u [rows, k], v [k, cols]. */
typedef struct largest {
    int64_t k;
    float *u, *s, *v;
} largest;

static void largest_free(largest *l) {
    free(l->u);
    free(l->s);
    free(l->v);
}

/* y [rows, k] spans where m is largest; a singular value decomposition of yᵀ m says the rest. */
static bool within_subspace(largest *out, float *y, float *x, const float *m, int64_t rows, int64_t cols) {
    const int64_t k = out->k;
    float *turn = xmalloc((size_t)(k * k) * sizeof *turn), *t = xmalloc((size_t)(k * cols) * sizeof *t);
    times_transposed(x, m, y, rows, cols, k);
    for (int64_t i = 0; i < k; i++)
        for (int64_t c = 0; c < cols; c++) t[i * cols + c] = x[c * k + i];
    const bool done = LAPACKE_sgesdd(LAPACK_ROW_MAJOR, 'S', (lapack_int)k, (lapack_int)cols, t, (lapack_int)cols,
                                     out->s, turn, (lapack_int)k, out->v, (lapack_int)cols) == 0;
    if (done) times(out->u, y, turn, rows, k, k);
    free(turn);
    free(t);
    return done;
}

static status largest_of(largest *out, const float *m, int64_t rows, int64_t cols, int rank) {
    const int64_t small = rows < cols ? rows : cols, k = rank + MORE < small ? rank + MORE : small;
    float *y = xmalloc((size_t)(rows * k) * sizeof *y), *x = xmalloc((size_t)(cols * k) * sizeof *x);
    rng r = rng_named(1, "low rank");
    *out = (largest){.k = k,
                     .u = xmalloc((size_t)(rows * k) * sizeof *out->u),
                     .s = xmalloc((size_t)k * sizeof *out->s),
                     .v = xmalloc((size_t)(k * cols) * sizeof *out->v)};
    rng_normal(&r, x, (size_t)(cols * k), 1);
    bool done = true;
    for (int i = 0; i < ROUNDS && done; i++) {
        done = orthonormal(x, cols, k);
        times(y, m, x, rows, cols, k);
        done = done && orthonormal(y, rows, k);
        if (i + 1 < ROUNDS) times_transposed(x, m, y, rows, cols, k);
    }
    done = done && within_subspace(out, y, x, m, rows, cols);
    free(y);
    free(x);
    if (done) return STATUS_OK;
    largest_free(out);
    return fail("expected singular values of what a quantiser left, found none");
}

/* ---- the factors ---- */

/* x becomes x L⁻¹, [n] */
static void times_inverse(float *x, const float *l, int64_t n) {
    for (int64_t j = n - 1; j >= 0; j--) {
        x[j] /= l[j * (n + 1)];
        for (int64_t c = 0; c < j; c++) x[c] -= x[j] * l[j * n + c];
    }
}

static double size_of(const float *x, int64_t count) {
    double squares = 0;
    for (int64_t i = 0; i < count; i++) squares += (double)x[i] * x[i];
    return sqrt(squares / (double)count);
}

/* Column k of A and row k of B, of one size. */
static void put_component(float *factor, const largest *found, const matrix_problem *p, const float *l, int64_t k) {
    float *a = factor, *b = factor + p->rows;
    for (int64_t r = 0; r < p->rows; r++) {
        const float root = row_root(p, r);
        a[r] = root > 0 ? found->s[k] * found->u[r * found->k + k] / root : 0;
    }
    memcpy(b, found->v + k * p->cols, (size_t)p->cols * sizeof *b);
    if (l) times_inverse(b, l, p->cols);
    const double of_a = size_of(a, p->rows), of_b = size_of(b, p->cols);
    const double stretch = of_a > 0 && of_b > 0 ? sqrt(of_b / of_a) : 0;
    for (int64_t r = 0; r < p->rows; r++) a[r] = (float)(a[r] * stretch);
    for (int64_t c = 0; c < p->cols; c++) b[c] = stretch > 0 ? (float)(b[c] / stretch) : 0;
}

status low_rank_find(low_rank *out, const matrix_problem *p, const quantized *q, int rank) {
    const int most = low_rank_most(p->rows, p->cols);
    const int64_t width = p->rows + p->cols;
    float *l;
    largest found;
    *out = (low_rank){.rank = rank < most ? rank : most, .rows = p->rows, .cols = p->cols};
    if (out->rank < 1) return fail("expected a rank of 1 to %d, found %d", most, rank);
    TRY(root_of(&l, p));
    float *m = weighted_error(p, q, l);
    const status s = largest_of(&found, m, p->rows, p->cols, out->rank);
    free(m);
    if (s == STATUS_OK) {
        out->factors = xmalloc((size_t)(out->rank * width) * sizeof *out->factors);
        for (int k = 0; k < out->rank; k++) put_component(out->factors + k * width, &found, p, l, k);
        largest_free(&found);
    }
    free(l);
    return s;
}

status low_rank_attach(quantized *q, const low_rank *l, int rank, int bits) {
    quantized factors;
    const grid_options grid = {.bits = bits};
    if (rank < 1 || rank > l->rank) return fail("expected a rank of 1 to %d, found %d", l->rank, rank);
    TRY(quantize_round(&factors, l->factors, rank, l->rows + l->cols, &grid));
    if (q->correction) quantized_free(q->correction);
    if (!q->correction) q->correction = xmalloc(sizeof *q->correction);
    *q->correction = factors;
    return STATUS_OK;
}

status low_rank_correct(quantized *q, const matrix_problem *p) {
    low_rank found = {0};
    status s = low_rank_find(&found, p, q, p->rank);
    if (s == STATUS_OK) s = low_rank_attach(q, &found, found.rank, p->rank_bits ? p->rank_bits : LOW_RANK_BITS);
    low_rank_free(&found);
    if (s != STATUS_OK) quantized_free(q);
    return s;
}

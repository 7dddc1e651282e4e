#include "quant/sensitivity.h"

#include "base/memory.h"
#include "nn/roles.h"
#include "quant/sensitivity_parts.h"
#include "quant/zeroed.h"
#include <math.h>
#include <stdlib.h>

sensitivities *sensitivities_create(pass *p) {
    sensitivities *s = xcalloc(1, sizeof *s);
    *s = (sensitivities){.p = p, .m = pass_model(p)};
    s->seen = xcalloc((size_t)s->m->param_count, sizeof *s->seen);
    s->now = xcalloc((size_t)s->m->param_count, sizeof *s->now);
    return s;
}

void sensitivities_forget(const sensitivities *s, seen *of) {
    for (int i = 0; i < s->m->param_count; i++) {
        s->m->k->release(of[i].squares);
        free(of[i].reads);
        of[i] = (seen){0};
    }
}

void sensitivities_destroy(sensitivities *s) {
    if (!s) return;
    sensitivities_forget(s, s->seen);
    sensitivities_forget(s, s->now);
    free(s->seen);
    free(s->now);
    free(s);
}

static seen *find_in(const sensitivities *s, seen *of, const param *weight) {
    for (int i = 0; i < s->m->param_count; i++)
        if (s->m->params[i] == weight) return &of[i];
    return NULL;
}

static seen *find(const sensitivities *s, const param *weight) {
    return find_in(s, s->seen, weight);
}

/* ---- observing ---- */

static status see_product(const kernels *k, seen *to, const product_gradient *g) {
    const int64_t rows = g->weight->matrix.rows;
    if (!to->squares) TRY(zeroed_floats(k, &to->squares, rows));
    k->add_column_squares(to->squares, g->dy, g->N, rows);
    return STATUS_OK;
}

static status see_look_up(const kernels *k, seen *to, const product_gradient *g) {
    const int64_t cols = g->weight->matrix.cols;
    float *sums, *host = xmalloc((size_t)cols * sizeof *host);
    int32_t *ids = xmalloc((size_t)g->N * sizeof *ids);
    status s = zeroed_floats(k, &sums, cols);
    if (s == STATUS_OK) {
        k->add_column_squares(sums, g->dy, g->N, cols);
        k->download(host, sums, (size_t)cols * sizeof *host);
        k->download(ids, g->ids, (size_t)g->N * sizeof *ids);
        k->release(sums);
        if (!to->reads) to->reads = xcalloc((size_t)g->weight->matrix.rows, sizeof *to->reads);
        for (int64_t c = 0; c < cols; c++) to->read_square += host[c];
        for (int64_t n = 0; n < g->N; n++) to->reads[ids[n]]++;
        to->read_count += g->N;
    }
    free(host);
    free(ids);
    return s;
}

static void observe(void *context, const product_gradient *g) {
    sensitivities *s = context;
    seen *to = find_in(s, s->now, g->weight);
    if (!to || s->failed != STATUS_OK) return;
    s->failed = g->ids ? see_look_up(s->m->k, to, g) : see_product(s->m->k, to, g);
}

status sensitivities_run_batch(sensitivities *s, const batch *b) {
    const int64_t tokens = b->batch * b->length;
    /* The sum of the tokens' losses, not their mean. */
    pass_watch_gradients(s->p, observe, s);
    pass_set_recompute(s->p, true);
    status result = pass_train(s->p, b, (float)tokens);
    pass_set_recompute(s->p, false);
    pass_watch_gradients(s->p, NULL, NULL);
    pass_clear(s->p);
    return result == STATUS_OK ? s->failed : result;
}

/* total += one: of a parameter with so many rows. */
static status add_seen(const kernels *k, seen *total, const seen *one, int64_t rows) {
    if (one->squares && !total->squares) TRY(zeroed_floats(k, &total->squares, rows));
    if (one->squares) k->add(total->squares, one->squares, rows);
    if (one->reads && !total->reads) total->reads = xcalloc((size_t)rows, sizeof *total->reads);
    for (int64_t r = 0; r < rows && one->reads; r++) total->reads[r] += one->reads[r];
    total->read_square += one->read_square;
    total->read_count += one->read_count;
    return STATUS_OK;
}

status sensitivities_add_now(sensitivities *s) {
    status result = STATUS_OK;
    for (int i = 0; i < s->m->param_count && result == STATUS_OK; i++)
        result = add_seen(s->m->k, &s->seen[i], &s->now[i], tensor_rows(&s->m->params[i]->value));
    sensitivities_forget(s, s->now);
    return result;
}

status sensitivities_add(sensitivities *s, const batch *b, int64_t bytes) {
    status result = sensitivities_run_batch(s, b);
    if (result == STATUS_OK) result = sensitivities_add_now(s);
    s->tokens += b->batch * b->length;
    s->bytes += bytes;
    return result;
}

int64_t sensitivities_tokens(const sensitivities *s) {
    return s->tokens;
}

double sensitivities_bpb_of_nat(const sensitivities *s) {
    return s->bytes > 0 ? (double)s->tokens / (double)s->bytes / M_LN2 : 0;
}

/* ---- what it says of a matrix ---- */

/* ½ G_r. Of a row that had next to no gradient a ten-thousandth of the mean counts: what was not seen may yet come. A piece that was
 * never a target had hardly any gradient in the head, and will have one of nearly 1 nat when it is one: it counts as if it had been one
 * half a time. */
#define HEAD_UNSEEN 0.5
static void product_weights(double *out, const sensitivities *s, const seen *of, int64_t rows, bool is_head) {
    float *squares = xmalloc((size_t)rows * sizeof *squares);
    double sum = 0;
    s->m->k->download(squares, of->squares, (size_t)rows * sizeof *squares);
    for (int64_t r = 0; r < rows; r++) sum += squares[r];
    const double least = 1e-4 * sum / (double)rows, unseen = is_head ? HEAD_UNSEEN : 0;
    for (int64_t r = 0; r < rows; r++) out[r] = 0.5 * fmax(squares[r] + unseen, least) / (double)s->tokens;
    free(squares);
}

/* ½ f_v g; a row that was never read counts as if half a time. */
static double look_up_weight(const sensitivities *s, const seen *of, int64_t row, int64_t cols) {
    const double square = of->read_square / (double)of->read_count / (double)cols;
    return 0.5 * square * ((double)of->reads[row] + 0.5) / (double)s->tokens;
}

static double mean_of_diagonal(const float *hessian, int64_t cols) {
    double sum = 0;
    for (int64_t c = 0; c < cols; c++) sum += hessian[c * cols + c];
    return sum / (double)cols;
}

/* Row v of an embedding that is the head too costs a_v |ΔW_v|² + b_v ΔW_v H ΔW_vᵀ. One matrix for all rows has to do: the mixture
 * of I and H (both of mean diagonal 1) by what all rows weigh. row_weight comes as b. */
static void mix_uses(matrix_curvature *c, const sensitivities *s, const seen *of, int64_t rows, int64_t cols) {
    const double diagonal = mean_of_diagonal(c->hessian, cols);
    double looked_up = 0, multiplied = 0;
    for (int64_t r = 0; r < rows; r++) {
        const double a = look_up_weight(s, of, r, cols), b = c->row_weight[r] * diagonal;
        c->row_weight[r] = a + b;
        looked_up += a;
        multiplied += b;
    }
    if (looked_up + multiplied == 0 || diagonal == 0) return;
    const double part = looked_up / (looked_up + multiplied);
    c->mixed = xmalloc((size_t)(cols * cols) * sizeof *c->mixed);
    for (int64_t i = 0; i < cols * cols; i++)
        c->mixed[i] = (float)((1 - part) * c->hessian[i] / diagonal + (i % (cols + 1) == 0 ? part : 0));
    c->hessian = c->mixed;
}

static double all_squares(const sensitivities *s, const seen *of, int64_t rows) {
    float *squares = xmalloc((size_t)rows * sizeof *squares);
    double sum = 0;
    s->m->k->download(squares, of->squares, (size_t)rows * sizeof *squares);
    for (int64_t r = 0; r < rows; r++) sum += squares[r];
    free(squares);
    return sum;
}

/* An expert that no token of the calibration went to will get some yet: it counts as the one of its layer and role that counted
 * least. Any other weight stands for itself. */
static const param *stand_in(const sensitivities *s, const param *weight) {
    const seen *own = find(s, weight);
    const param *least = weight;
    double least_sum = INFINITY;
    if (!own || own->squares || own->reads || !role_has_expert((param_role)weight->role)) return weight;
    for (int i = 0; i < s->m->param_count; i++) {
        const param *p = s->m->params[i];
        if (p->role != weight->role || p->layer != weight->layer || !s->seen[i].squares) continue;
        const double sum = all_squares(s, &s->seen[i], p->matrix.rows);
        if (sum >= least_sum) continue;
        least_sum = sum;
        least = p;
    }
    return least;
}

status matrix_curvature_of(matrix_curvature *out, const sensitivities *s, hessians *h, const param *weight) {
    const int64_t rows = tensor_rows(&weight->value), cols = tensor_cols(&weight->value);
    *out = (matrix_curvature){0};
    if (s) weight = stand_in(s, weight);
    if (h) TRY(hessians_of(h, weight, &out->hessian, NULL));
    const seen *of = s ? find(s, weight) : NULL;
    out->row_weight = xcalloc((size_t)rows, sizeof *out->row_weight);
    if (!s)
        for (int64_t r = 0; r < rows; r++) out->row_weight[r] = 1;
    if (!of || s->tokens == 0) return STATUS_OK;
    if (of->squares) product_weights(out->row_weight, s, of, rows, role_is_table((param_role)weight->role));
    if (of->reads && out->hessian)
        mix_uses(out, s, of, rows, cols);
    else if (of->reads)
        for (int64_t r = 0; r < rows; r++) out->row_weight[r] += look_up_weight(s, of, r, cols);
    return STATUS_OK;
}

void matrix_curvature_free(matrix_curvature *c) {
    free(c->row_weight);
    free(c->mixed);
    *c = (matrix_curvature){0};
}

#include "quant/candidates.h"

#include "base/memory.h"
#include "quant/low_rank.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const double candidate_rates[] = {0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6.5};
const int candidate_rate_count = sizeof candidate_rates / sizeof *candidate_rates;

#define SAME_RATE 1e-6

void curve_add(candidate_curve *c, candidate added) {
    int at = 0;
    while (at < c->count && c->at[at].rate < added.rate - SAME_RATE) at++;
    if (at < c->count && fabs(c->at[at].rate - added.rate) <= SAME_RATE) {
        c->at[at] = added;
        return;
    }
    if (c->count == CANDIDATES_MOST) return;
    memmove(&c->at[at + 1], &c->at[at], (size_t)(c->count - at) * sizeof *c->at);
    c->at[at] = added;
    c->count++;
}

/* Between a and b; an error of 0 has no logarithm. */
static candidate between(const candidate *a, const candidate *b, double rate) {
    const double part = (rate - a->rate) / (b->rate - a->rate);
    const bool logarithmic = a->error > 0 && b->error > 0;
    return (candidate){.rate = rate,
                       .bytes = a->bytes + part * (b->bytes - a->bytes),
                       .error = logarithmic ? a->error * pow(b->error / a->error, part)
                                            : a->error + part * (b->error - a->error)};
}

candidate curve_at(const candidate_curve *c, double rate) {
    candidate end = {0};
    if (c->count > 0) end = rate <= c->at[0].rate ? c->at[0] : c->at[c->count - 1];
    for (int i = 1; i < c->count; i++)
        if (rate > c->at[i - 1].rate && rate <= c->at[i].rate) return between(&c->at[i - 1], &c->at[i], rate);
    end.rate = rate;
    return end;
}

double curve_rate_of_bytes(const candidate_curve *c, double bytes) {
    for (int i = 1; i < c->count; i++) {
        const candidate *a = &c->at[i - 1], *b = &c->at[i];
        if (bytes > b->bytes || b->bytes <= a->bytes) continue;
        const double part = fmax(0, (bytes - a->bytes) / (b->bytes - a->bytes));
        return a->rate + part * (b->rate - a->rate);
    }
    return c->count ? c->at[c->count - 1].rate : 0;
}

/* Every `stride`-th row of p. */
typedef struct row_sample {
    matrix_problem problem;
    float *w;
    double *row_weight;
    uint8_t *pruned;
} row_sample;

static void sample_rows(row_sample *s, const matrix_problem *p, int64_t stride) {
    const int64_t rows = (p->rows + stride - 1) / stride;
    const size_t width = (size_t)p->cols;
    *s = (row_sample){.problem = *p, .w = xmalloc((size_t)rows * width * sizeof *s->w)};
    if (p->row_weight) s->row_weight = xmalloc((size_t)rows * sizeof *s->row_weight);
    if (p->pruned) s->pruned = xmalloc((size_t)rows * width);
    for (int64_t r = 0; r < rows; r++) {
        memcpy(s->w + r * p->cols, p->w + r * stride * p->cols, width * sizeof *s->w);
        if (p->pruned) memcpy(s->pruned + r * p->cols, p->pruned + r * stride * p->cols, width);
        if (p->row_weight) s->row_weight[r] = p->row_weight[r * stride];
    }
    s->problem.w = s->w;
    s->problem.rows = rows;
    s->problem.row_weight = s->row_weight;
    s->problem.pruned = s->pruned;
}

candidate_ranks candidate_ranks_up_to(int most, int bits, int64_t rows, int64_t cols) {
    candidate_ranks out = {.bits = bits};
    const int possible = low_rank_most(rows, cols);
    if (most > possible) most = possible;
    for (int part = 16; part >= 1; part /= 4)
        if (most / part > 0) out.rank[out.count++] = most / part;
    return out;
}

/* q, of this size, is of the rows that were taken of p; where it has a correction, of all. Scales of columns are as many for some rows
 * as for all. */
static candidate measured(const quantized *q, coded_size size, const matrix_problem *of, const matrix_problem *p,
                          double rate, coded_bytes bytes) {
    const double all = (double)p->rows / (double)of->rows;
    candidate out = {.rate = rate, .bytes = all * size.rows + size.columns, .error = all * matrix_error(of, q)};
    if (q->correction) out.bytes += bytes(q->correction).rows;
    return out;
}

static status measure_ranks(candidate *out, quantized *q, coded_size size, const matrix_problem *of,
                            const matrix_problem *p, const candidate_ranks *ranks, double rate, coded_bytes bytes) {
    low_rank found;
    if (ranks->count == 0) return STATUS_OK;
    TRY(low_rank_find(&found, of, q, ranks->rank[ranks->count - 1]));
    status s = STATUS_OK;
    for (int i = 0; i < ranks->count && s == STATUS_OK; i++) {
        s = low_rank_attach(q, &found, ranks->rank[i], ranks->bits);
        if (s == STATUS_OK) out[i] = measured(q, size, of, p, rate, bytes);
    }
    low_rank_free(&found);
    return s;
}

status candidates_measure(candidate *out, quantizer q, const matrix_problem *p, const candidate_ranks *ranks,
                          double rate, coded_bytes bytes, int64_t sample) {
    const int64_t most = sample > 0 ? sample : CANDIDATE_ELEMENTS;
    const int64_t some = (p->rows * p->cols + most - 1) / most;
    const int64_t stride = ranks->count > 0 ? 1 : some;
    row_sample some_rows = {0};
    if (stride > 1) sample_rows(&some_rows, p, stride);
    matrix_problem of = stride > 1 ? some_rows.problem : *p;
    of.rank = 0;
    quantized quantised;
    status s = quantize_matrix(q, &quantised, &of, rate);
    if (s == STATUS_OK) {
        const coded_size size = bytes(&quantised);
        out[0] = measured(&quantised, size, &of, p, rate, bytes);
        s = measure_ranks(out + 1, &quantised, size, &of, p, ranks, rate, bytes);
        quantized_free(&quantised);
    }
    free(some_rows.w);
    free(some_rows.row_weight);
    free(some_rows.pruned);
    return s;
}

status candidate_measure(candidate *out, quantizer q, const matrix_problem *p, double rate, coded_bytes bytes) {
    return candidates_measure(out, q, p, &(candidate_ranks){0}, rate, bytes, 0);
}

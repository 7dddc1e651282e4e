#include "quant/quantizer.h"

#include "base/half.h"
#include "base/memory.h"
#include "quant/dependent.h"
#include "quant/ldl_factor.h"
#include "quant/low_rank.h"
#include "quant/quantize.h"
#include "tensor/rotation.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what a uniform grid of step Δ costs a Gaussian weight of deviation 1 ---- */

enum {
    STEPS_AN_OCTAVE = 16,
    FIRST_OCTAVE = -2,
    LAST_OCTAVE = 3,
    STEPS = (LAST_OCTAVE - FIRST_OCTAVE) * STEPS_AN_OCTAVE
};

/* H(Δ) = −Σ_q p_q log₂ p_q, p_q = Φ((q + ½)Δ) − Φ((q − ½)Δ), of all integers q. */
static double entropy_of_step(double step) {
    double bits = 0;
    for (int q = 0; (q - 0.5) * step < 9; q++) {
        const double p = 0.5 * (erfc((q - 0.5) * step / M_SQRT2) - erfc((q + 0.5) * step / M_SQRT2));
        if (p > 0) bits -= (q ? 2 : 1) * p * log2(p);
    }
    return bits;
}

typedef struct entropy_table {
    double bits[STEPS + 1]; /* H(2^x), x by sixteenths from FIRST_OCTAVE on */
} entropy_table;

static void entropy_table_fill(entropy_table *t) {
    for (int i = 0; i <= STEPS; i++) t->bits[i] = entropy_of_step(exp2(FIRST_OCTAVE + (double)i / STEPS_AN_OCTAVE));
}

/* H(2^x). A step under 1/4 is so fine that H = ½ log₂(2πe) − x to seven digits. */
static double entropy_at(const entropy_table *t, double x) {
    const double at = (x - FIRST_OCTAVE) * STEPS_AN_OCTAVE;
    if (at <= 0) return 0.5 * log2(2 * M_PI * M_E) - x;
    if (at >= STEPS) return 0;
    const int i = (int)at;
    return t->bits[i] + (at - i) * (t->bits[i + 1] - t->bits[i]);
}

/* ---- a step for each row ----
 *
 * Errors of a row count by g_r = row_weight[r], so at equal slopes of error against bits g_r Δ_r² is the same for all rows (classical
 * bit allocation, Segall 1976): Δ_r = Δ / √g_r. Ratios are cut to quarters of an octave, which costs 0.4 % of the error and leaves
 * few different scales to store. A quarter of the mean weight is added to all, since what calibration saw of a rare row is little: on a
 * tied embedding of 4096 rows at 3 bits +0.0113 BPB at 206 KB with it, +0.0130 at 212 KB without, +0.0219 at 199 KB with equal steps. */

enum { RATIO_STEPS = 4, RATIO_OCTAVES = 3, MOST_LEVELS = 127 };
enum { TRELLIS_STATES = 8, MOST_POINT = 100 /* columns have finer and coarser steps than their row */ };
#define EVERY_ROW 0.25

/* log₂ of each row's step against the common one. */
static void row_ratios(double *ratio, const matrix_problem *p) {
    double sum = 0;
    for (int64_t r = 0; r < p->rows && p->row_weight; r++) sum += p->row_weight[r];
    const double mean = sum / (double)p->rows;
    for (int64_t r = 0; r < p->rows; r++) {
        ratio[r] = 0;
        if (mean == 0) continue;
        const double octaves = -0.5 * log2(p->row_weight[r] / mean + EVERY_ROW);
        ratio[r] = fmin(fmax(nearbyint(octaves * RATIO_STEPS) / RATIO_STEPS, -RATIO_OCTAVES), RATIO_OCTAVES);
    }
}

/* log₂ of each row's deviation; −INFINITY for a row of zeros. */
static void row_deviations(double *deviation, double *largest, const matrix_problem *p) {
#pragma omp parallel for schedule(static) if (p->rows * p->cols > 1 << 16)
    for (int64_t r = 0; r < p->rows; r++) {
        double squares = 0;
        largest[r] = 0;
        for (int64_t c = 0; c < p->cols; c++) {
            const double w = p->w[r * p->cols + c];
            squares += w * w;
            largest[r] = fmax(largest[r], fabs(w));
        }
        deviation[r] = squares > 0 ? 0.5 * log2(squares / (double)p->cols) : -INFINITY;
    }
}

/* log₂ Δ with mean_r H(Δ_r / σ_r) = rate; the mean falls as Δ grows. */
static double common_step(const double *ratio, const double *deviation, int64_t rows, double rate) {
    entropy_table table;
    double low = -160, high = 160;
    entropy_table_fill(&table);
    for (int i = 0; i < 60; i++) {
        const double middle = 0.5 * (low + high);
        double sum = 0;
        for (int64_t r = 0; r < rows; r++)
            if (isfinite(deviation[r])) sum += entropy_at(&table, middle + ratio[r] - deviation[r]);
        if (sum > rate * (double)rows)
            low = middle;
        else
            high = middle;
    }
    return high;
}

/* malloc'ed [rows]; most: steps that a row's largest weight may be */
static float *row_scales(const matrix_problem *p, double rate, double most) {
    float *scale = xmalloc((size_t)p->rows * sizeof *scale);
    double *room = xmalloc(3 * (size_t)p->rows * sizeof *room);
    double *ratio = room, *deviation = room + p->rows, *largest = deviation + p->rows;
    row_ratios(ratio, p);
    row_deviations(deviation, largest, p);
    const double common = common_step(ratio, deviation, p->rows, rate);
    for (int64_t r = 0; r < p->rows; r++) {
        const double finest = largest[r] / most;
        scale[r] = scale_round((float)fmax(exp2(common + ratio[r]), finest));
        if (scale[r] < 1e-37f || !isfinite(scale[r])) scale[r] = 0; /* a row that is as good as zero */
    }
    free(room);
    return scale;
}

/* ---- entropy-coded uniform grids ---- */

/* As few levels as hold the integers, and no scale where all of a group became 0. */
static void tighten(quantized *q) {
    int most = 0;
    for (int64_t i = 0; i < q->rows * quantized_groups(q); i++) {
        int largest = 0;
        for (int64_t c = 0; c < q->group; c++) {
            const int size = abs(q->q[i * q->group + c]);
            if (size > largest) largest = size;
        }
        if (largest == 0 && !(q->offset && q->offset[i] != 0)) q->scale[i] = 0;
        if (largest > most) most = largest;
    }
    int bits = 2;
    while ((1 << (bits - 1)) - 1 < most) bits++;
    q->levels = (1 << (bits - 1)) - 1;
}

/* Each group as a row of its own, less its mean where grids are asymmetric. */
typedef struct grouped {
    matrix_problem problem;
    float *w, *mean; /* owned; NULL: as they are */
    double *row_weight;
} grouped;

static void grouped_open(grouped *g, const matrix_problem *p) {
    const int64_t width = p->group ? p->group : p->cols, groups = p->cols / width, rows = p->rows * groups;
    *g = (grouped){.problem = *p};
    g->problem.rows = rows;
    g->problem.cols = width;
    if (p->row_weight && groups > 1) {
        g->row_weight = xmalloc((size_t)rows * sizeof *g->row_weight);
        for (int64_t i = 0; i < rows; i++) g->row_weight[i] = p->row_weight[i / groups];
        g->problem.row_weight = g->row_weight;
    }
    if (!p->asymmetric) return;
    g->w = xmalloc((size_t)(rows * width) * sizeof *g->w);
    g->mean = xmalloc((size_t)rows * sizeof *g->mean);
    for (int64_t i = 0; i < rows; i++) {
        double sum = 0;
        for (int64_t c = 0; c < width; c++) sum += p->w[i * width + c];
        g->mean[i] = (float)(sum / (double)width);
        for (int64_t c = 0; c < width; c++) g->w[i * width + c] = p->w[i * width + c] - g->mean[i];
    }
    g->problem.w = g->w;
}

static void grouped_close(grouped *g) {
    free(g->w);
    free(g->mean);
    free(g->row_weight);
}

/* The means in quarters of a step, as a file holds them (quantized_offset). */
static void round_offsets(grouped *g, const float *scale) {
    for (int64_t i = 0; i < g->problem.rows; i++) {
        const float quarters = scale[i] > 0 ? nearbyintf(4 * g->mean[i] / scale[i]) : 0;
        g->mean[i] = quantized_offset(scale[i], (int)fmaxf(-QUANTIZED_MOST_ZERO, fminf(quarters, QUANTIZED_MOST_ZERO)));
    }
}

static status on_grid(quantized *out, const matrix_problem *p, double rate, bool gptq) {
    grouped g;
    grouped_open(&g, p);
    float *scale = row_scales(&g.problem, rate, MOST_LEVELS /* of an int8 */);
    if (g.mean) round_offsets(&g, scale);
    const grid_options grid = {
        .bits = 8, .pruned = p->pruned, .row_scale = scale, .row_offset = g.mean, .group = p->group};
    const status s = gptq && p->hessian ? quantize_gptq(out, p->w, p->hessian, p->rows, p->cols, &grid, p->damp)
                                        : quantize_round(out, p->w, p->rows, p->cols, &grid);
    if (s == STATUS_OK) tighten(out);
    free(scale);
    grouped_close(&g);
    return s;
}

static status by_rounding(quantized *out, const matrix_problem *p, double rate) {
    return on_grid(out, p, rate, false);
}

static status by_gptq(quantized *out, const matrix_problem *p, double rate) {
    return on_grid(out, p, rate, true);
}

/* ---- steps by column ---- */

/* What is rounded for least error comes out too small: of a row's outputs ŷ for y, E[y ŷ] = α E[y²], with α of 0.9 at a bit a weight and less in
 * rows that count little. An activation that squares has that twice, and all that a layer adds is a little less, everywhere and in one
 * direction, which costs the loss more than second moments say. So scales grow by 1 / α, at two bits more each. α from few inputs is
 * not believed where it says that a row grew. */
static void keep_outputs(quantized *out, const matrix_problem *p) {
    const double least = 0.9, most = 2; /* beyond, the row is hardly there */
    float *values = xmalloc((size_t)(p->rows * p->cols) * sizeof *values);
    row_output *y = xmalloc((size_t)p->rows * sizeof *y);
    quantized_expand(out, values);
    row_outputs(y, p->w, values, p->hessian, p->rows, p->cols);
    for (int64_t r = 0; r < p->rows; r++) {
        if (!(y[r].own > 0 && y[r].quantised > 0 && isfinite(y[r].own) && isfinite(y[r].quantised))) continue;
        const double factor = fmin(fmax(y[r].own / y[r].quantised, least), most);
        const float scale = bfloat_round((float)(out->scale[r] * factor));
        if (isfinite(scale) && scale > 0) out->scale[r] = scale;
    }
    free(values);
    free(y);
}

/* The dial is that of a row's uniform grid; columns share its step out among themselves. */
static status by_columns(quantized *out, const matrix_problem *p, double rate, int states) {
    float *scale = row_scales(p, rate, states > 1 ? MOST_POINT / 2 : MOST_POINT);
    double least = INFINITY;
    for (int64_t r = 0; r < p->rows; r++)
        if (scale[r] > 0) least = fmin(least, scale[r]);
    dependent_options o = dependent_options_default;
    o.states = states;
    o.damp = p->damp;
    o.factor = p->factor;
    o.pruned = p->pruned;
    o.row_step = scale;
    o.step = isfinite(least) ? least : 1;
    for (int64_t r = 0; r < p->rows; r++) scale[r] = scale[r] > 0 ? scale_round((float)(scale[r] / o.step)) : 1;
    const status s = quantize_dependent(out, p->w, p->hessian, p->rows, p->cols, &o);
    if (s == STATUS_OK) tighten(out);
    if (s == STATUS_OK) keep_outputs(out, p);
    free(scale);
    return s;
}

static status by_rate(quantized *out, const matrix_problem *p, double rate) {
    return by_columns(out, p, rate, 1);
}

static status by_trellis(quantized *out, const matrix_problem *p, double rate) {
    return by_columns(out, p, rate, TRELLIS_STATES);
}

/* ---- the table ---- */

typedef struct quantizer_row {
    const char *name;
    status (*run)(quantized *out, const matrix_problem *p, double rate);
} quantizer_row;

static const quantizer_row table[QUANTIZERS] = {
    [QUANTIZER_ROUND] = {"round", by_rounding},
    [QUANTIZER_GPTQ] = {"gptq", by_gptq},
    [QUANTIZER_RATE] = {"rate", by_rate},
    [QUANTIZER_TRELLIS] = {"trellis", by_trellis},
};

static status check_problem(quantizer q, const matrix_problem *p) {
    if ((p->group || p->asymmetric) && !quantizer_has_groups(q))
        return fail("expected no groups and no asymmetric grids with %s, found some", table[q].name);
    if (p->group && (p->group < 2 || p->cols % p->group != 0))
        return fail("expected a group that divides the %lld columns, found %lld", (long long)p->cols,
                    (long long)p->group);
    if ((p->rotation || p->asymmetric || p->rank > 0) && p->pruned)
        return fail(
            "expected nothing pruned on grids around means, in rotated columns and under corrections, found some");
    return check_finite(p->w, p->rows, p->cols);
}

/* As its inputs would be, were they rotated. */
static status run_rotated(quantizer q, quantized *out, const matrix_problem *p, double rate) {
    const size_t weights = (size_t)(p->rows * p->cols), squares = (size_t)(p->cols * p->cols);
    matrix_problem rotated = *p;
    float *w = xmalloc(weights * sizeof *w), *h = p->hessian ? xmalloc(squares * sizeof *h) : NULL;
    memcpy(w, p->w, weights * sizeof *w);
    for (int64_t r = 0; r < p->rows; r++) rotate_row(w + r * p->cols, p->cols, p->rotation);
    if (h) {
        memcpy(h, p->hessian, squares * sizeof *h);
        rotate_hessian(h, p->cols, p->rotation);
    }
    rotated.w = w;
    rotated.hessian = h;
    rotated.factor = NULL; /* of the columns as they were */
    const status s = table[q].run(out, &rotated, rate);
    if (s == STATUS_OK) out->rotation = p->rotation;
    free(w);
    free(h);
    return s;
}

bool quantizer_has_groups(quantizer q) {
    return q == QUANTIZER_ROUND || q == QUANTIZER_GPTQ;
}

status quantizer_factor(quantizer q, ldl_factor *out, const matrix_problem *p, bool *made) {
    *made = (q == QUANTIZER_RATE || q == QUANTIZER_TRELLIS) && p->hessian && !p->rotation;
    *out = (ldl_factor){0};
    return *made ? ldl_factor_create(out, p->hessian, p->cols, p->damp, false) : STATUS_OK;
}

status quantize_matrix(quantizer q, quantized *out, const matrix_problem *p, double rate) {
    *out = (quantized){0};
    if (!(rate >= RATE_LEAST && rate <= RATE_MOST))
        return fail("expected a rate of %g to %g bits a weight, found %g", RATE_LEAST, RATE_MOST, rate);
    TRY(check_problem(q, p));
    TRY(p->rotation ? run_rotated(q, out, p, rate) : table[q].run(out, p, rate));
    return p->rank > 0 ? low_rank_correct(out, p) : STATUS_OK;
}

double matrix_error(const matrix_problem *p, const quantized *quantised) {
    const int64_t count = p->rows * p->cols;
    float *w = xmalloc((size_t)count * sizeof *w), *other = quantised ? xmalloc((size_t)count * sizeof *other) : NULL;
    if (quantised) quantized_expand(quantised, other);
    for (int64_t r = 0; r < p->rows; r++) {
        const float factor = p->row_weight ? (float)sqrt(p->row_weight[r]) : 1;
        for (int64_t c = r * p->cols; c < (r + 1) * p->cols; c++) {
            w[c] = factor * p->w[c];
            if (other) other[c] *= factor;
        }
    }
    const double error = hessian_error(w, other, p->hessian, p->rows, p->cols);
    free(w);
    free(other);
    return error;
}

const char *quantizer_name(quantizer q) {
    return table[q].name;
}

bool quantizer_find(const char *name, quantizer *q) {
    for (int i = 0; i < QUANTIZERS; i++)
        if (strcmp(name, table[i].name) == 0) {
            *q = (quantizer)i;
            return true;
        }
    return false;
}

const char *quantizer_list(void) {
    static char list[256];
    if (!list[0])
        for (int i = 0; i < QUANTIZERS; i++) {
            if (i) strcat(list, ", ");
            strcat(list, table[i].name);
        }
    return list;
}

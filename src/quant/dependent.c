#include "quant/dependent.h"

#include "base/memory.h"
#include "quant/code_cost.h"
#include "quant/ldl_factor.h"
#include "quant/quantize.h"
#include "tensor/trellis.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS = 16,      /* at a time, which hear of earlier blocks together */
    CANDIDATES = 3, /* codes that are tried from each state */
    MOST_CODE = 63, /* |k|: points fit int8 */
    STEPS_AN_OCTAVE = 8,
    MOST_POINT = 100, /* what the largest weight may become; feedback moves it a little */
    LEVELS = 127
};

/* Error of a path, in units of δ_j², that 8 states leave at high rate, measured; other numbers differ by a few hundredths. */
static const double high_rate_error = 0.228;

const dependent_options dependent_options_default = {.states = 8, .step = 0.025, .rate_weight = 1, .damp = 0.01};

/* One scalar quantiser as a trellis of one state. */
static const trellis scalar = {.states = 1};

typedef struct problem {
    ldl_factor factor;
    bool lent; /* the factor is the caller's */
    const trellis *trellis;
    code_cost cost;
    float *step;   /* [cols] δ_j, but for the row's own factor; the result's input_scale */
    float *weight; /* [cols] what (error / δ_j)² counts: 1 but where a step had to be larger than it would be */
    const float *row_step; /* [rows] that factor */
    float *row_spread;     /* [rows] σ_r / row_step, in octaves */
    float *column_spread;  /* [cols] of σ_c / (σ · δ_j), in octaves */
    float lambda;
    const uint8_t *pruned;
} problem;

static void problem_free(problem *p) {
    if (!p->lent) ldl_factor_free(&p->factor);
    free(p->weight);
    free(p->row_spread);
    free(p->column_spread);
}

/* ---- steps ---- */

/* The largest |w| of each column, in units of the rows' steps. */
static float *column_peaks(const problem *p, const float *w, int64_t rows) {
    const int64_t n = p->factor.cols;
    float *peak = xcalloc((size_t)n, sizeof *peak);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < n; c++) peak[c] = fmaxf(peak[c], fabsf(w[r * n + c]) / p->row_step[r]);
    return peak;
}

/* δ_j ∝ 1/√D_j with the geometric mean δ, in eighths of an octave (which cost 0.001 bit a weight, and are few to store), but so large
 * that the column's points fit: an input that towers above all others would have steps too fine for that. */
static void choose_column_steps(problem *p, const float *w, int64_t rows, double delta) {
    const int64_t n = p->factor.cols;
    double logs = 0;
    for (int64_t c = 0; c < n; c++) logs -= log(p->factor.root[c]);
    const double unit = delta / exp(logs / (double)n);
    float *peak = column_peaks(p, w, rows);
    for (int64_t c = 0; c < n; c++) {
        const double wanted = unit / p->factor.root[c], least = fmax(wanted, peak[c] / MOST_POINT);
        p->step[c] =
            scale_round((float)(unit * exp2(nearbyint(STEPS_AN_OCTAVE * log2(least / unit)) / STEPS_AN_OCTAVE)));
        p->weight[c] = (float)((p->step[c] / wanted) * (p->step[c] / wanted));
    }
    free(peak);
}

static double root_mean_square(const float *w, int64_t count) {
    double squares = 0;
    for (int64_t i = 0; i < count; i++) squares += (double)w[i] * w[i];
    return sqrt(squares / (double)count);
}

static void measure_spreads(problem *p, const float *w, int64_t rows) {
    const int64_t n = p->factor.cols;
    const double sigma = root_mean_square(w, rows * n);
    double *columns = xcalloc((size_t)n, sizeof *columns);
    for (int64_t r = 0; r < rows; r++) {
        double squares = 0;
        for (int64_t c = 0; c < n; c++) {
            const double square = (double)w[r * n + c] * w[r * n + c];
            squares += square;
            columns[c] += square;
        }
        p->row_spread[r] = (float)(0.5 * log2(squares / (double)n + 1e-30) - log2(p->row_step[r]));
    }
    for (int64_t c = 0; c < n; c++)
        p->column_spread[c] = (float)(0.5 * log2(columns[c] / (double)rows + 1e-30) - log2(sigma) - log2(p->step[c]));
    free(columns);
}

static status take_factor(problem *p, const float *hessian, int64_t cols, const dependent_options *o) {
    p->lent = o->factor != NULL;
    if (p->lent) {
        p->factor = *o->factor;
        return STATUS_OK;
    }
    float *zeros = hessian ? NULL : xcalloc((size_t)(cols * cols), sizeof *zeros);
    const status s = ldl_factor_create(&p->factor, hessian ? hessian : zeros, cols, o->damp, false);
    free(zeros);
    return s;
}

static status problem_create(problem *p, const float *w, const float *hessian, int64_t rows, int64_t cols,
                             const quantized *out, const dependent_options *o) {
    *p = (problem){.step = out->input_scale,
                   .row_step = out->scale,
                   .trellis = o->states == 1 ? &scalar : trellis_of(o->states),
                   .pruned = o->pruned};
    TRY(take_factor(p, hessian, cols, o));
    p->column_spread = xmalloc((size_t)cols * sizeof *p->column_spread);
    p->weight = xmalloc((size_t)cols * sizeof *p->weight);
    p->row_spread = xmalloc((size_t)rows * sizeof *p->row_spread);
    choose_column_steps(p, w, rows, o->step / (o->states == 1 ? 1 : 2));
    measure_spreads(p, w, rows);
    code_cost_fill(&p->cost, o->states > 1);
    p->lambda = (float)(o->rate_weight * 2 * M_LN2 * (o->states == 1 ? 1.0 / 12 : high_rate_error));
    return STATUS_OK;
}

/* ---- Viterbi ---- */

/* How a state was reached at one column. */
typedef struct arrival {
    float cost;
    int8_t code, point;
    uint8_t from;
} arrival;

typedef struct survivors {
    float cost[TRELLIS_MOST_STATES];
    float w[2][TRELLIS_MOST_STATES][FACTOR_BLOCK]; /* what each has left of the row's block; two sides in turn */
    arrival way[FACTOR_BLOCK][TRELLIS_MOST_STATES];
} survivors;

/* The codes nearest to x (in units of δ_j) and one more on the side of 0. */
static inline void nearest_codes(int out[CANDIDATES], float x, int quantizer, int scalar_step) {
    const float magnitude = fabsf(x), width = scalar_step ? 1 : 2;
    const int nearest = (int)((magnitude + (float)quantizer) / width + 0.5f);
    const int limit = scalar_step ? LEVELS : MOST_CODE;
    const int sign = x < 0 ? -1 : 1, most = nearest < limit ? nearest : limit;
    out[0] = sign * most;
    out[1] = sign * (most < limit ? most + 1 : most - 2);
    out[2] = sign * (most - 1); /* most 0: the other sign's 1 */
}

static inline int point_of(const problem *p, int code, int state) {
    return p->trellis->states == 1 ? code : trellis_point(code, p->trellis->quantizer[state]);
}

/* All ways from `state` over column j, where the row has x steps left. */
static inline void leave_state(const problem *p, arrival out[TRELLIS_MOST_STATES], int state, float cost, float x,
                               float weight, const float *bits) {
    int codes[CANDIDATES];
    nearest_codes(codes, x, p->trellis->quantizer[state], p->trellis->states == 1);
    for (int i = 0; i < CANDIDATES; i++) {
        const int code = codes[i], point = point_of(p, code, state), next = p->trellis->next[state][code & 1];
        const float error = x - (float)point, sum = cost + weight * error * error + p->lambda * bits[abs(code)];
        if (sum < out[next].cost) out[next] = (arrival){sum, (int8_t)code, (int8_t)point, (uint8_t)state};
    }
}

/* A pruned weight: its code is 0. */
static inline void leave_pruned(const problem *p, arrival out[TRELLIS_MOST_STATES], int state, float cost, float x,
                                float weight) {
    const int next = p->trellis->next[state][0];
    const float sum = cost + weight * x * x;
    if (sum < out[next].cost) out[next] = (arrival){sum, 0, 0, (uint8_t)state};
}

static inline void feed_back(float *to, const float *from, const float *f, float error, int64_t first, int64_t count) {
    for (int64_t c = first; c < count; c++) to[c] = from[c] - error * f[c];
}

/* One column of a block for every survivor. w: the row's block as it was; at: within it; unit: δ_j of this row. */
static void step_column(const problem *p, survivors *s, const float *w, int64_t r, int64_t first, int64_t at,
                        int64_t count) {
    const int64_t n = p->factor.cols, j = first + at;
    const int side = (int)(at & 1), states = p->trellis->states;
    const float unit = p->step[j] * p->row_step[r], inverse = 1 / unit;
    const float *f = p->factor.factor + j * n + first, weight = p->weight[j];
    const float(*bits)[COST_CODES] = code_cost_at(&p->cost, p->row_spread[r] + p->column_spread[j]);
    const bool pruned = p->pruned && p->pruned[r * n + j];
    arrival *way = s->way[at];
    for (int i = 0; i < states; i++) way[i] = (arrival){.cost = INFINITY};
    for (int i = 0; i < states; i++) {
        if (s->cost[i] == INFINITY) continue;
        const float x = s->w[side][i][at] * inverse;
        pruned ? leave_pruned(p, way, i, s->cost[i], x, weight)
               : leave_state(p, way, i, s->cost[i], x, weight, bits[p->trellis->quantizer[i]]);
    }
    for (int i = 0; i < states; i++) {
        s->cost[i] = way[i].cost;
        if (way[i].cost == INFINITY) continue;
        feed_back(s->w[!side][i], s->w[side][way[i].from], f, (float)way[i].point * unit - w[at], at + 1, count);
    }
}

/* Columns first … first+count−1 of row r from *state on; points of the best way. w: the row's block as it was, left: with what earlier blocks
 * add to it. */
static void walk_block(const problem *p, survivors *s, const float *w, const float *left, int64_t r, int64_t first,
                       int64_t count, int *state, int8_t *points) {
    const int states = p->trellis->states;
    for (int i = 0; i < states; i++) s->cost[i] = INFINITY;
    s->cost[*state] = 0;
    memcpy(s->w[0][*state], left, (size_t)count * sizeof *left);
    for (int64_t at = 0; at < count; at++) step_column(p, s, w, r, first, at, count);
    int best = 0;
    for (int i = 1; i < states; i++)
        if (s->cost[i] < s->cost[best]) best = i;
    *state = best;
    for (int64_t at = count - 1; at >= 0; at--) {
        const arrival *a = &s->way[at][best];
        points[at] = a->point;
        best = a->from;
    }
}

/* What is to be made up for, as ldl_factor_make_up takes it. */
static void block_errors(const problem *p, float *errors, const float *w, const int8_t *points, int64_t r,
                         int64_t first, int64_t count) {
    for (int64_t c = 0; c < count; c++) errors[c] = (float)points[c] * (p->step[first + c] * p->row_step[r]) - w[c];
}

/* What a thread works in. */
typedef struct space {
    float *e;                     /* [ROWS, cols] what became of some rows less what they were */
    float x[ROWS * FACTOR_BLOCK]; /* a block of them with what the errors before add to it */
    survivors s;
} space;

static void quantize_panel(quantized *out, const problem *p, const float *w, int64_t first_row, int64_t rows,
                           space *s) {
    const int64_t n = p->factor.cols;
    int state[ROWS] = {0};
    for (int64_t first = 0; first < n; first += FACTOR_BLOCK) {
        const int64_t count = n - first < FACTOR_BLOCK ? n - first : FACTOR_BLOCK;
        for (int64_t i = 0; i < rows; i++)
            memcpy(s->x + i * FACTOR_BLOCK, w + (first_row + i) * n + first, (size_t)count * sizeof *w);
        ldl_factor_make_up(&p->factor, s->x, s->e, rows, first, first + count);
        for (int64_t i = 0; i < rows; i++) {
            const int64_t r = first_row + i, at = r * n + first;
            walk_block(p, &s->s, w + at, s->x + i * FACTOR_BLOCK, r, first, count, &state[i], out->q + at);
            block_errors(p, s->e + i * n + first, w + at, out->q + at, r, first, count);
        }
    }
}

/* false: no memory in some thread. */
static bool quantize_rows(quantized *out, const problem *p, const float *w) {
    bool done = true;
#pragma omp parallel reduction(&& : done)
    {
        space *s = malloc(sizeof *s);
        float *e = malloc((size_t)(ROWS * out->cols) * sizeof *e);
        done = s && e;
        if (s) s->e = e;
#pragma omp for schedule(dynamic)
        for (int64_t r = 0; r < out->rows; r += ROWS)
            if (done) quantize_panel(out, p, w, r, out->rows - r < ROWS ? out->rows - r : ROWS, s);
        free(e);
        free(s);
    }
    return done;
}

static status check_options(const dependent_options *o) {
    if (o->states != 1 && !trellis_of(o->states))
        return fail("states: expected 1, 4, 8, 16, 32 or 64, found %d", o->states);
    if (!(o->step > 0)) return fail("step: expected a number above 0, found %g", o->step);
    return STATUS_OK;
}

/* Steps and factors of rows; a matrix of zeros has scales of 0. */
static status prepare(quantized *out, const float *w, const dependent_options *o) {
    double squares = 0;
    TRY(check_finite(w, out->rows, out->cols));
    for (int64_t i = 0; i < out->rows * out->cols; i++) squares += (double)w[i] * w[i];
    out->levels = LEVELS;
    out->trellis = o->states == 1 ? 0 : o->states;
    if (squares < 1e-60) return STATUS_OK;
    out->input_scale = xmalloc((size_t)out->cols * sizeof *out->input_scale);
    for (int64_t r = 0; r < out->rows; r++) out->scale[r] = o->row_step ? o->row_step[r] : 1;
    return STATUS_OK;
}

status quantize_dependent(quantized *out, const float *w, const float *hessian, int64_t rows, int64_t cols,
                          const dependent_options *options) {
    problem p = {0};
    bool done = true;
    TRY(check_options(options));
    TRY(quantized_create(out, rows, cols, 8));
    status s = prepare(out, w, options);
    if (s == STATUS_OK && out->input_scale) s = problem_create(&p, w, hessian, rows, cols, out, options);
    if (s == STATUS_OK && out->input_scale) done = quantize_rows(out, &p, w);
    problem_free(&p);
    if (s != STATUS_OK) quantized_free(out);
    if (!done) memory_out(sizeof(space));
    return s;
}

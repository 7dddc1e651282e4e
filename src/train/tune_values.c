#include "train/tune_values.h"

#include "base/half.h"
#include "base/memory.h"
#include "quant/quantize.h"
#include "tensor/rotation.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of one kind of one tensor, a part of the arrays of all. */
typedef struct stretch {
    tuned_part part;
    stored_numbers *of;
    param *p;
    int64_t first, count;
    float unit;    /* what a rate of 1 moves a number by: 1 of t, the root mean square of floats */
    float *stored; /* where n has them: floats or scales */
} stretch;

struct tune_values {
    model *m;
    stretch *stretches;
    int stretch_count;
    int64_t count;
    int64_t steps;
    float *start;        /* of scales: as the file had them */
    float *value, *kept; /* floats themselves, or t of scales */
    float *grad, *mean, *square;
    float *matrix, *slopes; /* scratch, as large as the largest tensor */
};

#define LEAST_UNIT 0.01f /* of gates that are nearly 0 */

/* ---- what learns ---- */

static float root_mean_square(const float *x, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)x[i] * x[i];
    return (float)sqrt(sum / (double)count);
}

static void add_stretch(tune_values *v, tuned_part part, stored_numbers *of, param *p, float *stored, int64_t count) {
    v->stretches = xrealloc(v->stretches, (size_t)(v->stretch_count + 1) * sizeof *v->stretches);
    v->stretches[v->stretch_count++] =
        (stretch){.part = part,
                  .of = of,
                  .p = p,
                  .first = v->count,
                  .count = count,
                  .unit = part == TUNED_FLOATS ? fmaxf(root_mean_square(stored, count), LEAST_UNIT) : 1,
                  .stored = stored};
    v->count += count;
}

static void add_tensor(tune_values *v, stored_numbers *n, param *p, const bool parts[TUNED_PARTS]) {
    if (!p->grad) return;
    if (n->floats) {
        if (parts[TUNED_FLOATS]) add_stretch(v, TUNED_FLOATS, n, p, n->floats, n->count);
        return;
    }
    /* An offset is in quarters of the scale, and would have to follow it; the scales of rotated columns, or of groups that are not whole
     * blocks of what is rotated together, are not of the columns that w has. */
    const bool mixed = n->q.rotation && quantized_groups(&n->q) > 1 && n->q.group % rotation_block(n->q.cols) != 0;
    if (parts[TUNED_ROWS] && !n->q.offset && !mixed)
        add_stretch(v, TUNED_ROWS, n, p, n->q.scale, n->q.rows * quantized_groups(&n->q));
    if (parts[TUNED_COLUMNS] && n->q.input_scale && !n->q.rotation)
        add_stretch(v, TUNED_COLUMNS, n, p, n->q.input_scale, n->q.cols);
}

static void take_arrays(tune_values *v) {
    const size_t count = (size_t)v->count + 1;
    size_t largest = 1;
    for (int i = 0; i < v->m->param_count; i++) {
        const size_t weights = (size_t)param_count(v->m->params[i]);
        if (weights > largest) largest = weights;
    }
    float **arrays[] = {&v->start, &v->value, &v->kept, &v->grad, &v->mean, &v->square};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) *arrays[i] = xcalloc(count, sizeof(float));
    v->matrix = xmalloc(largest * sizeof *v->matrix);
    v->slopes = xmalloc(largest * sizeof *v->slopes);
}

tune_values *tune_values_create(artifact_numbers *n, model *m, const bool parts[TUNED_PARTS]) {
    tune_values *v = xcalloc(1, sizeof *v);
    int next = 0;
    v->m = m;
    for (int i = 0; i < m->param_count && next < n->count; i++)
        if (!m->params[i]->derived) add_tensor(v, &n->tensors[next++], m->params[i], parts);
    take_arrays(v);
    for (int i = 0; i < v->stretch_count; i++) {
        const stretch *s = &v->stretches[i];
        memcpy(v->start + s->first, s->stored, (size_t)s->count * sizeof(float));
        if (s->part == TUNED_FLOATS) memcpy(v->value + s->first, s->stored, (size_t)s->count * sizeof(float));
    }
    tune_values_keep(v);
    return v;
}

void tune_values_destroy(tune_values *v) {
    if (!v) return;
    float *arrays[] = {v->start, v->value, v->kept, v->grad, v->mean, v->square, v->matrix, v->slopes};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) free(arrays[i]);
    free(v->stretches);
    free(v);
}

int64_t tune_values_count(const tune_values *v) {
    return v->count;
}

/* ---- from values to the model ---- */

/* As a file keeps it: float16 where that holds it. */
static float float_round(float x) {
    const float half = half_to_float(half_from_float(x));
    return isfinite(half) ? half : x;
}

/* 0 stays 0; no other scale becomes 0. In the steps that it has: a coarse one stays coarse, which the file's size is reckoned with. */
static float moved_scale(float start, float t) {
    if (start == 0 || t == 0) return start;
    const float moved = start * expf(t);
    const float scale = scale_round(start) == start ? scale_round(moved) : bfloat_round(moved);
    return scale > 0 && isfinite(scale) ? scale : start;
}

static void write_stored(const tune_values *v, const stretch *s) {
    for (int64_t i = 0; i < s->count; i++) {
        const float start = v->start[s->first + i], x = v->value[s->first + i];
        s->stored[i] = s->part != TUNED_FLOATS ? moved_scale(start, x) : x == start ? x : float_round(x);
    }
}

static bool last_of_tensor(const tune_values *v, int i) {
    return i + 1 == v->stretch_count || v->stretches[i + 1].of != v->stretches[i].of;
}

/* n and m have what the values say. */
static status show(tune_values *v) {
    for (int i = 0; i < v->stretch_count; i++) {
        const stretch *s = &v->stretches[i];
        write_stored(v, s);
        if (!last_of_tensor(v, i)) continue;
        if (s->of->floats) {
            TRY(param_set(s->p, v->m->k, s->of->floats));
        } else {
            quantized_expand(&s->of->q, v->matrix);
            TRY(param_set(s->p, v->m->k, v->matrix));
        }
    }
    return STATUS_OK;
}

void tune_values_keep(tune_values *v) {
    memcpy(v->kept, v->value, (size_t)v->count * sizeof *v->kept);
}

status tune_values_return(tune_values *v) {
    memcpy(v->value, v->kept, (size_t)v->count * sizeof *v->kept);
    return show(v);
}

/* ---- gradients ---- */

/* slopes [rows, cols] = ∂L/∂w · w */
static void row_slopes(float *out, const quantized *q, const float *slopes) {
    const int64_t groups = quantized_groups(q);
#pragma omp parallel for schedule(static) if (q->rows * q->cols > 1 << 14)
    for (int64_t i = 0; i < q->rows * groups; i++) {
        double sum = 0;
        for (int64_t c = 0; c < q->group; c++) sum += slopes[i * q->group + c];
        out[i] = (float)sum;
    }
}

static void column_slopes(float *out, const quantized *q, const float *slopes) {
    memset(out, 0, (size_t)q->cols * sizeof *out);
    for (int64_t r = 0; r < q->rows; r++)
        for (int64_t c = 0; c < q->cols; c++) out[c] += slopes[r * q->cols + c];
}

/* ∂L/∂w · w of a matrix, to v->slopes. */
static void find_slopes(tune_values *v, const stretch *s) {
    const int64_t weights = s->of->count;
    v->m->k->download(v->slopes, s->p->grad, (size_t)weights * sizeof *v->slopes);
    quantized scaled = s->of->q; /* a correction does not follow the scales */
    scaled.correction = NULL;
    quantized_expand(&scaled, v->matrix);
#pragma omp parallel for schedule(static) if (weights > 1 << 14)
    for (int64_t i = 0; i < weights; i++) v->slopes[i] *= v->matrix[i];
}

static void gather(tune_values *v) {
    const stored_numbers *of = NULL;
    for (int i = 0; i < v->stretch_count; i++) {
        const stretch *s = &v->stretches[i];
        float *grad = v->grad + s->first;
        if (s->part == TUNED_FLOATS) {
            v->m->k->download(grad, s->p->grad, (size_t)s->count * sizeof *grad);
            continue;
        }
        if (s->of != of) find_slopes(v, s);
        of = s->of;
        s->part == TUNED_ROWS ? row_slopes(grad, &s->of->q, v->slopes) : column_slopes(grad, &s->of->q, v->slopes);
    }
}

status tune_values_gradients(tune_values *v, float *out) {
    gather(v);
    for (int i = 0; i < v->stretch_count; i++) {
        const stretch *s = &v->stretches[i];
        for (int64_t j = s->first; j < s->first + s->count; j++) out[j] = s->unit * v->grad[j];
    }
    return STATUS_OK;
}

static void adam(tune_values *v, double rate) {
    const double beta1 = 0.9, beta2 = 0.99, tiny = 1e-12;
    const double first = 1 - pow(beta1, (double)v->steps), second = 1 - pow(beta2, (double)v->steps);
    for (int i = 0; i < v->stretch_count; i++) {
        const stretch *s = &v->stretches[i];
        for (int64_t j = s->first; j < s->first + s->count; j++) {
            const double g = v->grad[j];
            v->mean[j] = (float)(beta1 * v->mean[j] + (1 - beta1) * g);
            v->square[j] = (float)(beta2 * v->square[j] + (1 - beta2) * g * g);
            const double step = v->mean[j] / first / (sqrt(v->square[j] / second) + tiny);
            v->value[j] -= (float)(rate * s->unit * step);
        }
    }
}

status tune_values_step(tune_values *v, double rate) {
    gather(v);
    for (int64_t i = 0; i < v->count; i++)
        if (!isfinite(v->grad[i])) return fail("tuning: the gradient of a number is not finite");
    v->steps++;
    adam(v, rate);
    return show(v);
}

status tune_values_move(tune_values *v, int64_t which, double by) {
    for (int i = 0; i < v->stretch_count; i++) {
        const stretch *s = &v->stretches[i];
        if (which >= s->first && which < s->first + s->count) v->value[which] += (float)(by * s->unit);
    }
    return show(v);
}

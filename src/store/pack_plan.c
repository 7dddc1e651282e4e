#include "store/pack_plan.h"

#include "base/half.h"
#include "base/memory.h"
#include "quant/low_rank.h"
#include "quant/prune.h"
#include "store/weight_codec.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

pack_plan pack_plan_create(const model *m, quantizer q, int64_t keep_float_elements) {
    pack_plan p = {.tensors = xcalloc((size_t)m->param_count, sizeof *p.tensors), .count = m->param_count};
    for (int i = 0; i < m->param_count; i++)
        p.tensors[i] =
            (tensor_plan){.floats = !m->params[i]->is_matrix || param_count(m->params[i]) <= keep_float_elements,
                          .quantizer = q,
                          .rank_bits = LOW_RANK_BITS};
    return p;
}

void pack_plan_free(pack_plan *p) {
    free(p->tensors);
    *p = (pack_plan){0};
}

bool pack_plan_is_grid(const pack_plan *p, const model *m, int index) {
    return !p->tensors[index].floats && !m->params[index]->derived;
}

int64_t pack_plan_grid_elements(const pack_plan *p, const model *m) {
    int64_t elements = 0;
    for (int i = 0; i < m->param_count; i++)
        if (pack_plan_is_grid(p, m, i)) elements += param_count(m->params[i]);
    return elements;
}

/* ---- one matrix ---- */

status packed_matrix_open(packed_matrix *out, const pack_plan *p, const model *m, int index, hessians *h) {
    const param *weight = m->params[index];
    const tensor_plan *t = &p->tensors[index];
    *out = (packed_matrix){.w = xmalloc(tensor_bytes(&weight->value))};
    status s = param_get(weight, m->k, out->w);
    if (s == STATUS_OK && p->prune_fraction > 0 && prune_concerns(weight))
        out->pruned_count = prune_smallest(&out->pruned, out->w, param_count(weight), p->prune_fraction);
    if (s == STATUS_OK) s = matrix_curvature_of(&out->curvature, p->sensitivities, h, weight);
    out->problem = (matrix_problem){.w = out->w,
                                    .hessian = out->curvature.hessian,
                                    .rows = tensor_rows(&weight->value),
                                    .cols = tensor_cols(&weight->value),
                                    .row_weight = out->curvature.row_weight,
                                    .pruned = out->pruned,
                                    .damp = p->damp,
                                    .group = t->group,
                                    .asymmetric = t->asymmetric,
                                    .rotation = t->rotation,
                                    .rank = t->rank,
                                    .rank_bits = t->rank_bits};
    if (s != STATUS_OK) packed_matrix_close(out);
    return fail_in(s, "%s", weight->name);
}

void packed_matrix_close(packed_matrix *m) {
    free(m->w);
    free(m->pruned);
    matrix_curvature_free(&m->curvature);
    *m = (packed_matrix){0};
}

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* −Σ log₂ p, and two bytes for each that differs. */
static double bits_of_values(const float *scales, int64_t count) {
    float *sorted = xmalloc((size_t)count * sizeof *sorted);
    double bits = 0;
    memcpy(sorted, scales, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_value);
    for (int64_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && sorted[end] == sorted[i];) end++;
        bits += 16 - (double)(end - i) * log2((double)(end - i) / (double)count);
    }
    free(sorted);
    return bits;
}

/* As a bell curve of their own width around their mean has them, which the coder finds; without the low bits that are 0 in all. Those that
 * are 0 altogether it marks. */
static double bits_around_mean(const float *scales, int64_t count) {
    double sum = 0, squares = 0;
    int64_t some = 0;
    uint32_t used = 0;
    for (int64_t i = 0; i < count; i++) used |= bfloat_from_float(scales[i]);
    const double unit = used ? (double)(used & -used) : 1;
    for (int64_t i = 0; i < count; i++) {
        const double x = bfloat_from_float(scales[i]) / unit;
        sum += x;
        squares += x * x;
        some += x > 0;
    }
    if (some == 0) return 0;
    const double mean = sum / (double)some, variance = fmax(0, squares / (double)some - mean * mean);
    return 16 + (double)(count - some) + 0.5 * (double)some * log2(1 + 2 * M_PI * M_E * variance);
}

/* The scales of all matrices are packed together, so what those of one need is estimated. */
static double scale_bytes(const float *scales, int64_t count) {
    return fmin(bits_of_values(scales, count), bits_around_mean(scales, count)) / 8;
}

/* Of their quarters, which are few. */
static double offset_bytes(const quantized *q, int64_t groups) {
    float *quarters = xmalloc((size_t)groups * sizeof *quarters);
    for (int64_t i = 0; i < groups; i++) quarters[i] = q->scale[i] > 0 ? nearbyintf(4 * q->offset[i] / q->scale[i]) : 0;
    const double bytes = bits_of_values(quarters, groups) / 8;
    free(quarters);
    return bytes;
}

static double row_scale_bytes(const quantized *q) {
    const int64_t groups = q->rows * quantized_groups(q);
    return scale_bytes(q->scale, groups) + (q->offset ? offset_bytes(q, groups) : 0);
}

static double column_scale_bytes(const quantized *q) {
    return q->input_scale ? scale_bytes(q->input_scale, q->cols) : 0;
}

double packed_scale_bytes(const quantized *q) {
    return row_scale_bytes(q) + column_scale_bytes(q) + (q->correction ? packed_scale_bytes(q->correction) : 0);
}

static double code_bytes(const quantized *q) {
    uint8_t *codes;
    size_t count = (size_t)(q->rows * q->cols);
    if (weights_encode(q, NULL, &codes, &count) == STATUS_OK) free(codes);
    return fmin((double)count, (double)(q->rows * q->cols));
}

coded_size packed_matrix_size(const quantized *q) {
    return (coded_size){.rows = code_bytes(q) + row_scale_bytes(q), .columns = column_scale_bytes(q)};
}

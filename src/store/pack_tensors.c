/* Every tensor of a model to its place in the artifact: which stay floats, which grid the others get, and what it costs. */
#include "base/half.h"
#include "base/memory.h"
#include "base/progress.h"
#include "quant/prune.h"
#include "quant/quantize.h"
#include "store/artifact_format.h"
#include "store/pack_plan.h"
#include "store/weight_codec.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what kind of tensor it is ---- */

static component component_of(const param *p) {
    return role_component(p->role);
}

/* Embeddings and the head have their own grid; the table of a hash is an embedding, its projection is not. */
static grid_options grid_of(const param *p, const quant_options *options) {
    const bool table = role_is_table(p->role);
    return (grid_options){.bits = table ? quant_embed_bits(options) : options->bits,
                          .least_step = table ? options->embed_least_step : options->least_step,
                          .least_scale = options->least_scale,
                          .plain_clip = options->plain_clip};
}

/* ---- floats ---- */

/* Whether float16 holds the values: none beyond its range, and what is below its normal range is lost only where it is
 * small beside the others. */
static bool fits_half(const float *x, int64_t count) {
    double squares = 0, worst = 0;
    for (int64_t i = 0; i < count; i++) {
        const float back = half_to_float(half_from_float(x[i]));
        if (!isfinite(back)) return false;
        squares += (double)x[i] * x[i];
        worst = fmax(worst, fabs((double)back - x[i]) - 0x1p-11 * fabs((double)x[i]));
    }
    return worst <= 0x1p-11 * sqrt(squares / (double)count);
}

static tensor_coding add_values(packed_tensors *out, const float *x, int64_t count) {
    if (!fits_half(x, count)) {
        out->floats = xrealloc(out->floats, (out->float_count + (size_t)count) * sizeof(float));
        memcpy(out->floats + out->float_count, x, (size_t)count * sizeof(float));
        out->float_count += (size_t)count;
        return CODING_FLOAT32;
    }
    out->halves = xrealloc(out->halves, (out->half_count + (size_t)count) * sizeof(uint16_t));
    for (int64_t i = 0; i < count; i++) out->halves[out->half_count++] = half_from_float(x[i]);
    return CODING_FLOAT16;
}

tensor_coding packed_add_floats(packed_tensors *out, const param *p, const float *x) {
    const tensor_coding coding = add_values(out, x, param_count(p));
    packed_add_entry(out, p, &(tensor_entry){.coding = coding, .twin = -1});
    return coding;
}

/* ---- grids ---- */

typedef struct grid_error {
    double of_error, of_weights; /* tr(ΔW H ΔWᵀ), tr(W H Wᵀ) */
    bool has_hessian;
} grid_error;

/* Quantise one matrix and measure it under the Hessian. */
static status quantize_one(quantized *q, const float *w, const uint8_t *pruned, const param *p, hessians *h,
                           const quant_options *options, grid_error *error) {
    const int64_t rows = tensor_rows(&p->value), cols = tensor_cols(&p->value);
    grid_options grid = grid_of(p, options);
    grid.pruned = pruned;
    const float *hessian = NULL;
    if (h && !(options->plain_tables && role_is_table(p->role))) TRY(hessians_of(h, p, &hessian, NULL));
    status s = options->gptq && hessian ? quantize_gptq(q, w, hessian, rows, cols, &grid, options->damp)
                                        : quantize_round(q, w, rows, cols, &grid);
    if (s == STATUS_OK) {
        float *expanded = xmalloc((size_t)(rows * cols) * sizeof *expanded);
        quantized_expand(q, expanded);
        error->of_error = hessian_error(w, expanded, hessian, rows, cols);
        error->of_weights = hessian_error(w, NULL, hessian, rows, cols);
        error->has_hessian = hessian != NULL;
        free(expanded);
    }
    return s;
}

/* Which of bits and step decided how coarse the rows are. */
static void count_rows(pack_rows *rows, const quantized *q, const float *w, const grid_options *grid) {
    rows->count += q->rows;
    for (int64_t r = 0; r < q->rows && grid->least_step > 0; r++)
        rows->at_step += q->scale[r] > 0 && q->scale[r] <= grid_least_scale(w + r * q->cols, q->cols, grid);
}

/* ---- one tensor ---- */

static status pack_floats(packed_tensors *out, const param *p, float *w, const uint8_t *pruned,
                          component_share *share) {
    const int64_t count = param_count(p);
    for (int64_t i = 0; i < count && pruned; i++)
        if (pruned[i]) w[i] = 0;
    TRY(check_finite(w, tensor_rows(&p->value), tensor_cols(&p->value)));
    const tensor_coding coding = packed_add_floats(out, p, w);
    *(coding == CODING_FLOAT16 ? &share->halves : &share->floats) += count;
    return STATUS_OK;
}

/* By the plan: quantised and measured with what its errors do to the loss. */
static status quantize_planned(quantized *q, packed_matrix *matrix, tensor_plan *plan, grid_error *error) {
    TRY(quantize_matrix(plan->quantizer, q, &matrix->problem, plan->rate));
    plan->error = error->of_error = matrix_error(&matrix->problem, q);
    plan->weight = error->of_weights = matrix_error(&matrix->problem, NULL);
    error->has_hessian = true;
    return STATUS_OK;
}

/* What a quantised matrix is to the file and the report; frees q. */
static status add_grid(packed_tensors *out, const param *p, quantized *q, const grid_error *error, bool counts,
                       pack_report *report, component_share *share, pack_component *sum, size_t *code_bytes) {
    pack_component *c = &report->components[component_of(p)];
    const size_t scales = out->scale_count;
    c->error += error->of_error;
    c->weight += error->of_weights;
    if (counts) {
        sum->error += error->of_error;
        sum->weight += error->of_weights;
    }
    report->entropy_bits += weights_entropy(q);
    TRY(packed_add_grid(out, p, q, code_bytes));
    c->bytes += (int64_t)*code_bytes;
    share->scales += (int64_t)(out->scale_count - scales);
    return STATUS_OK;
}

static status pack_grid(packed_tensors *out, const param *p, const float *w, const uint8_t *pruned, hessians *h,
                        const quant_options *options, pack_report *report, component_share *share,
                        pack_component *sum) {
    quantized q;
    size_t code_bytes;
    grid_error error = {0};
    TRY(quantize_one(&q, w, pruned, p, h, options, &error));
    const grid_options grid = grid_of(p, options);
    count_rows(&report->components[component_of(p)].rows[role_is_table(p->role) ? PACK_TABLES : PACK_BLOCKS], &q, w,
               &grid);
    /* Tables that are only looked up are measured in other units than what has a Hessian, and left out of the sum. */
    return add_grid(out, p, &q, &error, error.has_hessian || !h, report, share, sum, &code_bytes);
}

static status pack_planned(packed_tensors *out, const model *m, const param *p, hessians *h, pack_plan *plan, int index,
                           pack_report *report, component_share *share, pack_component *sum) {
    tensor_plan *t = &plan->tensors[index];
    packed_matrix matrix;
    TRY(packed_matrix_open(&matrix, plan, m, index, t->floats ? NULL : h));
    report->pruned += matrix.pruned_count;
    status s;
    if (t->floats) {
        s = pack_floats(out, p, matrix.w, matrix.pruned, share);
        t->bytes = 2 * (double)param_count(p);
        t->error = t->weight = 0;
    } else {
        quantized q;
        grid_error error;
        size_t code_bytes;
        s = quantize_planned(&q, &matrix, t, &error);
        if (s == STATUS_OK) {
            const double scales = packed_scale_bytes(&q);
            s = add_grid(out, p, &q, &error, true, report, share, sum, &code_bytes);
            t->bytes = (double)code_bytes + scales;
        }
    }
    packed_matrix_close(&matrix);
    return s;
}

/* Parameters that have to be stored: frozen random ones come from their seed. */
static int stored_count(const model *m) {
    int count = 0;
    for (int i = 0; i < m->param_count; i++) count += !m->params[i]->derived;
    return count;
}

status artifact_check_weights(const model *m) {
    status s = STATUS_OK;
    for (int i = 0; i < m->param_count && s == STATUS_OK; i++) {
        const param *p = m->params[i];
        float *w = xmalloc(tensor_bytes(&p->value));
        s = param_get(p, m->k, w);
        if (s == STATUS_OK) s = check_finite(w, tensor_rows(&p->value), tensor_cols(&p->value));
        fail_in(s, "%s", p->name);
        free(w);
    }
    return s;
}

/* As one grid for all, or one for blocks and one for tables. */
static status pack_uniform(packed_tensors *out, const model *m, const param *p, hessians *h,
                           const quant_options *options, pack_report *report, component_share *share,
                           pack_component *sum) {
    float *w = xmalloc(tensor_bytes(&p->value));
    status s = param_get(p, m->k, w);
    uint8_t *pruned = NULL;
    if (s == STATUS_OK && options->prune_fraction > 0 && prune_concerns(p))
        report->pruned += prune_smallest(&pruned, w, param_count(p), options->prune_fraction);
    if (s == STATUS_OK)
        s = !p->is_matrix || param_count(p) <= options->keep_float_elements
                ? pack_floats(out, p, w, pruned, share)
                : pack_grid(out, p, w, pruned, h, options, report, share, sum);
    free(pruned);
    free(w);
    return s;
}

status pack_tensors(packed_tensors *out, const model *m, hessians *h, const pack_options *options, pack_report *report,
                    component_share shares[COMPONENTS]) {
    *out = (packed_tensors){0};
    *report = (pack_report){0};
    memset(shares, 0, COMPONENTS * sizeof *shares);
    pack_component sum = {0};
    buffer_add_number(&out->directory, (uint64_t)stored_count(m), 4);
    progress shown = progress_start("quantise");
    status s = STATUS_OK;
    for (int i = 0; i < m->param_count && s == STATUS_OK; i++) {
        const param *p = m->params[i];
        if (p->derived) continue;
        if (interrupt_requested()) s = STATUS_INTERRUPTED;
        if (s != STATUS_OK) break;
        const component c = component_of(p);
        report->components[c].tensors++;
        report->components[c].elements += param_count(p);
        s = options->plan ? pack_planned(out, m, p, h, options->plan, i, report, &shares[c], &sum)
                          : pack_uniform(out, m, p, h, &options->quant, report, &shares[c], &sum);
        fail_in(s, "%s", p->name);
        progress_show(&shown, (double)(i + 1) / (double)m->param_count, p->name);
    }
    progress_clear(&shown);
    report->relative_error = sum.weight > 0 ? sum.error / sum.weight : 0;
    if (s != STATUS_OK) packed_tensors_free(out);
    return s;
}

void packed_tensors_free(packed_tensors *p) {
    free(p->directory.bytes);
    free(p->codes.bytes);
    free(p->scales);
    free(p->runs);
    quantized_free(&p->base.q);
    free(p->halves);
    free(p->floats);
    *p = (packed_tensors){0};
}

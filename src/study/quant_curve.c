/* Bits per byte against bytes, quantiser by quantiser, and the distance to the rate-distortion limit. */
#include "base/memory.h"
#include "base/progress.h"
#include "quant/candidates.h"
#include "quant/rate_limit.h"
#include "study/plot.h"
#include "study/quant_study.h"
#include "study/table.h"
#include <math.h>
#include <stdlib.h>

/* A line of the curve: one quantiser at one rate everywhere, or its bytes shared out. */
typedef struct line {
    quantizer q;
    bool shared;
} line;
enum { LINES = 2 * QUANTIZERS };

static line line_at(int i) {
    return (line){(quantizer)(i / 2), i % 2 == 1};
}

static char *line_name(line l) {
    return xasprintf("%s%s", quantizer_name(l.q), l.shared ? ", shared out" : "");
}

static char *row_key(line l, double rate) {
    return xasprintf("%s%s %g", quantizer_name(l.q), l.shared ? " shared" : "", rate);
}

static const cJSON *row_of(const quant_study *s, line l, double rate) {
    char *key = row_key(l, rate);
    const cJSON *row = quant_study_known(s, "curve", key);
    free(key);
    return row;
}

static status measure(quant_study *s, line l, double rate) {
    cJSON *row;
    status result;
    if (row_of(s, l, rate)) return STATUS_OK;
    char *key = row_key(l, rate);
    if (l.shared) {
        result = quant_study_row(s, NULL, l.q, rate, key, &row);
    } else {
        pack_plan plan = quant_study_plan(s, l.q, rate);
        result = quant_study_row(s, &plan, l.q, rate, key, &row);
        pack_plan_free(&plan);
    }
    if (result == STATUS_OK) result = quant_study_keep(s, "curve", key, row);
    free(key);
    return result;
}

/* ---- the limit ---- */

/* Σ over matrices of bits beyond the limit, weighted by their weights, by quantiser and rate. */
typedef struct distances {
    double bits[QUANTIZERS][16], elements;
} distances;

static status add_matrix(distances *d, const quant_study *s, const packed_matrix *matrix) {
    const matrix_problem *p = &matrix->problem;
    const double elements = (double)p->rows * (double)p->cols;
    rate_limit limit;
    TRY(rate_limit_open(&limit, p));
    status result = STATUS_OK;
    for (int q = 0; q < QUANTIZERS; q++)
        for (int i = 0; i < s->options->rate_count && result == STATUS_OK; i++) {
            candidate c;
            if (interrupt_requested()) result = STATUS_INTERRUPTED;
            if (result == STATUS_OK)
                result = candidate_measure(&c, (quantizer)q, p, s->options->rates[i], packed_matrix_size);
            if (result == STATUS_OK)
                d->bits[q][i] += elements * (8 * c.bytes / elements - rate_limit_bits(&limit, c.error));
        }
    d->elements += elements;
    rate_limit_close(&limit);
    return result;
}

static char *limit_key(int q, double rate) {
    return xasprintf("%s %g", quantizer_name((quantizer)q), rate);
}

static status keep_distances(quant_study *s, const distances *d) {
    status result = STATUS_OK;
    for (int q = 0; q < QUANTIZERS; q++)
        for (int i = 0; i < s->options->rate_count && result == STATUS_OK; i++) {
            char *key = limit_key(q, s->options->rates[i]);
            cJSON *row = cJSON_CreateObject();
            cJSON_AddNumberToObject(row, "bits", d->elements > 0 ? d->bits[q][i] / d->elements : 0);
            result = quant_study_keep(s, "limit", key, row);
            free(key);
        }
    return result;
}

static double distance_of(const quant_study *s, int q, double rate) {
    char *key = limit_key(q, rate);
    const double bits = quant_study_number(quant_study_known(s, "limit", key), "bits");
    free(key);
    return bits;
}

static bool distances_known(const quant_study *s) {
    for (int q = 0; q < QUANTIZERS; q++)
        for (int i = 0; i < s->options->rate_count; i++)
            if (isnan(distance_of(s, q, s->options->rates[i]))) return false;
    return true;
}

static status measure_distances(quant_study *s) {
    distances d = {0};
    status result = STATUS_OK;
    if (distances_known(s)) return STATUS_OK;
    pack_plan plan = quant_study_plan(s, QUANTIZER_GPTQ, 1);
    progress shown = progress_start("limit");
    for (int i = 0; i < plan.count && result == STATUS_OK; i++) {
        packed_matrix matrix;
        if (!pack_plan_is_grid(&plan, s->m, i)) continue;
        result = packed_matrix_open(&matrix, &plan, s->m, i, s->calibration.h);
        if (result != STATUS_OK) break;
        result = fail_in(add_matrix(&d, s, &matrix), "%s", s->m->params[i]->name);
        packed_matrix_close(&matrix);
        progress_show(&shown, (double)(i + 1) / (double)plan.count, s->m->params[i]->name);
    }
    progress_clear(&shown);
    pack_plan_free(&plan);
    TRY(result);
    return keep_distances(s, &d);
}

/* ---- tables and the plot ---- */

static void put_curve(const quant_study *s, FILE *out) {
    table t = table_create(6);
    table_put(&t, "quantiser"), table_put(&t, "asked"), table_put(&t, "bytes"), table_put(&t, "bits a weight");
    table_put(&t, "packed - float"), table_put(&t, "expected");
    for (int i = 0; i < LINES; i++)
        for (int j = 0; j < s->options->rate_count; j++) {
            const cJSON *row = row_of(s, line_at(i), s->options->rates[j]);
            char *name = line_name(line_at(i)), number[32];
            table_put(&t, "%s", name);
            table_put(&t, "%g", s->options->rates[j]);
            table_put(&t, "%s", grouped((int64_t)quant_study_number(row, "bytes"), number));
            table_put(&t, "%.3f", quant_study_number(row, "bits"));
            table_put(&t, "%+.5f", quant_study_number(row, "difference"));
            table_put(&t, "%+.5f", quant_study_number(row, "expected"));
            free(name);
        }
    fprintf(out, "\n## Bits per byte against bytes\n\n");
    table_print(&t, out);
}

static void put_distances(const quant_study *s, FILE *out) {
    table t = table_create(1 + s->options->rate_count);
    table_put(&t, "quantiser");
    for (int j = 0; j < s->options->rate_count; j++) table_put(&t, "%g bits", s->options->rates[j]);
    for (int q = 0; q < QUANTIZERS; q++) {
        table_put(&t, "%s", quantizer_name((quantizer)q));
        for (int j = 0; j < s->options->rate_count; j++) table_put(&t, "%.3f", distance_of(s, q, s->options->rates[j]));
    }
    fprintf(out,
            "\n## Bits a weight beyond the Gaussian rate-distortion limit, at equal error, mean over all weights\n\n");
    table_print(&t, out);
}

static status draw(const quant_study *s) {
    plot p;
    bool found;
    TRY(plot_begin(&p, "curve", 860, 520));
    fprintf(p.script,
            "set title 'bits per byte lost against bytes'\nset xlabel 'bytes'\nset ylabel 'packed - float, bits per "
            "byte'\nset logscale y\nset format x '%%.2s%%c'\nset key outside right top\nplot ");
    for (int i = 0; i < LINES; i++) {
        char *name = line_name(line_at(i));
        for (int j = 0; j < s->options->rate_count; j++) {
            const cJSON *row = row_of(s, line_at(i), s->options->rates[j]);
            const double lost = quant_study_number(row, "difference");
            if (lost > 0) fprintf(p.data, "%.0f\t%.6g\n", quant_study_number(row, "bytes"), lost);
        }
        fputs("\n\n", p.data);
        fprintf(p.script, "%s'curve.tsv' index %d using 1:2 with linespoints lw 2 pt 7 title '%s'", i ? ", " : "", i,
                name);
        free(name);
    }
    fputc('\n', p.script);
    return plot_end(&p, s->options->out, &found);
}

status quant_curve(quant_study *s, FILE *out) {
    for (int i = 0; i < LINES; i++)
        for (int j = 0; j < s->options->rate_count; j++) TRY(measure(s, line_at(i), s->options->rates[j]));
    TRY(measure_distances(s));
    put_curve(s, out);
    put_distances(s, out);
    return draw(s);
}

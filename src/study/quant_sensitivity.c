/* Sensitivities held against the loss itself: all matrices of one role are quantised, the others stay float, and the model is scored. */
#include "base/memory.h"
#include "nn/roles.h"
#include "study/quant_study.h"
#include "study/table.h"
#include <math.h>
#include <stdlib.h>

static const double rates[] = {2, 3};
enum { RATES = sizeof rates / sizeof *rates };

static char *key_of(int role, double rate) {
    return xasprintf("%s %g", role_pattern((param_role)role), rate);
}

/* Matrices of the role on their grids, in the model itself; what they were is kept. */
static status perturb(const quant_study *s, const pack_plan *plan, int role, double rate, float **was, double *nats) {
    status result = STATUS_OK;
    for (int i = 0; i < plan->count && result == STATUS_OK; i++) {
        param *p = s->m->params[i];
        packed_matrix matrix;
        quantized q;
        if (p->role != role || !pack_plan_is_grid(plan, s->m, i)) continue;
        result = packed_matrix_open(&matrix, plan, s->m, i, s->calibration.h);
        if (result != STATUS_OK) break;
        result = quantize_matrix(QUANTIZER_GPTQ, &q, &matrix.problem, rate);
        if (result == STATUS_OK) {
            float *values = xmalloc(tensor_bytes(&p->value));
            *nats += matrix_error(&matrix.problem, &q);
            quantized_expand(&q, values);
            quantized_free(&q);
            was[i] = matrix.w;
            matrix.w = NULL;
            result = param_set(p, s->k, values);
            free(values);
        }
        packed_matrix_close(&matrix);
    }
    return result;
}

static status restore(const quant_study *s, float **was) {
    status result = STATUS_OK;
    for (int i = 0; i < s->m->param_count; i++) {
        if (!was[i]) continue;
        const status one = param_set(s->m->params[i], s->k, was[i]);
        if (result == STATUS_OK) result = one;
        free(was[i]);
    }
    return result;
}

static status measure(quant_study *s, const pack_plan *plan, int role, double rate) {
    char *key = key_of(role, rate);
    if (quant_study_known(s, "sensitivity", key)) {
        free(key);
        return STATUS_OK;
    }
    float **was = xcalloc((size_t)s->m->param_count, sizeof *was);
    double nats = 0, bits = 0;
    status result = perturb(s, plan, role, rate, was, &nats);
    if (result == STATUS_OK) result = quant_study_score(s, s->m, key, &bits);
    const status back = restore(s, was);
    if (result == STATUS_OK) result = back;
    if (result == STATUS_OK) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddNumberToObject(row, "expected", nats * sensitivities_bpb_of_nat(s->calibration.s));
        cJSON_AddNumberToObject(row, "measured", bits - s->float_bpb);
        result = quant_study_keep(s, "sensitivity", key, row);
    }
    free(was);
    free(key);
    return result;
}

static bool has_grid(const quant_study *s, const pack_plan *plan, int role) {
    for (int i = 0; i < plan->count; i++)
        if (s->m->params[i]->role == role && pack_plan_is_grid(plan, s->m, i)) return true;
    return false;
}

status quant_sensitivity(quant_study *s, FILE *out) {
    table t = table_create(5);
    status result = STATUS_OK;
    pack_plan plan = quant_study_plan(s, QUANTIZER_GPTQ, 1);
    table_put(&t, "matrices"), table_put(&t, "rate"), table_put(&t, "expected"), table_put(&t, "measured");
    table_put(&t, "measured / expected");
    for (int role = 0; role < ROLES && result == STATUS_OK; role++)
        for (int j = 0; j < RATES && has_grid(s, &plan, role) && result == STATUS_OK; j++) {
            result = measure(s, &plan, role, rates[j]);
            char *key = key_of(role, rates[j]);
            const cJSON *row = quant_study_known(s, "sensitivity", key);
            const double expected = quant_study_number(row, "expected"), measured = quant_study_number(row, "measured");
            free(key);
            table_put(&t, "%s", role_pattern((param_role)role));
            table_put(&t, "%g", rates[j]);
            table_put(&t, "%+.5f", expected);
            table_put(&t, "%+.5f", measured);
            table_put(&t, "%.2f", measured / expected);
        }
    pack_plan_free(&plan);
    fprintf(out, "\n## What errors do to the loss: foretold by the sensitivities, and measured, bits per byte\n\n");
    table_print(&t, out);
    return result;
}

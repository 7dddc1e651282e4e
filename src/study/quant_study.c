#include "study/quant_study.h"

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "study/plot.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- study.json ---- */

static char *results_path(const quant_study *s) {
    return path_join(s->options->out, "study.json");
}

const cJSON *quant_study_known(const quant_study *s, const char *question, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(s->results, question), key);
}

double quant_study_number(const cJSON *row, const char *key) {
    const cJSON *number = cJSON_GetObjectItemCaseSensitive(row, key);
    return cJSON_IsNumber(number) ? number->valuedouble : NAN;
}

static status save(const quant_study *s) {
    char *path = results_path(s);
    const status result = json_write_file(path, s->results);
    free(path);
    return result;
}

status quant_study_keep(quant_study *s, const char *question, const char *key, cJSON *row) {
    cJSON *of = cJSON_GetObjectItemCaseSensitive(s->results, question);
    if (!of) of = cJSON_AddObjectToObject(s->results, question);
    cJSON_DeleteItemFromObjectCaseSensitive(of, key);
    cJSON_AddItemToObject(of, key, row);
    return save(s);
}

/* What is scored, by which kernels, and how matrices are quantised. */
static uint64_t circumstances(const quant_study *s, uint64_t key) {
    key = crc64(key, &s->config->pack.gptq_damp, sizeof s->config->pack.gptq_damp);
    key = crc64(key, s->k->name, strlen(s->k->name));
    for (int64_t i = 0; i < s->text.s.count; i++) {
        const int32_t token = shard_token(&s->text.s, i);
        key = crc64(key, &token, sizeof token);
    }
    return key;
}

/* Everything that all rows depend on. */
static status subject_of(const quant_study *s, char text[64]) {
    uint64_t key = circumstances(s, s->calibration.key);
    status result = STATUS_OK;
    for (int i = 0; i < s->m->param_count && result == STATUS_OK; i++) {
        const param *p = s->m->params[i];
        float *w = xmalloc(tensor_bytes(&p->value));
        result = param_get(p, s->k, w);
        if (result == STATUS_OK) key = crc64(key, w, tensor_bytes(&p->value));
        free(w);
    }
    snprintf(text, 64, "%016" PRIx64 " %" PRId64 " %" PRId64, key, s->windows.seq, s->options->tokens);
    return result;
}

/* Rows of another model, text, calibration or kernel are not those of this study. */
static status open_results(quant_study *s) {
    char subject[64], *path = results_path(s);
    path_kind kind;
    status result = subject_of(s, subject);
    if (result == STATUS_OK) result = path_look(path, &kind);
    if (result == STATUS_OK && kind != PATH_ABSENT) result = json_read_file(path, &s->results);
    free(path);
    TRY(result);
    const cJSON *was = cJSON_GetObjectItemCaseSensitive(s->results, "subject");
    if (cJSON_IsString(was) && strcmp(was->valuestring, subject) == 0) return STATUS_OK;
    cJSON_Delete(s->results);
    s->results = cJSON_CreateObject();
    cJSON_AddStringToObject(s->results, "subject", subject);
    cJSON_AddStringToObject(s->results, "model", s->name);
    return STATUS_OK;
}

/* ---- scoring ---- */

status quant_study_score(const quant_study *s, model *m, const char *shown, double *bits) {
    bpb_options options = s->windows;
    bpb_result found = {0};
    pass *p;
    options.tokens = s->options->tokens;
    options.seed = s->text.seed;
    options.shown = shown;
    TRY(pass_create(&p, m));
    const status result = bpb_evaluate(p, s->tok, &s->text.s, scored_text_documents(&s->text), &options, &found);
    pass_destroy(p);
    if (result == STATUS_OK) *bits = bpb(&found.total);
    bpb_result_free(&found);
    return result;
}

static status score_float(quant_study *s) {
    const cJSON *known = quant_study_known(s, "float", "model");
    if (!known) {
        double bits;
        TRY(quant_study_score(s, s->m, "float", &bits));
        cJSON *row = cJSON_CreateObject();
        cJSON_AddNumberToObject(row, "bpb", bits);
        TRY(quant_study_keep(s, "float", "model", row));
        known = quant_study_known(s, "float", "model");
    }
    s->float_bpb = quant_study_number(known, "bpb");
    return STATUS_OK;
}

/* ---- packing ---- */

pack_plan quant_study_plan(const quant_study *s, quantizer q, double rate) {
    const quant_options defaults = quant_options_default;
    pack_plan plan = pack_plan_create(s->m, q, defaults.keep_float_elements);
    plan.sensitivities = s->calibration.s;
    plan.damp = s->config->pack.gptq_damp;
    for (int i = 0; i < plan.count; i++) plan.tensors[i].rate = rate;
    return plan;
}

status quant_study_write(const quant_study *s, const model *m, hessians *h, const pack_options *options, model **packed,
                         int64_t *bytes, pack_report *report) {
    char *path = path_join(s->options->out, "packed.moec");
    status result = artifact_write(path, m, s->tok, h, options, report);
    if (result == STATUS_OK) *bytes = report->artifact_bytes;
    if (result == STATUS_OK) result = artifact_read(path, s->k, MODEL_RUN, packed, NULL, NULL);
    unlink(path);
    free(path);
    return result;
}

status quant_study_pack(const quant_study *s, pack_plan *plan, quantizer q, double bits, model **packed, int64_t *bytes,
                        pack_report *report) {
    char *candidates = path_join(s->options->out, "candidates");
    pack_options options = pack_options_of(&s->config->pack, s->config->train.seq);
    options.budget_bytes = 0;
    options.plan = plan;
    options.allocation = (pack_allocation){.on = !plan,
                                           .bits = bits,
                                           .quantizer = q,
                                           .candidates = candidates,
                                           .calibration = s->calibration.key,
                                           .sensitivities = s->calibration.s};
    const status result = quant_study_write(s, s->m, s->calibration.h, &options, packed, bytes, report);
    free(candidates);
    return result;
}

static double plan_loss(const quant_study *s, const pack_plan *plan, const pack_report *report) {
    double nats = report->loss;
    if (plan) nats = 0;
    for (int i = 0; plan && i < plan->count; i++) nats += plan->tensors[i].error;
    return nats * sensitivities_bpb_of_nat(s->calibration.s);
}

status quant_study_row(const quant_study *s, pack_plan *plan, quantizer q, double bits, const char *shown,
                       cJSON **row) {
    model *packed = NULL;
    pack_report report = {0};
    int64_t bytes;
    double score;
    status result = quant_study_pack(s, plan, q, bits, &packed, &bytes, &report);
    if (result == STATUS_OK) result = quant_study_score(s, packed, shown, &score);
    model_destroy(packed);
    if (result == STATUS_OK) {
        *row = cJSON_CreateObject();
        cJSON_AddNumberToObject(*row, "bytes", (double)bytes);
        cJSON_AddNumberToObject(*row, "bits", report.bits_per_weight);
        cJSON_AddNumberToObject(*row, "bpb", score);
        cJSON_AddNumberToObject(*row, "difference", score - s->float_bpb);
        cJSON_AddNumberToObject(*row, "expected", plan_loss(s, plan, &report));
    }
    pack_report_free(&report);
    return result;
}

/* ---- the whole ---- */

static status ask(quant_study *s, FILE *out) {
    const quant_study_options *o = s->options;
    fprintf(out, "# Quantisation of %s\n\nfloat model: %.5f bits per byte of %lld scored tokens\n", s->name,
            s->float_bpb, (long long)(o->tokens ? o->tokens : s->text.s.count - 1));
    if (o->five) TRY(quant_five(s, out));
    if (o->curve) TRY(quant_curve(s, out));
    if (o->layers) TRY(quant_layers(s, out));
    if (o->gap) TRY(quant_gap(s, out));
    return o->sensitivity ? quant_sensitivity(s, out) : STATUS_OK;
}

static status write_tables(quant_study *s, FILE *say) {
    char *text = NULL, *path = path_join(s->options->out, "study.md");
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    status result = out ? ask(s, out) : fail("study: out of memory");
    if (out) fclose(out);
    if (result == STATUS_OK) {
        fwrite(text, 1, bytes, say);
        result = file_write_whole(path, text, bytes);
    }
    free(text);
    free(path);
    return result;
}

status quant_study_run(const quant_study_options *o, const kernels *k, model *m, const tokenizer *tok,
                       const run_config *c, const char *name, const bpb_options *windows, FILE *say) {
    quant_study s = {.options = o, .k = k, .m = m, .tok = tok, .config = c, .name = name, .windows = *windows};
    status result = folder_create(o->out);
    if (result == STATUS_OK) result = artifact_check_weights(m);
    if (result == STATUS_OK) result = scored_text_open_for(&s.text, o->data, tok, m->config.vocab_size);
    if (result == STATUS_OK) result = pack_calibrate(&s.calibration, c, m, tok, true, NULL);
    if (result == STATUS_OK) result = open_results(&s);
    if (result == STATUS_OK) result = score_float(&s);
    if (result == STATUS_OK) result = write_tables(&s, say);
    pack_calibration_close(&s.calibration);
    scored_text_close(&s.text);
    cJSON_Delete(s.results);
    return result;
}

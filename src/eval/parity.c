#include "eval/parity_case.h"

#include "base/json.h"
#include "base/memory.h"
#include "formats/names.h"
#include "formats/pretrained.h"
#include "formats/records.h"
#include "formats/safetensors.h"
#include "nn/budget.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENS = 1 << 24 }; /* of a case's batch */

typedef struct parity_case {
    char *config_path;
    cJSON *config;
    safetensors weights, io, gradients;
    model *m;
    pass *p;
    int64_t batch, seq;
    int32_t *input_ids, *target_ids;
} parity_case;

static status open_in(safetensors *s, const char *folder, const char *name) {
    char *path = path_join(folder, name);
    status result = safetensors_open(s, path);
    free(path);
    return result;
}

static status load_weight(parity_case *c, const safetensor *t, bool *loaded) {
    param *p = naming_find(&naming_records, c->m, t->name);
    if (!p) return fail("%s: %s: the config's model has no such tensor", c->weights.path, t->name);
    float *values = xmalloc(tensor_bytes(&p->value));
    status s = safetensors_read_f32(&c->weights, t->name, p->value.ndim, p->value.shape, values);
    if (s == STATUS_OK) tensor_write(c->m->k, &p->value, values);
    free(values);
    for (int i = 0; i < c->m->param_count; i++) loaded[i] |= c->m->params[i] == p;
    return s;
}

/* Frozen random weights are the case's own where it has some: torch's generator is not ours. */
static status load_weights(parity_case *c) {
    bool *loaded = xcalloc((size_t)c->m->param_count, sizeof *loaded);
    status s = STATUS_OK;
    for (int i = 0; i < c->weights.count && s == STATUS_OK; i++)
        if (c->weights.tensors[i].bytes > 0) s = load_weight(c, &c->weights.tensors[i], loaded); /* no skips: [0, d] */
    for (int i = 0; i < c->m->param_count && s == STATUS_OK; i++)
        if (!loaded[i] && !c->m->params[i]->derived)
            s = fail("%s: expected a tensor for %s, found none", c->weights.path, c->m->params[i]->name);
    free(loaded);
    return s == STATUS_OK ? model_refresh(c->m) : s;
}

/* Before anything is allocated for the model: a config may claim any size. */
static status check_size(const parity_case *c, const model_config *architecture) {
    int64_t expected = model_budget_count(architecture).total;
    if ((uint64_t)expected <= c->weights.map.count / sizeof(uint16_t)) return STATUS_OK;
    return fail("%s: expected %lld weights for its config, found a file of %zu bytes", c->weights.path,
                (long long)expected, c->weights.map.count);
}

static status case_open(parity_case *c, const char *folder, const kernels *k) {
    *c = (parity_case){.config_path = path_join(folder, "config.json")};
    model_config architecture;
    TRY(json_read_file(c->config_path, &c->config));
    TRY(record_config(&architecture, c->config, c->config_path));
    TRY(json_get_int(c->config, c->config_path, "batch", &c->batch));
    TRY(json_get_int(c->config, c->config_path, "seq", &c->seq));
    if (c->batch < 1 || c->seq < 1 || c->batch > MAX_TOKENS / c->seq)
        return fail("%s: batch and seq: expected at least 1 × 1 and at most %d tokens, found %lld × %lld",
                    c->config_path, MAX_TOKENS, (long long)c->batch, (long long)c->seq);
    TRY(open_in(&c->weights, folder, "model.safetensors"));
    TRY(open_in(&c->io, folder, "io.safetensors"));
    TRY(open_in(&c->gradients, folder, "grads.safetensors"));
    TRY(check_size(c, &architecture));
    TRY(model_create(&c->m, &architecture, k, MODEL_TRAIN));
    TRY(load_weights(c));
    TRY(pass_create(&c->p, c->m));
    const int vocabulary = c->m->config.vocab_size;
    TRY(parity_ids(&c->io, "input_ids", c->batch, c->seq, vocabulary, &c->input_ids));
    return parity_ids(&c->io, "target_ids", c->batch, c->seq, vocabulary, &c->target_ids);
}

static void case_close(parity_case *c) {
    free(c->config_path);
    cJSON_Delete(c->config);
    if (c->weights.path) safetensors_close(&c->weights);
    if (c->io.path) safetensors_close(&c->io);
    if (c->gradients.path) safetensors_close(&c->gradients);
    pass_destroy(c->p);
    model_destroy(c->m);
    free(c->input_ids);
    free(c->target_ids);
}

static status read_number(const safetensors *file, const char *name, double *number) {
    float *value;
    TRY(parity_reference(file, name, 1, (int64_t[]){1}, &value));
    *number = *value;
    free(value);
    return STATUS_OK;
}

static status compare_losses(parity_case *c, const batch *b, parity_report *report) {
    double ce, loss;
    TRY(read_number(&c->io, "ce", &ce));
    TRY(read_number(&c->io, "loss", &loss));
    model_zero_grad(c->m);
    TRY(pass_train(c->p, b, 1));
    const pass_statistics *ours = pass_read(c->p);
    report->ce = fabs(ours->ce - ce);
    report->loss = fabs(ours->ce + ours->aux - loss);
    return STATUS_OK;
}

static status compare_gradient(parity_case *c, const safetensor *reference, bool *compared, parity_difference *out) {
    param *p = naming_find(&naming_records, c->m, reference->name);
    if (!p || !p->grad)
        return fail("%s: %s: the config's model has no such trained tensor", c->gradients.path, reference->name);
    float *theirs;
    TRY(parity_reference(&c->gradients, reference->name, p->value.ndim, p->value.shape, &theirs));
    float *ours = xmalloc(tensor_bytes(&p->value));
    c->m->k->download(ours, p->grad, tensor_bytes(&p->value));
    out->name = xstrdup(reference->name);
    out->difference = parity_largest(ours, theirs, param_count(p), &out->largest);
    for (int i = 0; i < c->m->param_count; i++) compared[i] |= c->m->params[i] == p;
    free(ours);
    free(theirs);
    return STATUS_OK;
}

/* 0 where both are 0. */
static double relative(const parity_difference *d) {
    return d->difference == 0 ? 0 : d->difference / d->largest;
}

static int by_relative(const void *a, const void *b) {
    double x = relative(a), y = relative(b);
    return (x < y) - (x > y);
}

/* Those of every trained parameter: a gradient that is not there agrees with nothing. */
static status compare_gradients(parity_case *c, bool *compared, parity_report *report) {
    for (int i = 0; i < c->gradients.count; i++) {
        if (c->gradients.tensors[i].bytes == 0) continue; /* the skips of one layer */
        TRY(compare_gradient(c, &c->gradients.tensors[i], compared, &report->gradients[report->gradient_count]));
        report->gradient_count++;
    }
    for (int i = 0; i < c->m->param_count; i++)
        if (c->m->params[i]->grad && !compared[i])
            return fail("%s: expected a gradient of %s, found none", c->gradients.path, c->m->params[i]->name);
    return STATUS_OK;
}

static status compare(parity_case *c, parity_report *report) {
    batch b = {.batch = c->batch, .length = c->seq, .input_ids = c->input_ids, .target_ids = c->target_ids};
    TRY(parity_logits(c->p, &c->io, &b, &report->logits));
    TRY(compare_losses(c, &b, report));
    report->gradients = xcalloc((size_t)c->gradients.count + 1, sizeof *report->gradients);
    bool *compared = xcalloc((size_t)c->m->param_count, sizeof *compared);
    status s = compare_gradients(c, compared, report);
    free(compared);
    TRY(s);
    qsort(report->gradients, (size_t)report->gradient_count, sizeof *report->gradients, by_relative);
    return STATUS_OK;
}

status parity_run(const char *folder, const kernels *k, parity_report *report) {
    parity_case c;
    if (pretrained_is(folder)) return parity_run_pretrained(folder, k, report);
    *report = (parity_report){.tolerance = parity_of_records, .trained = true};
    status s = case_open(&c, folder, k);
    if (s == STATUS_OK) s = compare(&c, report);
    case_close(&c);
    return s;
}

bool parity_holds(const parity_report *report) {
    const parity_tolerance *t = &report->tolerance;
    bool holds = report->logits <= t->logits;
    if (report->trained) holds = holds && report->ce <= t->loss && report->loss <= t->loss;
    for (int i = 0; i < report->gradient_count; i++) holds = holds && relative(&report->gradients[i]) <= t->gradient;
    return holds;
}

void parity_report_free(parity_report *report) {
    for (int i = 0; i < report->gradient_count; i++) free(report->gradients[i].name);
    free(report->gradients);
}

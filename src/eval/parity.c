#include "eval/parity.h"

#include "base/json.h"
#include "base/memory.h"
#include "formats/names.h"
#include "formats/records.h"
#include "formats/safetensors.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

static status case_open(parity_case *c, const char *folder, const kernels *k) {
    *c = (parity_case){.config_path = path_join(folder, "config.json")};
    model_config architecture;
    TRY(json_read_file(c->config_path, &c->config));
    TRY(record_config(&architecture, c->config, c->config_path));
    TRY(json_get_int(c->config, c->config_path, "batch", &c->batch));
    TRY(json_get_int(c->config, c->config_path, "seq", &c->seq));
    if (c->batch < 1 || c->seq < 1 || c->batch * c->seq > 1 << 24)
        return fail("%s: batch and seq: expected positive sizes, found %lld × %lld", c->config_path,
                    (long long)c->batch, (long long)c->seq);
    TRY(open_in(&c->weights, folder, "model.safetensors"));
    TRY(open_in(&c->io, folder, "io.safetensors"));
    TRY(open_in(&c->gradients, folder, "grads.safetensors"));
    TRY(model_create(&c->m, &architecture, k, MODEL_TRAIN));
    TRY(load_weights(c));
    TRY(pass_create(&c->p, c->m));
    size_t bytes = (size_t)(c->batch * c->seq) * sizeof(int32_t);
    c->input_ids = xmalloc(bytes);
    c->target_ids = xmalloc(bytes);
    int64_t shape[2] = {c->batch, c->seq};
    TRY(safetensors_read_i32(&c->io, "input_ids", 2, shape, c->input_ids));
    return safetensors_read_i32(&c->io, "target_ids", 2, shape, c->target_ids);
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

/* Largest |a − b|; not a number where either is not one. */
static double largest_difference(const float *a, const float *b, int64_t count, double *largest_b) {
    double difference = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= difference)) difference = d;
        if (fabs((double)b[i]) > largest) largest = fabs((double)b[i]);
    }
    if (largest_b) *largest_b = largest;
    return difference;
}

static status compare_logits(parity_case *c, const batch *b, parity_report *report) {
    int64_t V = c->m->config.vocab_size, count = c->batch * c->seq * V, shape[3] = {c->batch, c->seq, V};
    float *ours = xmalloc((size_t)count * sizeof(float)), *theirs = xmalloc((size_t)count * sizeof(float));
    status s = safetensors_read_f32(&c->io, "logits", 3, shape, theirs);
    if (s == STATUS_OK) s = pass_logits(c->p, b, ours);
    if (s == STATUS_OK) report->logits = largest_difference(ours, theirs, count, NULL);
    free(ours);
    free(theirs);
    return s;
}

static status compare_losses(parity_case *c, const batch *b, parity_report *report) {
    float ce, loss;
    int64_t one = 1;
    TRY(safetensors_read_f32(&c->io, "ce", 1, &one, &ce));
    TRY(safetensors_read_f32(&c->io, "loss", 1, &one, &loss));
    model_zero_grad(c->m);
    TRY(pass_train(c->p, b, 1));
    const pass_statistics *ours = pass_read(c->p);
    report->ce = fabs(ours->ce - (double)ce);
    report->loss = fabs(ours->ce + ours->aux - (double)loss);
    return STATUS_OK;
}

static status compare_gradient(parity_case *c, const safetensor *reference, parity_difference *out) {
    param *p = naming_find(&naming_records, c->m, reference->name);
    if (!p || !p->grad)
        return fail("%s: %s: the config's model has no such trained tensor", c->gradients.path, reference->name);
    float *ours = xmalloc(tensor_bytes(&p->value)), *theirs = xmalloc(tensor_bytes(&p->value));
    status s = safetensors_read_f32(&c->gradients, reference->name, p->value.ndim, p->value.shape, theirs);
    if (s == STATUS_OK) {
        c->m->k->download(ours, p->grad, tensor_bytes(&p->value));
        out->name = xstrdup(reference->name);
        out->difference = largest_difference(ours, theirs, param_count(p), &out->largest);
    }
    free(ours);
    free(theirs);
    return s;
}

/* 0 where both are 0. */
static double relative(const parity_difference *d) {
    return d->difference == 0 ? 0 : d->difference / d->largest;
}

static int by_relative(const void *a, const void *b) {
    double x = relative(a), y = relative(b);
    return (x < y) - (x > y);
}

static status compare(parity_case *c, parity_report *report) {
    batch b = {.batch = c->batch, .length = c->seq, .input_ids = c->input_ids, .target_ids = c->target_ids};
    TRY(compare_logits(c, &b, report));
    TRY(compare_losses(c, &b, report));
    report->gradients = xcalloc((size_t)c->gradients.count + 1, sizeof *report->gradients);
    for (int i = 0; i < c->gradients.count; i++) {
        if (c->gradients.tensors[i].bytes == 0) continue; /* the skips of one layer */
        TRY(compare_gradient(c, &c->gradients.tensors[i], &report->gradients[report->gradient_count]));
        report->gradient_count++;
    }
    qsort(report->gradients, (size_t)report->gradient_count, sizeof *report->gradients, by_relative);
    return STATUS_OK;
}

status parity_run(const char *folder, const kernels *k, parity_report *report) {
    parity_case c;
    *report = (parity_report){0};
    status s = case_open(&c, folder, k);
    if (s == STATUS_OK) s = compare(&c, report);
    case_close(&c);
    return s;
}

bool parity_holds(const parity_report *report, const parity_tolerance *tolerance) {
    bool holds =
        report->logits <= tolerance->logits && report->ce <= tolerance->loss && report->loss <= tolerance->loss;
    for (int i = 0; i < report->gradient_count; i++)
        holds = holds && relative(&report->gradients[i]) <= tolerance->gradient;
    return holds;
}

void parity_report_free(parity_report *report) {
    for (int i = 0; i < report->gradient_count; i++) free(report->gradients[i].name);
    free(report->gradients);
}

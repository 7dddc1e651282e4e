#include "surgery/receipt.h"

#include "base/memory.h"
#include "nn/budget.h"
#include "nn/pass.h"
#include "nn/streamed.h"
#include <math.h>
#include <stdlib.h>

/* ---- logits ---- */

static status logits_of(const weight_source *w, const kernels *k, const batch *b, float *logits) {
    model *m;
    pass *p = NULL;
    TRY(model_create_streamed(&m, w, k));
    status s = pass_create(&p, m);
    if (s == STATUS_OK) s = pass_logits(p, b, logits);
    pass_destroy(p);
    model_destroy(m);
    return s;
}

/* The mean of `count` numbers and of those before. */
static double mean_of(double before, int64_t before_count, double sum, int64_t count) {
    return (before * (double)before_count + sum) / (double)(before_count + count);
}

static void add_differences(surgery_receipt *r, const float *a, const float *b, int64_t tokens, int64_t vocabulary) {
    const int64_t count = tokens * vocabulary, before = r->tokens * vocabulary;
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) {
        const double difference = fabs((double)a[i] - (double)b[i]);
        r->largest = isnan(difference) ? INFINITY : fmax(r->largest, difference);
        sum += difference;
        squares += (double)a[i] * (double)a[i];
    }
    r->mean = mean_of(r->mean, before, sum, count);
    r->scale = sqrt(mean_of(r->scale * r->scale, before, squares, count));
    r->tokens += tokens;
}

status surgery_compare(surgery_receipt *r, const weight_source *parent, const weight_source *mixture, const kernels *k,
                       const int32_t *ids, int64_t count) {
    const int64_t vocabulary = parent->config.vocab_size;
    const batch b = {.batch = 1, .length = count, .input_ids = ids};
    if (count < 1) return fail("the text to compare logits on: expected at least one token, found none");
    const size_t bytes = (size_t)(count * vocabulary) * sizeof(float);
    float *a = xmalloc(bytes), *c = xmalloc(bytes);
    status s = logits_of(parent, k, &b, a);
    if (s == STATUS_OK) s = logits_of(mixture, k, &b, c);
    if (s == STATUS_OK) add_differences(r, a, c, count, vocabulary);
    free(a);
    free(c);
    return s;
}

/* ---- experts ---- */

/* Adds the products of every pair of experts of one matrix to dots [E, E]. */
static status add_dots(const weight_source *w, param_role role, int layer, int64_t rows, int64_t cols, double *dots) {
    const int E = w->config.moe.experts;
    param_spec spec = {role, layer, 0, 2, {rows, cols}};
    int64_t most = spec_piece(&spec) / E > 0 ? spec_piece(&spec) / E : 1;
    if (most > rows) most = rows;
    float *pieces = xmalloc((size_t)(E * most * cols) * sizeof *pieces);
    status s = STATUS_OK;
    for (int64_t first = 0; first < rows && s == STATUS_OK; first += most) {
        const int64_t count = (rows - first < most ? rows - first : most) * cols;
        for (spec.expert = 0; spec.expert < E && s == STATUS_OK; spec.expert++)
            s = w->read(w->context, &spec, first, count / cols, pieces + spec.expert * most * cols);
        for (int e = 0; e < E && s == STATUS_OK; e++)
            for (int f = e; f < E; f++) {
                const float *a = pieces + e * most * cols, *b = pieces + f * most * cols;
                double sum = 0;
                for (int64_t i = 0; i < count; i++) sum += (double)a[i] * (double)b[i];
                dots[e * E + f] += sum;
            }
    }
    free(pieces);
    return s;
}

static double mean_cosine(const double *dots, int E) {
    double sum = 0;
    for (int e = 0; e < E; e++)
        for (int f = e + 1; f < E; f++) sum += dots[e * E + f] / sqrt(fmax(dots[e * E + e] * dots[f * E + f], 1e-300));
    return E > 1 ? sum / (E * (E - 1) / 2) : 1;
}

static status measure_experts(surgery_receipt *r, const weight_source *w) {
    const int E = w->config.moe.experts;
    int layers = 0;
    r->expert_cosine = 0;
    for (int layer = 0; layer < w->config.num_layers; layer++) {
        const layer_plan plan = model_plan(&w->config, layer);
        if (plan.mlp.kind != MLP_EXPERTS) continue;
        double *dots = xcalloc((size_t)(E * E), sizeof *dots);
        status s = add_dots(w, ROLE_EXPERT_FC, layer, plan.mlp.fc_rows, w->config.model_dim, dots);
        if (s == STATUS_OK) s = add_dots(w, ROLE_EXPERT_PROJ, layer, w->config.model_dim, plan.mlp.hidden, dots);
        r->expert_cosine += mean_cosine(dots, E);
        free(dots);
        TRY(s);
        layers++;
    }
    r->expert_cosine = layers ? r->expert_cosine / layers : 1;
    return STATUS_OK;
}

status surgery_measure(surgery_receipt *r, const weight_source *parent, const weight_source *mixture) {
    const model_budget before = model_budget_count(&parent->config), after = model_budget_count(&mixture->config);
    r->parent_parameters = before.total;
    r->parameters = after.total;
    r->active = after.active;
    return measure_experts(r, mixture);
}

#include "surgery/kept_experts.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

status keep_experts_config(model_config *out, const model_config *from, const bool *chosen) {
    model_config c = *from;
    if (!model_config_has_moe(from)) return fail("expected a model with experts, found a dense one");
    c.moe.experts = 0;
    c.moe.names = (label_list){0};
    for (int e = 0; e < from->moe.experts; e++) {
        if (!chosen[e]) continue;
        c.moe.experts++;
        if (e < from->moe.names.count) labels_add(&c.moe.names, from->moe.names.label[e]);
    }
    if (c.moe.experts == 0) return fail_usage("experts: expected at least one that is kept, found none");
    if (c.moe.top_k > c.moe.experts) c.moe.top_k = c.moe.experts;
    /* A part of a split width would be another part now. */
    c.moe.expert_hidden = model_config_expert_hidden(from);
    c.moe.expert_mult = 0;
    c.moe.split = false;
    *out = c;
    return model_config_check(out);
}

/* Rows of the router, one by one: they need not lie side by side. */
static status read_router(const kept_experts *k, param_spec spec, int64_t first, int64_t rows, float *out) {
    const int64_t cols = spec_cols(&spec);
    spec.shape[0] = k->from->config.moe.experts;
    for (int64_t r = 0; r < rows; r++)
        TRY(k->from->read(k->from->context, &spec, k->kept[first + r], 1, out + r * cols));
    return STATUS_OK;
}

static status read_bias(const kept_experts *k, param_spec spec, float *out) {
    spec.shape[0] = k->from->config.moe.experts;
    float *all = xmalloc((size_t)spec.shape[0] * sizeof *all);
    const status s = k->from->read(k->from->context, &spec, 0, 1, all);
    for (int i = 0; s == STATUS_OK && i < k->count; i++) out[i] = all[k->kept[i]];
    free(all);
    return s;
}

static status read(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const kept_experts *k = context;
    param_spec own = *spec;
    if (spec->role == ROLE_ROUTER) return read_router(k, own, first, rows, out);
    if (spec->role == ROLE_ROUTER_BIAS) return read_bias(k, own, out);
    if (role_has_expert(spec->role)) own.expert = k->kept[spec->expert];
    return k->from->read(k->from->context, &own, first, rows, out);
}

static status codes(void *context, const param_spec *spec, quantized *q) {
    const kept_experts *k = context;
    param_spec own = *spec;
    if (spec->role == ROLE_ROUTER) return STATUS_OK;
    if (role_has_expert(spec->role)) own.expert = k->kept[spec->expert];
    return k->from->codes(k->from->context, &own, q);
}

status keep_experts(kept_experts *k, const weight_source *from, const bool *chosen) {
    *k = (kept_experts){.from = from, .weights = {.read = read, .context = k}};
    if (from->codes) k->weights.codes = codes;
    TRY(keep_experts_config(&k->weights.config, &from->config, chosen));
    for (int e = 0; e < from->config.moe.experts; e++)
        if (chosen[e]) k->kept[k->count++] = e;
    return STATUS_OK;
}

/* Scales for each pass of a loop, for a model that has one for all. */
#include "base/memory.h"
#include "nn/model.h"
#include "nn/parts.h"
#include <stdlib.h>
#include <string.h>

/* p [rows, d] becomes the one row of `from`, as often as it has rows. */
static status repeat(param *p, const param *from, const kernels *k) {
    const int64_t d = param_count(from), rows = param_count(p) / d;
    float *values = xmalloc((size_t)(rows * d) * sizeof *values);
    status s = param_get(from, k, values);
    for (int64_t r = 1; r < rows; r++) memcpy(values + r * d, values, (size_t)d * sizeof *values);
    if (s == STATUS_OK) s = param_set(p, k, values);
    free(values);
    return s;
}

static status copy(param *p, const param *from, const kernels *k) {
    if (p->derived) return STATUS_OK;
    if (param_count(p) != param_count(from)) return repeat(p, from, k);
    float *values = xmalloc(tensor_bytes(&p->value));
    status s = param_get(from, k, values);
    if (s == STATUS_OK) s = param_set(p, k, values);
    free(values);
    return s;
}

status model_with_loop_scales(model **out, const model *m) {
    model_config config = m->config;
    if (!config.loop.on) return fail_usage("loop scales: expected a model whose layers loop, found one without loops");
    config.loop.scales = true;
    TRY(model_config_check(&config));
    TRY(model_create(out, &config, m->k, m->use));
    status s = STATUS_OK;
    for (int i = 0; i < m->param_count && s == STATUS_OK; i++) s = copy((*out)->params[i], m->params[i], m->k);
    if (s == STATUS_OK) return STATUS_OK;
    model_destroy(*out);
    *out = NULL;
    return s;
}

#include "nn/budget.h"

int64_t param_spec_rows(const param_spec *spec) {
    return spec->ndim == 2 ? spec->shape[0] : 1;
}

int64_t param_spec_count(const param_spec *spec) {
    return param_spec_rows(spec) * (spec->ndim ? spec->shape[spec->ndim - 1] : 1);
}

static void count_one(void *context, const param_spec *spec) {
    model_budget *b = context;
    int64_t elements = param_spec_count(spec);
    if (role_is_derived(spec->role)) {
        b->derived += elements;
        return;
    }
    b->of[role_component(spec->role)] += elements;
    b->total += elements;
}

model_budget model_budget_count(const model_config *c) {
    model_budget b = {0};
    model_specs_visit(c, count_one, &b);
    int64_t idle = b.of[COMPONENT_EXPERTS] / c->moe.experts * (c->moe.experts - model_config_active_experts(c));
    b.active = b.total - idle;
    return b;
}

#include "nn/freeze.h"

#include "nn/roles.h"
#include "nn/streamed.h"
#include <fnmatch.h>
#include <string.h>

static component component_called(const char *name) {
    component c = 0;
    while (c < COMPONENTS && strcmp(component_name(c), name) != 0) c++;
    return c;
}

static bool matches(const char *pattern, const param *p) {
    const component c = component_called(pattern);
    return c < COMPONENTS ? role_component((param_role)p->role) == c : fnmatch(pattern, p->name, 0) == 0;
}

bool freeze_matches(const name_list *frozen, const param *p) {
    for (int i = 0; i < frozen->count; i++)
        if (matches(frozen->names[i], p)) return true;
    return false;
}

status model_create_frozen(model **out, const model_config *config, const kernels *k, const name_list *frozen) {
    return model_create_with(out, config, k, MODEL_TRAIN, (model_extras){.frozen = frozen});
}

static bool means_something(const char *pattern, const model *m) {
    for (int i = 0; i < m->param_count; i++)
        if (matches(pattern, m->params[i])) return true;
    return component_called(pattern) < COMPONENTS;
}

status freeze_check(const name_list *frozen, const model *m) {
    for (int i = 0; i < frozen->count; i++)
        if (!means_something(frozen->names[i], m))
            return fail_usage(
                "freeze: expected a component (embedding, attention, mlp, experts, shared, router, norms …) "
                "or a pattern of parameters' names such as \"blocks.[0-5].*\", found %s",
                frozen->names[i]);
    return STATUS_OK;
}

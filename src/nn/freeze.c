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

static bool matches(const char *pattern, param_role role, const char *name) {
    const component c = component_called(pattern);
    return c < COMPONENTS ? role_component(role) == c : fnmatch(pattern, name, 0) == 0;
}

bool freeze_matches(const name_list *frozen, param_role role, const char *name) {
    for (int i = 0; i < frozen->count; i++)
        if (matches(frozen->names[i], role, name)) return true;
    return false;
}

status model_create_frozen(model **out, const model_config *config, const kernels *k, const name_list *frozen) {
    return model_create_spread(out, config, k, frozen, (comm_group){0});
}

status model_create_spread(model **out, const model_config *config, const kernels *k, const name_list *frozen,
                           comm_group spread) {
    return model_create_with(out, config, k, MODEL_TRAIN, (model_extras){.frozen = frozen, .spread = spread});
}

static bool means_something(const char *pattern, const model *m) {
    for (int i = 0; i < m->param_count; i++)
        if (matches(pattern, (param_role)m->params[i]->role, m->params[i]->name)) return true;
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

#include "nn/freeze.h"

#include "base/memory.h"
#include "nn/roles.h"
#include "nn/streamed.h"
#include <fnmatch.h>
#include <stdlib.h>
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

bool freeze_list_matches(const freeze_list *frozen, const param *p) {
    for (int i = 0; frozen && i < frozen->count; i++)
        if (matches(frozen->patterns[i], p)) return true;
    return false;
}

freeze_list *freeze_list_copy(const freeze_list *frozen) {
    if (!frozen || frozen->count == 0) return NULL;
    freeze_list *copy = xmalloc(sizeof *copy);
    *copy = (freeze_list){.patterns = xcalloc((size_t)frozen->count, sizeof(char *)), .count = frozen->count};
    for (int i = 0; i < frozen->count; i++) copy->patterns[i] = xstrdup(frozen->patterns[i]);
    return copy;
}

void freeze_list_free(freeze_list *frozen) {
    if (!frozen) return;
    for (int i = 0; i < frozen->count; i++) free(frozen->patterns[i]);
    free(frozen->patterns);
    free(frozen);
}

status model_create_frozen(model **out, const model_config *config, const kernels *k, const freeze_list *frozen) {
    return model_create_with(out, config, k, MODEL_TRAIN, (model_extras){.frozen = frozen});
}

static bool means_something(const char *pattern, const model *m) {
    for (int i = 0; i < m->param_count; i++)
        if (matches(pattern, m->params[i])) return true;
    return component_called(pattern) < COMPONENTS;
}

status freeze_list_check(const freeze_list *frozen, const model *m) {
    for (int i = 0; i < frozen->count; i++)
        if (!means_something(frozen->patterns[i], m))
            return fail_usage(
                "freeze: expected a component (embedding, attention, mlp, experts, shared, router, norms …) "
                "or a pattern of parameters' names such as \"blocks.[0-5].*\", found %s",
                frozen->patterns[i]);
    return STATUS_OK;
}

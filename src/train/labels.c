#include "train/labels.h"
#include "base/memory.h"
#include "text/mix.h"
#include <stdlib.h>

static bool is_drawn(const loader *data, int domain) {
    const mix *m = loader_mixture(data);
    return !m || mix_share(m, domain) > 0;
}

static label_list drawn_names(const char *const *domains, const int *drawn, int count) {
    label_list names = {0};
    for (int i = 0; i < count; i++) labels_add(&names, domains[drawn[i]]);
    return names;
}

/* A domain that could not be a name; there is one. */
static const char *first_without(const label_list *names, const char *const *domains, const int *drawn, int count) {
    int i = 0;
    while (i < count - 1 && labels_find(names, domains[drawn[i]]) >= 0) i++;
    return domains[drawn[i]];
}

static status name_experts(model_config *model, const char *const *domains, const int *drawn, int count) {
    label_list names = drawn_names(domains, drawn, count);
    if (count > model->moe.experts)
        return fail_usage("labels: expected at most as many domains as experts, found %d domains and %d experts", count,
                          model->moe.experts);
    if (count < model->moe.experts)
        return fail_usage("labels: expected a domain for each of the %d experts, found %d domains", model->moe.experts,
                          count);
    if (names.count < count)
        return fail_usage(
            "labels: expected at most %d domains with names of 1 to %d bytes, found %d with %.60s among them",
            LABELS_MOST, LABEL_BYTES - 1, count, first_without(&names, domains, drawn, count));
    model->moe.names = names;
    return STATUS_OK;
}

static status check_names(const label_list *names, const char *const *domains, const int *drawn, int count) {
    for (int i = 0; i < count; i++)
        if (labels_find(names, domains[drawn[i]]) < 0) {
            char *known = labels_text(names);
            const status s =
                fail_usage("labels: expected an expert for each domain, found none named %.60s: the experts are %s",
                           domains[drawn[i]], known);
            free(known);
            return s;
        }
    const label_list drawn_list = drawn_names(domains, drawn, count);
    for (int e = 0; e < names->count; e++)
        if (labels_find(&drawn_list, names->label[e]) < 0) {
            char *known = labels_text(&drawn_list);
            const status s =
                fail_usage("labels: expected a domain for each expert, found none named %s: the domains are %s",
                           names->label[e], known);
            free(known);
            return s;
        }
    return STATUS_OK;
}

status labels_bind(labels *l, const label_config *c, const loader *data, model_config *model) {
    int domains, count = 0;
    const char *const *names = loader_domains(data, &domains);
    *l = (labels){0};
    if (!labels_are_used(c)) return STATUS_OK;
    TRY(label_config_fit(c, model));
    if (domains == 0)
        return fail_usage(
            "labels: expected training text with a table of its documents' domains (.docs.tsv), found none");
    int *drawn = xcalloc((size_t)domains, sizeof *drawn);
    for (int d = 0; d < domains; d++)
        if (is_drawn(data, d)) drawn[count++] = d;
    status s = model->moe.names.count > 0 ? check_names(&model->moe.names, names, drawn, count)
                                          : name_experts(model, names, drawn, count);
    if (s == STATUS_OK) {
        l->expert_of = xcalloc((size_t)domains, sizeof *l->expert_of);
        l->domains = domains;
        for (int d = 0; d < domains; d++) l->expert_of[d] = labels_find(&model->moe.names, names[d]);
    }
    free(drawn);
    return s;
}

void labels_free(labels *l) {
    free(l->expert_of);
    *l = (labels){0};
}

static bool any_layer(const bool *layers) {
    for (int layer = 0; layer < MODEL_MAX_LAYERS; layer++)
        if (layers[layer]) return true;
    return false;
}

void labels_apply(const labels *l, const label_config *c, pass *p, double fraction) {
    if (l->domains == 0) return;
    const label_args args = {.expert_of = l->expert_of,
                             .domains = l->domains,
                             .weight = (float)curve_value(&c->weight, fraction),
                             .layers = any_layer(c->layers) ? c->layers : NULL,
                             .overrule = c->routing == LABEL_BY_DOCUMENT};
    pass_use_labels(p, &args);
}

bool labels_found(const routing_entry *routing, int routed, double *ce, double *hits) {
    int found = 0;
    *ce = *hits = 0;
    for (int i = 0; i < routed; i++) {
        if (routing[i].labelled <= 0) continue;
        *ce += routing[i].label_ce;
        *hits += routing[i].label_hits;
        found++;
    }
    if (found == 0) return false;
    *ce /= found;
    *hits /= found;
    return true;
}

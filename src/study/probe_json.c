/* moec probe for programs. */
#include "study/probe_report.h"

static cJSON *number(double value) {
    return cJSON_CreateNumber(value);
}

/* [[…], …] of the domains with tokens, as shares or as they are. */
static cJSON *table(const probe *p, const routing_table *t, bool shares) {
    cJSON *rows = cJSON_CreateArray();
    for (int d = 0; d < t->domains; d++) {
        if (p->tokens[d] == 0) continue;
        cJSON *row = cJSON_CreateArray();
        for (int e = 0; e < t->experts; e++)
            cJSON_AddItemToArray(row, number(shares ? routing_table_share(t, d, e) : t->count[d * t->experts + e]));
        cJSON_AddItemToArray(rows, row);
    }
    return rows;
}

static void add_accuracy(cJSON *to, const char *key, const routing_accuracy *a) {
    cJSON *accuracy = cJSON_AddObjectToObject(to, key);
    cJSON_AddNumberToObject(accuracy, "all", a->tokens);
    cJSON_AddNumberToObject(accuracy, "mean_over_domains", a->domains);
}

static void add_experts(cJSON *to, const probe *p, const probed_router *r) {
    cJSON *experts = cJSON_AddObjectToObject(to, "expert_of");
    for (int d = 0; d < p->table->domain_count; d++) {
        if (p->tokens[d] == 0) continue;
        cJSON_AddItemToObject(experts, p->table->domains[d],
                              r->expert[d] < 0 ? cJSON_CreateNull() : number(r->expert[d]));
    }
}

static void add_contrast(cJSON *to, const routing_contrast *c) {
    cJSON *contrast = cJSON_AddObjectToObject(to, "contrast");
    cJSON_AddNumberToObject(contrast, "mean", c->mean);
    cJSON_AddNumberToObject(contrast, "largest", c->largest);
    cJSON_AddNumberToObject(contrast, "expert", c->expert);
}

static cJSON *router(const probe *p, const probed_router *r) {
    cJSON *root = cJSON_CreateObject();
    if (r->layer >= 0) {
        cJSON_AddNumberToObject(root, "layer", r->layer);
        cJSON_AddNumberToObject(root, "pass", r->pass);
    }
    cJSON_AddNumberToObject(root, "separation", r->separation);
    cJSON_AddNumberToObject(root, "separation_first_choice", r->separation_first);
    add_contrast(root, &r->contrast);
    cJSON_AddNumberToObject(root, "information_bits", r->information);
    cJSON_AddNumberToObject(root, "information_shuffled_bits", r->information_shuffled);
    cJSON_AddNumberToObject(root, "information_bound_bits", r->information_bound);
    cJSON_AddNumberToObject(root, "information_share", probe_information_share(r));
    cJSON_AddNumberToObject(root, "router_entropy_bits", r->entropy);
    cJSON_AddNumberToObject(root, "expert_entropy_bits", r->expert_entropy);
    add_experts(root, p, r);
    add_accuracy(root, "token_accuracy", &r->accuracy);
    add_accuracy(root, "document_accuracy", &r->document_accuracy);
    cJSON_AddItemToObject(root, "shares_by_gates", table(p, &r->gates, true));
    cJSON_AddItemToObject(root, "shares_first_choice", table(p, &r->first, true));
    cJSON_AddItemToObject(root, "tokens_first_choice", table(p, &r->first, false));
    cJSON_AddItemToObject(root, "documents", table(p, &r->documents, false));
    return root;
}

static cJSON *domains(const probe *p) {
    cJSON *list = cJSON_CreateArray();
    for (int d = 0; d < p->table->domain_count; d++) {
        if (p->tokens[d] == 0) continue;
        cJSON *domain = cJSON_CreateObject();
        cJSON_AddStringToObject(domain, "name", p->table->domains[d]);
        cJSON_AddNumberToObject(domain, "tokens", (double)p->tokens[d]);
        cJSON_AddNumberToObject(domain, "documents", (double)p->documents[d]);
        cJSON_AddItemToArray(list, domain);
    }
    return list;
}

static cJSON *experts(const probe *p) {
    cJSON *list = cJSON_CreateArray();
    char number[16];
    for (int e = 0; e < p->mean.first.experts; e++)
        cJSON_AddItemToArray(list, cJSON_CreateString(probe_expert_name(p, e, number)));
    return list;
}

cJSON *probe_to_json(const probe *p) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddItemToObject(root, "domains", domains(p));
    cJSON_AddItemToObject(root, "experts", experts(p));
    cJSON_AddStringToObject(root, "experts_of_domains", p->by_name ? "names" : "best assignment");
    cJSON *routers = cJSON_AddArrayToObject(root, "routers");
    for (int i = 0; i < p->count; i++) cJSON_AddItemToArray(routers, router(p, &p->routers[i]));
    cJSON_AddItemToObject(root, "mean", router(p, &p->mean));
    return root;
}

#include "eval/probe.h"

#include "base/memory.h"
#include "base/random.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

status probe_check_model(const model_config *c, const char *model) {
    if (model_config_has_moe(c)) return STATUS_OK;
    return fail_usage("%s: expected a mixture of experts, found a model without routers", model);
}

status probe_check_text(const document_table *documents, const char *data) {
    if (!documents)
        return fail(
            "%s: expected a table of documents (.docs.tsv) beside the held-out shard, found none: it says which "
            "domain a text is of",
            data);
    if (documents->domain_count < 2)
        return fail("%s: expected held-out text of at least two domains, found one: %.60s", data,
                    documents->domains[0]);
    return STATUS_OK;
}

/* ---- tables ---- */

/* What was seen, by document. */
typedef struct seen {
    const routed_document *documents;
    int64_t count;
    int domains;
} seen;

/* Σ over the documents of each domain of sums [documents, E]. domain NULL: their own. */
static void add_documents(routing_table *t, const seen *s, const double *sums, const int *domain) {
    for (int64_t i = 0; i < s->count; i++) {
        double *row = t->count + (int64_t)(domain ? domain[i] : s->documents[i].domain) * t->experts;
        for (int e = 0; e < t->experts; e++) row[e] += sums[i * t->experts + e];
    }
}

static void count_documents(routing_table *t, const seen *s, const double *probs) {
    for (int64_t i = 0; i < s->count; i++)
        t->count[s->documents[i].domain * t->experts + likeliest_expert(probs + i * t->experts, t->experts)]++;
}

/* ---- information by chance ---- */

static void deal(int *domain, int64_t count, rng *r) {
    for (int64_t i = count - 1; i > 0; i--) {
        const int64_t other = (int64_t)rng_below(r, (uint64_t)i + 1);
        const int kept = domain[i];
        domain[i] = domain[other];
        domain[other] = kept;
    }
}

static double shuffled_information(const seen *s, const routing_row *row) {
    int *domain = xmalloc((size_t)s->count * sizeof *domain);
    rng r = rng_named(0, "probe");
    double sum = 0;
    for (int64_t i = 0; i < s->count; i++) domain[i] = s->documents[i].domain;
    for (int i = 0; i < PROBE_SHUFFLES; i++) {
        routing_table t = routing_table_create(s->domains, row->experts);
        deal(domain, s->count, &r);
        add_documents(&t, s, row->by_document.first, domain);
        sum += routing_information(&t);
        routing_table_free(&t);
    }
    free(domain);
    return sum / PROBE_SHUFFLES;
}

/* ---- a router ---- */

static void name_experts(const probe *p, probed_router *r) {
    for (int d = 0; d < p->table->domain_count; d++) r->expert[d] = labels_find(&p->names, p->table->domains[d]);
}

static void measure(probed_router *r) {
    r->expert_entropy = routing_expert_entropy(&r->first);
    r->separation = routing_separation(&r->gates);
    r->separation_first = routing_separation(&r->first);
    r->contrast = routing_contrast_of(&r->gates);
    r->information = routing_information(&r->first);
    r->information_bound = routing_information_bound(&r->first);
    r->accuracy = routing_accuracy_of(&r->first, r->expert);
    r->document_accuracy = routing_accuracy_of(&r->documents, r->expert);
}

static probed_router router_of(const probe *p, const seen *s, const routing_row *row) {
    probed_router r = {.layer = row->layer,
                       .pass = row->pass,
                       .first = routing_table_create(s->domains, row->experts),
                       .gates = routing_table_create(s->domains, row->experts),
                       .documents = routing_table_create(s->domains, row->experts),
                       .entropy = row->tokens ? row->entropy / (double)row->tokens / M_LN2 : 0};
    add_documents(&r.first, s, row->by_document.first, NULL);
    add_documents(&r.gates, s, row->by_document.gates, NULL);
    count_documents(&r.documents, s, row->by_document.probs);
    if (p->by_name)
        name_experts(p, &r);
    else
        routing_best_experts(&r.first, r.expert);
    measure(&r);
    r.information_shuffled = shuffled_information(s, row);
    return r;
}

static void router_free(probed_router *r) {
    routing_table_free(&r->first);
    routing_table_free(&r->gates);
    routing_table_free(&r->documents);
}

/* ---- all of them ---- */

static bool has_named_domain(const probe *p) {
    for (int d = 0; d < p->table->domain_count; d++)
        if (labels_find(&p->names, p->table->domains[d]) >= 0) return true;
    return false;
}

static status count_domains(probe *p, const seen *s) {
    int present = 0;
    for (int64_t i = 0; i < s->count; i++) {
        p->tokens[s->documents[i].domain] += s->documents[i].tokens;
        p->documents[s->documents[i].domain]++;
    }
    for (int d = 0; d < s->domains; d++) present += p->tokens[d] > 0;
    if (present < 2) return fail("probe: expected tokens of at least two domains, found those of %d", present);
    return STATUS_OK;
}

status probe_of(probe *out, const routing_probe *p, const document_table *documents, const label_list *names) {
    seen s = {.domains = documents->domain_count};
    int count;
    *out = (probe){.table = documents, .names = *names};
    s.documents = routing_probe_documents(p, &s.count);
    const routing_row *rows = routing_probe_rows(p, &count), *mean = routing_probe_mean(p);
    if (!mean) return fail("probe: no router was seen");
    TRY(count_domains(out, &s));
    out->by_name = has_named_domain(out);
    out->routers = xcalloc((size_t)count, sizeof *out->routers);
    for (int i = 0; i < count; i++) out->routers[out->count++] = router_of(out, &s, &rows[i]);
    out->mean = router_of(out, &s, mean);
    return STATUS_OK;
}

void probe_free(probe *p) {
    for (int i = 0; i < p->count; i++) router_free(&p->routers[i]);
    router_free(&p->mean);
    free(p->routers);
    *p = (probe){0};
}

double probe_information_share(const probed_router *r) {
    return r->information_bound > 0 ? r->information / r->information_bound : 0;
}

const char *probe_expert_name(const probe *p, int expert, char number[16]) {
    if (expert < p->names.count) return p->names.label[expert];
    snprintf(number, 16, "%d", expert);
    return number;
}

int probe_domains_with_expert(const probe *p, const probed_router *r) {
    int count = 0;
    for (int d = 0; d < p->table->domain_count; d++) count += p->tokens[d] > 0 && r->expert[d] >= 0;
    return count;
}

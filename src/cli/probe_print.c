#include "cli/probe_print.h"

#include <math.h>
#include <stdio.h>

/* ---- a line each router ---- */

static void print_router(const probe *p, const probed_router *r) {
    char layer[32] = "mean", number[16];
    if (r->layer >= 0) snprintf(layer, sizeof layer, "blocks.%d.mlp", r->layer);
    printf("%-14s ", layer);
    r->pass > 0 ? printf("%5d", r->pass) : printf("%5s", "");
    printf(" %10.4f %8.2f %8.2f %-8.8s %6.4f %6.2f %8.4f %8.4f %8.4f %8.2f %9.2f\n", r->separation, r->contrast.mean,
           r->contrast.largest, probe_expert_name(p, r->contrast.expert, number), r->information,
           100 * probe_information_share(r), r->information_shuffled, r->entropy, r->expert_entropy,
           100 * r->accuracy.tokens, 100 * r->document_accuracy.tokens);
}

static void print_routers(const probe *p) {
    printf("%-14s %5s %10s %17s %8s %22s %17s %18s\n", "", "", "", "contrast", "", "information", "entropy, bits",
           "accuracy in %");
    printf("%-14s %5s %10s %8s %8s %-8s %6s %6s %8s %8s %8s %8s %9s\n", "layer", "pass", "separation", "mean",
           "largest", "of", "bits", "%", "shuffled", "router", "experts", "tokens", "documents");
    for (int i = 0; i < p->count; i++) print_router(p, &p->routers[i]);
    print_router(p, &p->mean);
}

/* ---- where each domain goes ---- */

static void print_table(const probe *p, const probed_router *r, const routing_table *t, const char *what) {
    char number[16];
    const int experts = t->experts;
    printf("%-20s %9s ", what, "");
    for (int e = 0; e < experts; e++) printf(" %8.8s", probe_expert_name(p, e, number));
    putchar('\n');
    for (int d = 0; d < t->domains; d++) {
        if (p->tokens[d] == 0) continue;
        printf("%-20.20s %9.0f ", p->table->domains[d], routing_table_domain(t, d));
        for (int e = 0; e < experts; e++)
            printf(" %7.2f%c", 100 * routing_table_share(t, d, e), r->expert[d] == e ? '*' : ' ');
        putchar('\n');
    }
}

static void print_confusion(const probe *p) {
    const probed_router *m = &p->mean;
    const int domains = probe_domains_with_expert(p, m);
    puts("\nmean over layers: where each domain's tokens and documents go by their likeliest expert, in %");
    puts(p->by_name
             ? "*: the expert of the domain's name\n"
             : "*: the domain's expert by best assignment; without names, experts of different layers have nothing "
               "but their number in common\n");
    print_table(p, m, &m->first, "tokens");
    putchar('\n');
    print_table(p, m, &m->documents, "documents");
    printf("\naccuracy: %.2f %% of the tokens, %.2f %% of the documents; as a mean over %d domains %.2f %% and %.2f %% "
           "(at most %.2f %% where all are routed alike)\n",
           100 * m->accuracy.tokens, 100 * m->document_accuracy.tokens, domains, 100 * m->accuracy.domains,
           100 * m->document_accuracy.domains, 100.0 / domains);
}

void probe_print(const probe *p, const bpb_result *r, const char *title) {
    int64_t documents = 0;
    int domains = 0;
    for (int d = 0; d < p->table->domain_count; d++) {
        documents += p->documents[d];
        domains += p->tokens[d] > 0;
    }
    printf("\nrouting of %s%lld tokens in %lld documents of %d domains of %s, %.4f bits per byte\n\n",
           r->whole ? "" : "a sample of ", (long long)r->total.tokens, (long long)documents, domains, title,
           bpb(&r->total));
    print_routers(p);
    printf("\nat most: separation 1, information %.4f bits (100 %%), entropy %.4f bits\n", p->mean.information_bound,
           log2(p->mean.first.experts));
    print_confusion(p);
}

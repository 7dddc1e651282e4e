/* moec probe's folder: JSON and tables. */
#include "study/probe_report.h"

#include "base/csv_text.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text_stream.h"
#include <stdlib.h>

/* "2,1", or "mean," of the mean over routers */
static void put_router(FILE *out, const probed_router *r) {
    r->layer < 0 ? fputs("mean,", out) : fprintf(out, "%d,%d", r->layer, r->pass);
}

static void put_measures(FILE *out, const probed_router *r) {
    put_router(out, r);
    fprintf(out, ",%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g,%.6g\n", r->separation,
            r->separation_first, r->contrast.mean, r->contrast.largest, r->information, r->information_shuffled,
            r->information_bound, r->entropy, r->expert_entropy, r->accuracy.tokens, r->accuracy.domains,
            r->document_accuracy.tokens, r->document_accuracy.domains);
}

static void put_shares(FILE *out, const probe *p, const probed_router *r, int domain, int expert) {
    char number[16];
    const int cell = domain * r->first.experts + expert;
    put_router(out, r);
    fputc(',', out);
    csv_put_text(out, p->table->domains[domain]);
    fprintf(out, ",%d,", expert);
    csv_put_text(out, probe_expert_name(p, expert, number));
    fprintf(out, ",%d,%.6g,%.6g,%.0f,%.0f\n", r->expert[domain] == expert,
            routing_table_share(&r->gates, domain, expert), routing_table_share(&r->first, domain, expert),
            r->first.count[cell], r->documents.count[cell]);
}

static void put_router_shares(FILE *out, const probe *p, const probed_router *r) {
    for (int d = 0; d < p->table->domain_count; d++)
        for (int e = 0; e < r->first.experts && p->tokens[d] > 0; e++) put_shares(out, p, r, d, e);
}

static void put_routers_table(FILE *out, const probe *p) {
    fputs("layer,pass,separation,separation_first_choice,contrast_mean,contrast_largest,information_bits,"
          "information_shuffled_bits,information_bound_bits,router_entropy_bits,expert_entropy_bits,token_accuracy,"
          "token_accuracy_mean_over_domains,document_accuracy,document_accuracy_mean_over_domains\n",
          out);
    for (int i = 0; i < p->count; i++) put_measures(out, &p->routers[i]);
    put_measures(out, &p->mean);
}

static void put_shares_table(FILE *out, const probe *p) {
    fputs("layer,pass,domain,expert,name,own,share_by_gates,share_first_choice,tokens_first_choice,documents\n", out);
    for (int i = 0; i < p->count; i++) put_router_shares(out, p, &p->routers[i]);
    put_router_shares(out, p, &p->mean);
}

static status write_table(const probe *p, const char *folder, const char *name,
                          void (*put)(FILE *out, const probe *p)) {
    char *path = path_join(folder, name);
    text_stream t;
    put(text_stream_begin(&t), p);
    const status s = text_stream_write(&t, path);
    free(path);
    return s;
}

status probe_report(const probe *p, const cJSON *json, const char *folder, bool *drawn) {
    TRY(folder_create(folder));
    char *path = path_join(folder, "probe.json");
    status s = json_write_file(path, json);
    free(path);
    TRY(s);
    TRY(write_table(p, folder, "routers.csv", put_routers_table));
    TRY(write_table(p, folder, "shares.csv", put_shares_table));
    return probe_plot(p, folder, drawn);
}

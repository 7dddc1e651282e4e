#include "cli/eval_table.h"

#include "base/memory.h"
#include "cli/cli.h"
#include "cli/routing_print.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void eval_table_free(eval_table *t) {
    for (int r = 0; r < t->count; r++) free(t->rows[r]);
    free(t->note);
    free(t->title);
    routing_probe_destroy(t->probe);
    *t = (eval_table){0};
}

/* ---- rows ---- */

static eval_row *add_row(eval_table *t, const char *name, const char *key) {
    eval_row *row = xcalloc(1, sizeof *row);
    row->name = name;
    row->key = key;
    t->rows[t->count++] = row;
    return row;
}

static bpb_score blended(const bpb_score *s) {
    bpb_score blend = *s;
    blend.nll = s->nll_blend;
    return blend;
}

static void fill_row(eval_row *row, const bpb_result *r, bool blend) {
    const bpb_score total = blend ? blended(&r->total) : r->total;
    row->total = bpb(&total);
    row->perplexity = perplexity(&total);
    for (int i = 0; i < r->domain_count; i++) {
        const bpb_score domain = blend ? blended(&r->domain[i]) : r->domain[i];
        row->domain[i] = bpb(&domain);
        row->domain_perplexity[i] = perplexity(&domain);
    }
}

void eval_table_add(eval_table *t, const bpb_result *r, const char *name, const char *key, const char *blend_name,
                    const char *blend_key) {
    fill_row(add_row(t, name, key), r, false);
    if (blend_name) fill_row(add_row(t, blend_name, blend_key), r, true);
    t->scored = r->total;
    memcpy(t->scored_domain, r->domain, sizeof t->scored_domain);
    t->whole = r->whole;
    t->seconds += r->seconds;
}

status eval_table_add_xz(eval_table *t) {
    if (!t->text->text || !t->whole) return STATUS_OK;
    eval_row *row = add_row(t, "xz -9e", "xz");
    row->perplexity = NAN;
    for (int i = 0; i < EVAL_MAX_DOMAINS; i++) row->domain_perplexity[i] = NAN;
    return scored_text_xz(t->text, &row->total, row->domain);
}

const eval_row *eval_table_find(const eval_table *t, const char *key) {
    for (int r = 0; r < t->count; r++)
        if (strcmp(t->rows[r]->key, key) == 0) return t->rows[r];
    return NULL;
}

/* ---- for people ---- */

static int domain_count(const eval_table *t) {
    return t->text->documents.domain_count;
}

static bool is_shown(const eval_table *t, int domain) {
    return t->scored_domain[domain].tokens > 0;
}

/* A figure over a part of the text is not called one over all of it. */
static const char *total_name(const eval_table *t) {
    return t->whole ? "all" : "sample";
}

/* A column each domain, a line each kind of weights. */
static void print_domains(const eval_table *t) {
    printf("%-24s", "");
    for (int i = 0; i < domain_count(t); i++)
        if (is_shown(t, i)) printf(" %12s", t->text->documents.domains[i]);
    printf(" %12s\n", total_name(t));
    for (int r = 0; r < t->count; r++) {
        printf("%-24s", t->rows[r]->name);
        for (int i = 0; i < domain_count(t); i++)
            if (is_shown(t, i)) printf(" %12.4f", t->rows[r]->domain[i]);
        printf(" %12.4f\n", t->rows[r]->total);
    }
    if (t->whole) return;
    printf("%-24s", "bytes scored");
    for (int i = 0; i < domain_count(t); i++)
        if (is_shown(t, i)) printf(" %12lld", (long long)t->scored_domain[i].bytes);
    printf(" %12lld\n", (long long)t->scored.bytes);
}

static void print_file(const char *file, const char *weights, double bits, double perplexity, const bpb_score *s) {
    printf("%-32s %-16s %10.4f", file, weights, bits);
    isnan(perplexity) ? printf(" %12s", "-") : printf(" %12.2f", perplexity);
    printf(" %10lld %12lld\n", (long long)s->tokens, (long long)s->bytes);
}

/* A line each file and kind of weights: there may be many files, with long names. */
static void print_files(const eval_table *t) {
    printf("%-32s %-16s %10s %12s %10s %12s\n", "file", "weights", "bits/byte", "perplexity", "tokens", "bytes");
    for (int i = 0; i < domain_count(t); i++)
        for (int r = 0; r < t->count && is_shown(t, i); r++)
            print_file(t->text->documents.domains[i], t->rows[r]->name, t->rows[r]->domain[i],
                       t->rows[r]->domain_perplexity[i], &t->scored_domain[i]);
    for (int r = 0; r < t->count && (domain_count(t) > 1 || !t->whole); r++)
        print_file(total_name(t), t->rows[r]->name, t->rows[r]->total, t->rows[r]->perplexity, &t->scored);
}

void eval_table_print(const eval_table *t) {
    printf("\nbits per byte%s of %s%lld bytes (%lld tokens) of %s\n\n", t->files ? " and perplexity per token" : "",
           t->whole ? "" : "a sample of ", (long long)t->scored.bytes, (long long)t->scored.tokens, t->title);
    t->files ? print_files(t) : print_domains(t);
    if (t->text->inexact > 0)
        printf("\nthe tokenizer does not give %lld of %lld documents back as they are\n", (long long)t->text->inexact,
               (long long)t->text->documents.count);
    if (t->note) printf("\nweights of this training: %s\n", t->note);
    if (t->probe) routing_print(t->probe, t->probed);
}

/* ---- JSON ---- */

static void add_figures(const eval_table *t, cJSON *to, const char *key, double total, const double *domain) {
    cJSON *figures = cJSON_AddObjectToObject(to, key);
    cJSON_AddNumberToObject(figures, total_name(t), total);
    for (int i = 0; i < domain_count(t); i++)
        if (is_shown(t, i)) cJSON_AddNumberToObject(figures, t->text->documents.domains[i], domain[i]);
}

void eval_table_print_json(const eval_table *t) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "text", t->kind);
    cJSON_AddBoolToObject(root, "whole", t->whole);
    cJSON_AddNumberToObject(root, "tokens", (double)t->scored.tokens);
    cJSON_AddNumberToObject(root, "bytes", (double)t->scored.bytes);
    cJSON_AddNumberToObject(root, "seconds", t->seconds);
    if (t->chosen) cJSON_AddStringToObject(root, "chosen_weights", t->chosen);
    for (int r = 0; r < t->count; r++) add_figures(t, root, t->rows[r]->key, t->rows[r]->total, t->rows[r]->domain);
    cJSON *perplexities = cJSON_AddObjectToObject(root, "perplexity");
    for (int r = 0; r < t->count; r++)
        if (!isnan(t->rows[r]->perplexity))
            add_figures(t, perplexities, t->rows[r]->key, t->rows[r]->perplexity, t->rows[r]->domain_perplexity);
    if (t->probe) routing_to_json(t->probe, root);
    cli_print_json(root);
}

#include "eval/routing.h"

#include "base/file.h"
#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct routing_probe {
    const tokenizer *tok;
    pass *watched;
    file_writer file;
    bool traces;
    const int32_t *ids;
    const int64_t *positions;
    int64_t expected;
    routing_row *rows;
    int count;
};

status routing_probe_create(routing_probe **out, const tokenizer *tok, const char *trace) {
    routing_probe *p = xcalloc(1, sizeof *p);
    static const char header[] = "position,token,piece,pass,layer,expert,gate\n";
    p->tok = tok;
    status s = trace ? file_create(&p->file, trace) : STATUS_OK;
    p->traces = trace && s == STATUS_OK;
    if (p->traces) file_write(&p->file, header, strlen(header));
    if (s != STATUS_OK) {
        free(p);
        return s;
    }
    *out = p;
    return STATUS_OK;
}

void routing_probe_destroy(routing_probe *p) {
    if (!p) return;
    routing_probe_attach(p, NULL);
    if (p->traces) file_abandon(&p->file);
    for (int i = 0; i < p->count; i++) free(p->rows[i].taken);
    free(p->rows);
    free(p);
}

status routing_probe_finish(routing_probe *p) {
    if (!p->traces) return STATUS_OK;
    p->traces = false;
    return file_commit(&p->file);
}

void routing_probe_expect(routing_probe *p, const int32_t *ids, const int64_t *positions, int64_t rows) {
    p->ids = ids;
    p->positions = positions;
    p->expected = rows;
}

const routing_row *routing_probe_rows(const routing_probe *p, int *count) {
    *count = p->count;
    return p->rows;
}

/* A field of CSV in quotes (RFC 4180), on one line: a newline is written as \n, a backslash as two. */
static size_t quote(char *out, size_t room, const char *text) {
    size_t n = 0;
    out[n++] = '"';
    for (; *text && n + 3 < room; text++) {
        if (*text == '"') out[n++] = '"';
        if (*text == '\n' || *text == '\r' || *text == '\\') out[n++] = '\\';
        out[n++] = *text == '\n' ? 'n' : *text == '\r' ? 'r' : *text;
    }
    out[n++] = '"';
    out[n] = '\0';
    return n;
}

static void trace(routing_probe *p, const routing_row *row, const moe_choice *c, int64_t n) {
    char piece[512], line[768];
    quote(piece, sizeof piece, tokenizer_piece(p->tok, p->ids[n]));
    for (int i = 0; i < c->k; i++) {
        int length = snprintf(line, sizeof line, "%lld,%d,%s,%d,%d,%d,%.6g\n", (long long)p->positions[n], p->ids[n],
                              piece, row->pass, row->layer, c->chosen[n * c->k + i], (double)c->gates[n * c->k + i]);
        file_write(&p->file, line, (size_t)length);
    }
}

static double entropy(const float *probs, int experts) {
    double sum = 0;
    for (int e = 0; e < experts; e++)
        if (probs[e] > 0) sum -= (double)probs[e] * log((double)probs[e]);
    return sum;
}

static int likeliest(const float *probs, int experts) {
    int best = 0;
    for (int e = 1; e < experts; e++)
        if (probs[e] > probs[best]) best = e;
    return best;
}

static void count(routing_row *row, const moe_choice *c, int64_t n) {
    const float *probs = c->probs + n * c->experts;
    row->tokens++;
    row->entropy += entropy(probs, c->experts);
    if (c->k == c->experts)
        row->taken[likeliest(probs, c->experts)]++;
    else
        for (int i = 0; i < c->k; i++) row->taken[c->chosen[n * c->k + i]]++;
}

/* The router's row; a pass goes through routers in the same order every time. */
static routing_row *row_of(routing_probe *p, int layer, int pass, int experts) {
    for (int i = 0; i < p->count; i++)
        if (p->rows[i].layer == layer && p->rows[i].pass == pass) return &p->rows[i];
    p->rows = xrealloc(p->rows, (size_t)(p->count + 1) * sizeof *p->rows);
    routing_row *row = &p->rows[p->count];
    *row = (routing_row){.layer = layer, .pass = pass, .experts = experts};
    row->taken = xcalloc((size_t)experts, sizeof *row->taken);
    p->count++;
    return row;
}

static void observe(void *context, int layer, int pass, const moe_choice *c) {
    routing_probe *p = context;
    if (!p->positions || c->tokens != p->expected) return; /* a pass that nobody announced */
    routing_row *row = row_of(p, layer, pass + 1, c->experts);
    for (int64_t n = 0; n < c->tokens; n++) {
        if (p->positions[n] < 0) continue;
        count(row, c, n);
        if (p->traces) trace(p, row, c, n);
    }
}

void routing_probe_attach(routing_probe *p, pass *watched) {
    if (p->watched) pass_watch_routing(p->watched, NULL, NULL);
    p->watched = watched;
    if (watched) pass_watch_routing(watched, observe, p);
}

#include "eval/routing.h"

#include "base/file.h"
#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct routing_probe {
    const tokenizer *tok;
    model *m;
    file_writer file;
    bool traces;
    const int32_t *ids;
    const int64_t *positions;
    int64_t expected;
    routing_row rows[MODEL_MAX_PATH];
    int count, experts;
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

const routing_row *routing_probe_rows(const routing_probe *p, int *count, int *experts) {
    *count = p->count;
    *experts = p->experts;
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

static void observe(void *context, const moe_choice *c) {
    routing_probe *p = context;
    int entry = p->m->routing_count - 1, pass = 1;
    if (!p->positions || c->tokens != p->expected) return; /* a pass that nobody announced */
    for (int i = 0; i < entry; i++) pass += p->m->routing_layer[i] == p->m->routing_layer[entry];
    routing_row *row = &p->rows[entry];
    row->layer = p->m->routing_layer[entry];
    row->pass = pass;
    p->experts = c->experts;
    if (entry >= p->count) p->count = entry + 1;
    for (int64_t n = 0; n < c->tokens; n++) {
        if (p->positions[n] < 0) continue;
        count(row, c, n);
        if (p->traces) trace(p, row, c, n);
    }
}

void routing_probe_attach(routing_probe *p, model *m) {
    if (p->m) p->m->observer = NULL;
    p->m = m;
    if (!m) return;
    m->observer = observe;
    m->observer_context = p;
}

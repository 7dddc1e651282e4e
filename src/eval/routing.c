#include "eval/routing.h"

#include "base/file.h"
#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The mean over routers: of the tokens that run now, Σ over the routers that they went through so far. */
typedef struct routing_mean {
    routing_row row;
    double *gates, *probs; /* [rows, E] */
    int64_t room;          /* of each */
    int routers;
} routing_mean;

struct routing_probe {
    const tokenizer *tok;
    pass *watched;
    file_writer file;
    bool traces;
    const int32_t *ids;
    const int64_t *positions;
    int64_t expected;
    routing_row *rows;
    routing_row *before; /* as rows were at the last meeting of ranks; NULL: there was none */
    int count;
    token_routing token; /* the one that is looked at */

    const document_table *table; /* NULL: nothing is kept by document */
    routed_document *documents;  /* some of whose tokens counted */
    int64_t document_count;
    int64_t *document_of; /* [expected] index into documents, −1: the row does not count */
    routing_mean mean;
};

status routing_probe_create(routing_probe **out, const tokenizer *tok, const char *trace,
                            const document_table *documents) {
    routing_probe *p = xcalloc(1, sizeof *p);
    static const char header[] = "position,token,piece,pass,layer,expert,gate\n";
    p->tok = tok;
    p->table = documents;
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

static void row_free(routing_row *row) {
    free(row->taken);
    document_routing_free(&row->by_document);
}

void routing_probe_destroy(routing_probe *p) {
    if (!p) return;
    routing_probe_attach(p, NULL);
    if (p->traces) file_abandon(&p->file);
    for (int i = 0; i < p->count; i++) row_free(&p->rows[i]);
    for (int i = 0; i < p->count && p->before; i++) row_free(&p->before[i]);
    free(p->before);
    row_free(&p->mean.row);
    free(p->mean.gates);
    free(p->mean.probs);
    free(p->rows);
    free(p->token.gates);
    free(p->token.probs);
    free(p->documents);
    free(p->document_of);
    free(p);
}

/* ---- what counts ---- */

/* The place of the document that the position is in, which is the last one or one behind it. */
static int64_t place_document(routing_probe *p, int64_t position) {
    const routed_document *last = p->document_count ? &p->documents[p->document_count - 1] : NULL;
    const document *d = last ? &p->table->documents[last->index] : NULL;
    if (d && position < d->start + d->count) return p->document_count - 1;
    const int64_t index = document_at(p->table, position);
    if ((p->document_count & (p->document_count - 1)) == 0) /* grow at powers of two */
        p->documents =
            xrealloc(p->documents, (size_t)(p->document_count ? 2 * p->document_count : 1) * sizeof *p->documents);
    p->documents[p->document_count] = (routed_document){.index = index, .domain = p->table->documents[index].domain};
    return p->document_count++;
}

static void place_rows(routing_probe *p) {
    p->document_of = xrealloc(p->document_of, (size_t)p->expected * sizeof *p->document_of);
    for (int64_t n = 0; n < p->expected; n++) {
        p->document_of[n] = p->positions[n] < 0 ? -1 : place_document(p, p->positions[n]);
        if (p->document_of[n] >= 0) p->documents[p->document_of[n]].tokens++;
    }
}

static void finish_mean(routing_probe *p);

void routing_probe_expect(routing_probe *p, const int32_t *ids, const int64_t *positions, int64_t rows) {
    if (p->table) finish_mean(p);
    p->ids = ids;
    p->positions = positions;
    p->expected = rows;
    if (p->table) place_rows(p);
}

/* ---- the trace ---- */

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

/* ---- counting ---- */

static double entropy(const double *probs, int experts) {
    double sum = 0;
    for (int e = 0; e < experts; e++)
        if (probs[e] > 0) sum -= probs[e] * log(probs[e]);
    return sum;
}

/* document < 0: nothing is kept by document. */
static void count(routing_row *row, const token_routing *t, int64_t document) {
    row->tokens++;
    if (document >= 0) document_routing_add(&row->by_document, document, t);
}

static void count_taken(routing_row *row, const moe_choice *c, const token_routing *t, int64_t n) {
    if (c->k == c->experts)
        row->taken[t->first]++;
    else
        for (int i = 0; i < c->k; i++) row->taken[c->chosen[n * c->k + i]]++;
}

static routing_row new_row(int layer, int pass, int experts) {
    return (routing_row){.layer = layer,
                         .pass = pass,
                         .experts = experts,
                         .taken = xcalloc((size_t)experts, sizeof(int64_t)),
                         .by_document = {.experts = experts}};
}

/* The router's row; a pass goes through routers in the same order every time. */
static routing_row *row_of(routing_probe *p, int layer, int pass, int experts) {
    for (int i = 0; i < p->count; i++)
        if (p->rows[i].layer == layer && p->rows[i].pass == pass) return &p->rows[i];
    p->rows = xrealloc(p->rows, (size_t)(p->count + 1) * sizeof *p->rows);
    p->rows[p->count] = new_row(layer, pass, experts);
    return &p->rows[p->count++];
}

/* ---- the mean over routers ---- */

/* Room for the expected rows, of 0. */
static void begin_mean(routing_probe *p, int experts) {
    routing_mean *m = &p->mean;
    const int64_t sums = p->expected * experts;
    if (!m->row.taken) m->row = new_row(-1, 0, experts);
    if (sums > m->room) {
        m->gates = xrealloc(m->gates, (size_t)sums * sizeof *m->gates);
        m->probs = xrealloc(m->probs, (size_t)sums * sizeof *m->probs);
        m->room = sums;
    }
    memset(m->gates, 0, (size_t)sums * sizeof *m->gates);
    memset(m->probs, 0, (size_t)sums * sizeof *m->probs);
}

static void add_to_mean(routing_probe *p, int64_t n) {
    const int experts = p->mean.row.experts;
    for (int e = 0; e < experts; e++) {
        p->mean.gates[n * experts + e] += p->token.gates[e];
        p->mean.probs[n * experts + e] += p->token.probs[e];
    }
}

/* The expected rows went through all routers that they go through. */
static void finish_mean(routing_probe *p) {
    routing_mean *m = &p->mean;
    const int experts = m->row.experts;
    double sum = 0;
    for (int64_t n = 0; n < p->expected && m->routers > 0; n++) {
        if (p->document_of[n] < 0) continue;
        for (int e = 0; e < experts; e++) {
            p->token.gates[e] = m->gates[n * experts + e] / m->routers;
            p->token.probs[e] = m->probs[n * experts + e] / m->routers;
        }
        p->token.first = likeliest_expert(p->token.probs, experts);
        m->row.taken[p->token.first]++;
        sum += entropy(p->token.probs, experts);
        count(&m->row, &p->token, p->document_of[n]);
    }
    m->row.entropy += sum;
    m->routers = 0;
}

/* ---- watching ---- */

static void observe(void *context, int layer, int pass, const moe_choice *c) {
    routing_probe *p = context;
    if (!p->positions || c->tokens != p->expected) return; /* a pass that nobody announced */
    routing_row *row = row_of(p, layer, pass + 1, c->experts);
    if (!p->token.probs) {
        p->token.gates = xmalloc((size_t)c->experts * sizeof *p->token.gates);
        p->token.probs = xmalloc((size_t)c->experts * sizeof *p->token.probs);
    }
    if (p->table && p->mean.routers++ == 0) begin_mean(p, c->experts);
    double sum = 0;
    for (int64_t n = 0; n < c->tokens; n++) {
        if (p->positions[n] < 0) continue;
        token_routing_read(&p->token, c, n);
        sum += entropy(p->token.probs, c->experts);
        count(row, &p->token, p->table ? p->document_of[n] : -1);
        count_taken(row, c, &p->token, n);
        if (p->table) add_to_mean(p, n);
        if (p->traces) trace(p, row, c, n);
    }
    row->entropy += sum;
    row->fresh = sum;
}

void routing_probe_attach(routing_probe *p, pass *watched) {
    if (p->watched) pass_watch_routing(p->watched, NULL, NULL);
    p->watched = watched;
    if (watched) pass_watch_routing(watched, observe, p);
}

/* ---- ranks ---- */

/* What one rank's pass through one router found. */
typedef struct found_row {
    int64_t tokens;
    double entropy;
    int64_t taken[MODEL_MAX_EXPERTS];
} found_row;

/* Rank 0 has a pass whenever anybody has one, so it knows every router. */
static status learn_rows(routing_probe *p, comm *ranks) {
    int count = p->count;
    TRY(comm_broadcast(ranks, 0, &count, sizeof count));
    int *about = xcalloc((size_t)(3 * count) + 1, sizeof *about);
    for (int i = 0; i < count && ranks->rank == 0; i++) {
        about[3 * i] = p->rows[i].layer;
        about[3 * i + 1] = p->rows[i].pass;
        about[3 * i + 2] = p->rows[i].experts;
    }
    const status s = comm_broadcast(ranks, 0, about, (size_t)(3 * count) * sizeof *about);
    for (int i = 0; i < count && s == STATUS_OK; i++) row_of(p, about[3 * i], about[3 * i + 1], about[3 * i + 2]);
    if (!p->before) p->before = xcalloc((size_t)count + 1, sizeof *p->before);
    for (int i = 0; i < count && !p->before[i].taken; i++)
        p->before[i] = new_row(p->rows[i].layer, p->rows[i].pass, p->rows[i].experts);
    free(about);
    return s;
}

/* The row goes back to what it was at the last meeting, and on by what each rank found since, in their order. */
static void add_found(routing_row *row, routing_row *before, const found_row *all, int ranks, int stride) {
    row->tokens = before->tokens;
    row->entropy = before->entropy;
    memcpy(row->taken, before->taken, (size_t)row->experts * sizeof *row->taken);
    for (int r = 0; r < ranks; r++) {
        const found_row *f = &all[(ptrdiff_t)r * stride];
        row->tokens += f->tokens;
        row->entropy += f->entropy;
        for (int e = 0; e < row->experts; e++) row->taken[e] += f->taken[e];
    }
    before->tokens = row->tokens;
    before->entropy = row->entropy;
    memcpy(before->taken, row->taken, (size_t)row->experts * sizeof *row->taken);
}

status routing_probe_meet(routing_probe *p, comm *ranks) {
    if (ranks->ranks == 1) return STATUS_OK;
    TRY(learn_rows(p, ranks));
    if (p->count == 0) return STATUS_OK;
    const size_t own_bytes = (size_t)p->count * sizeof(found_row);
    found_row *own = xcalloc((size_t)p->count, sizeof *own), *all = xcalloc((size_t)ranks->ranks, own_bytes);
    for (int i = 0; i < p->count; i++) {
        own[i].tokens = p->rows[i].tokens - p->before[i].tokens;
        own[i].entropy = p->rows[i].fresh;
        for (int e = 0; e < p->rows[i].experts; e++) own[i].taken[e] = p->rows[i].taken[e] - p->before[i].taken[e];
        p->rows[i].fresh = 0;
    }
    const status s = comm_gather(ranks, own, all, own_bytes);
    for (int i = 0; i < p->count && s == STATUS_OK; i++)
        add_found(&p->rows[i], &p->before[i], &all[i], ranks->ranks, p->count);
    free(own);
    free(all);
    return s;
}

/* ---- what was found ---- */

/* Every row has room for every document, also for those that it got no token of. */
static void complete(routing_probe *p) {
    for (int i = 0; i < p->count; i++) document_routing_reserve(&p->rows[i].by_document, p->document_count);
    if (p->mean.row.taken) document_routing_reserve(&p->mean.row.by_document, p->document_count);
}

status routing_probe_finish(routing_probe *p) {
    if (p->table) {
        finish_mean(p);
        complete(p);
    }
    if (!p->traces) return STATUS_OK;
    p->traces = false;
    return file_commit(&p->file);
}

const routing_row *routing_probe_rows(const routing_probe *p, int *count) {
    *count = p->count;
    return p->rows;
}

const routed_document *routing_probe_documents(const routing_probe *p, int64_t *count) {
    *count = p->document_count;
    return p->documents;
}

const routing_row *routing_probe_mean(const routing_probe *p) {
    return p->mean.row.taken ? &p->mean.row : NULL;
}

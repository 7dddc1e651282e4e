#include "eval/sample.h"

#include "base/memory.h"
#include "base/random.h"
#include <stdlib.h>

/* The pieces of one domain, in positions of that domain: its tokens counted through all its documents. */
typedef struct domain_pieces {
    int64_t available, quota; /* tokens that can be scored, and that are */
    int64_t pieces, index;    /* how many pieces, and which one comes next */
    int64_t begin, end;       /* of that one */
    int64_t seen;             /* tokens of the documents so far */
    rng r;
} domain_pieces;

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The i-th of n equal parts of `whole`, rounded so that together they are the whole. */
static int64_t part(int64_t whole, int64_t i, int64_t n) {
    return (int64_t)((__int128)whole * (i + 1) / n - (__int128)whole * i / n);
}

/* The place of piece `index`: the pieces and the gaps before it, and a random part of its own gap. */
static void place_piece(domain_pieces *d) {
    const int64_t i = d->index, n = d->pieces, gaps = d->available - d->quota;
    if (i == n) {
        d->begin = d->end = d->available;
        return;
    }
    const int64_t before = (int64_t)(((__int128)d->quota * i) / n + ((__int128)gaps * i) / n);
    d->begin = before + (int64_t)rng_below(&d->r, (uint64_t)part(gaps, i, n) + 1);
    d->end = d->begin + part(d->quota, i, n);
}

/* Behind the last span, or a piece more of it. */
static void add_span(token_sample *s, int64_t first, int64_t end) {
    s->tokens += end - first;
    if (s->count > 0 && s->spans[s->count - 1].end == first) {
        s->spans[s->count - 1].end = end;
        return;
    }
    if ((s->count & (s->count - 1)) == 0) /* grow at powers of two */
        s->spans = xrealloc(s->spans, (size_t)(s->count ? 2 * s->count : 1) * sizeof *s->spans);
    s->spans[s->count++] = (token_span){first, end};
}

/* What the domain's pieces have of its next `count` tokens, which stand in the text from `first` on. */
static void take_run(token_sample *s, domain_pieces *d, int64_t first, int64_t count) {
    const int64_t start = d->seen, end = d->seen + count;
    while (d->index < d->pieces && d->begin < end) {
        const int64_t from = d->begin > start ? d->begin : start, to = smaller(d->end, end);
        if (from < to) add_span(s, first + from - start, first + to - start);
        if (d->end > end) break;
        d->index++;
        place_piece(d);
    }
    d->seen = end;
}

static document document_of(const document_table *documents, int64_t index, int64_t count) {
    return documents ? documents->documents[index] : (document){.count = count};
}

/* The text's first token has nothing before it. */
static int64_t first_scored(const document *d) {
    return d->start > 0 ? d->start : 1;
}

static void count_domains(domain_pieces *domains, const document_table *documents, int64_t documents_count,
                          int64_t count) {
    for (int64_t i = 0; i < documents_count; i++) {
        const document d = document_of(documents, i, count);
        domains[d.domain].available += d.start + d.count - first_scored(&d);
    }
}

static void divide(domain_pieces *domains, int domain_count, const document_table *documents, int64_t all,
                   int64_t tokens, uint64_t seed) {
    int64_t piece = tokens / SAMPLE_PIECES, before = 0;
    if (piece < SAMPLE_LEAST_PIECE) piece = SAMPLE_LEAST_PIECE;
    if (piece > SAMPLE_MOST_PIECE) piece = SAMPLE_MOST_PIECE;
    for (int i = 0; i < domain_count; i++) {
        domain_pieces *d = &domains[i];
        const int64_t after = before + d->available;
        d->quota = (int64_t)((__int128)tokens * after / all - (__int128)tokens * before / all);
        if (d->quota == 0) d->quota = smaller(1, d->available);
        d->pieces = (d->quota + piece - 1) / piece;
        d->r = rng_named(seed, documents ? documents->domains[i] : "");
        place_piece(d);
        before = after;
    }
}

token_sample sample_take(int64_t count, const document_table *documents, int64_t tokens, uint64_t seed) {
    const int64_t all = count - 1, document_count = documents ? documents->count : 1;
    const int domain_count = documents ? documents->domain_count : 1;
    token_sample s = {.whole = tokens <= 0 || tokens >= all};
    if (s.whole) {
        add_span(&s, 1, count);
        return s;
    }
    domain_pieces *domains = xcalloc((size_t)domain_count, sizeof *domains);
    count_domains(domains, documents, document_count, count);
    divide(domains, domain_count, documents, all, tokens, seed);
    for (int64_t i = 0; i < document_count; i++) {
        const document d = document_of(documents, i, count);
        const int64_t first = first_scored(&d);
        if (first < d.start + d.count) take_run(&s, &domains[d.domain], first, d.start + d.count - first);
    }
    free(domains);
    return s;
}

void sample_free(token_sample *s) {
    free(s->spans);
    *s = (token_sample){0};
}

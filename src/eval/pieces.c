#include "eval/pieces.h"

#include "base/memory.h"
#include <stdlib.h>

/* ---- taking them ---- */

static void add_piece(text_pieces *p, text_piece piece) {
    if ((p->count & (p->count - 1)) == 0) /* grow at powers of two */
        p->items = xrealloc(p->items, (size_t)(p->count ? 2 * p->count : 1) * sizeof *p->items);
    p->items[p->count++] = piece;
    p->bytes += piece.end - piece.first;
}

/* What a document has of a span, in equal pieces. */
static void cut(text_pieces *p, int64_t first, int64_t end, int64_t document, int domain) {
    const int64_t length = end - first, n = (length + PIECE_BYTES - 1) / PIECE_BYTES;
    for (int64_t i = 0; i < n; i++)
        add_piece(p, (text_piece){first + length * i / n, first + length * (i + 1) / n, document, domain});
}

/* Spans and documents both ascend. */
static void cut_spans(text_pieces *p, const token_sample *spans, const document_table *bytes) {
    int64_t d = 0;
    for (int64_t i = 0; i < spans->count; i++)
        for (int64_t first = spans->spans[i].first; first < spans->spans[i].end;) {
            while (bytes->documents[d].start + bytes->documents[d].count <= first) d++;
            const int64_t behind = bytes->documents[d].start + bytes->documents[d].count;
            const int64_t end = spans->spans[i].end < behind ? spans->spans[i].end : behind;
            cut(p, first, end, d, bytes->documents[d].domain);
            first = end;
        }
}

text_pieces text_pieces_take(const document_table *documents, int64_t bytes, uint64_t seed) {
    document_table of_bytes = *documents; /* the same documents, counted in bytes instead of tokens */
    int64_t all = 0;
    of_bytes.documents = xmalloc((size_t)documents->count * sizeof *of_bytes.documents);
    for (int64_t i = 0; i < documents->count; i++) {
        const document *d = &documents->documents[i];
        of_bytes.documents[i] = (document){.start = all, .count = d->bytes, .domain = d->domain};
        all += d->bytes;
    }
    token_sample spans = sample_take(all, &of_bytes, bytes, seed);
    text_pieces p = {.whole = spans.whole};
    if (spans.whole) spans.spans[0].first = 0; /* a byte, unlike a token, needs none before it */
    cut_spans(&p, &spans, &of_bytes);
    sample_free(&spans);
    free(of_bytes.documents);
    return p;
}

void text_pieces_free(text_pieces *p) {
    free(p->items);
    *p = (text_pieces){0};
}

static int token_bytes(const shard *s, const tokenizer *tok, int64_t position) {
    return tokenizer_token_bytes(tok, shard_token(s, position), position > 0 ? shard_token(s, position - 1) : -1);
}

document_table text_pieces_documents(const scored_text *t, const tokenizer *tok) {
    const document_table *have = &t->documents;
    document_table d = {.count = have->count > 0 ? have->count : 1, .domain_count = have->domain_count};
    d.documents = xcalloc((size_t)d.count, sizeof *d.documents);
    d.domains = xcalloc((size_t)d.domain_count + 1, sizeof *d.domains);
    for (int64_t i = 0; i < have->count; i++) d.documents[i] = have->documents[i];
    for (int i = 0; i < have->domain_count; i++) d.domains[i] = xstrdup(have->domains[i]);
    if (have->count > 0) return d;
    d.documents[0].count = t->s.count;
    for (int64_t i = 0; i < t->s.count; i++) d.documents[0].bytes += token_bytes(&t->s, tok, i);
    d.domains[d.domain_count++] = xstrdup("text");
    return d;
}

/* ---- scoring them ---- */

typedef struct scoring {
    const shard *s;
    const tokenizer *tok;
    const text_pieces *pieces;
    int32_t *piece_of; /* [tokens]; −1: not scored */
    int64_t piece;     /* that the next byte may be in */
    int64_t seen;      /* bytes of the documents so far */
    piece_score *scores;
} scoring;

static int32_t piece_at(scoring *c, int64_t byte) {
    const text_pieces *p = c->pieces;
    while (c->piece < p->count && p->items[c->piece].end <= byte) c->piece++;
    return c->piece < p->count && p->items[c->piece].first <= byte ? (int32_t)c->piece : -1;
}

/* A tokenizer that does not give a text back has more or fewer bytes than the document: they are stretched to it. */
static void place_tokens(scoring *c, const document *d) {
    int64_t all = 0, at = 0;
    for (int64_t i = d->start; i < d->start + d->count; i++) all += token_bytes(c->s, c->tok, i);
    for (int64_t i = d->start; i < d->start + d->count; i++) {
        int64_t byte = all > 0 ? (int64_t)((__int128)at * d->bytes / all) : 0;
        if (byte >= d->bytes) byte = d->bytes > 0 ? d->bytes - 1 : 0;
        c->piece_of[i] = d->bytes > 0 ? piece_at(c, c->seen + byte) : -1;
        at += token_bytes(c->s, c->tok, i);
    }
    c->seen += d->bytes;
}

/* The runs of tokens that have a piece. */
static token_sample spans_of(const scoring *c) {
    token_sample s = {.whole = c->pieces->whole};
    s.spans = xmalloc((size_t)(c->pieces->count + 1) * sizeof *s.spans);
    for (int64_t i = 1; i < c->s->count; i++) {
        if (c->piece_of[i] < 0) continue;
        if (s.count > 0 && s.spans[s.count - 1].end == i)
            s.spans[s.count - 1].end++;
        else
            s.spans[s.count++] = (token_span){i, i + 1};
        s.tokens++;
    }
    return s;
}

static void hear(void *context, int64_t position, double nll) {
    scoring *c = context;
    piece_score *score = &c->scores[c->piece_of[position]];
    score->nll += nll;
    score->tokens++;
}

status text_pieces_score(pass *p, const tokenizer *tok, const shard *s, const document_table *documents,
                         const text_pieces *pieces, const bpb_options *options, piece_score *scores) {
    scoring c = {.s = s, .tok = tok, .pieces = pieces, .scores = scores};
    c.piece_of = xmalloc((size_t)(s->count + 1) * sizeof *c.piece_of);
    for (int64_t i = 0; i < pieces->count; i++) scores[i] = (piece_score){0};
    for (int64_t i = 0; i < s->count; i++) c.piece_of[i] = -1;
    for (int64_t i = 0; i < documents->count; i++) place_tokens(&c, &documents->documents[i]);
    token_sample sample = spans_of(&c);
    bpb_options o = *options;
    o.sample = &sample;
    o.listener = hear;
    o.listener_context = &c;
    bpb_result result = {0};
    status outcome = sample.count > 0 ? bpb_evaluate(p, tok, s, NULL, &o, &result)
                                      : fail("%s: expected at least one token to score, found none", s->path);
    bpb_result_free(&result);
    sample_free(&sample);
    free(c.piece_of);
    return outcome;
}

#include "text/mix.h"
#include "base/memory.h"
#include "base/random.h"
#include "text/kept_rows.h"
#include "text/permutation.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tokens of a domain that lie together in a shard. */
typedef struct piece {
    int shard;
    int64_t first; /* in the shard */
    int64_t start; /* in the stream */
} piece;

typedef struct stream {
    piece *pieces;
    int64_t piece_count, capacity;
    int64_t tokens;
    kept_rows kept; /* and how many rows there are */
    int64_t units;  /* its share */
    int64_t lead;   /* units · (n + 1) − MIX_UNITS · (rows drawn): how far it lags behind its share */
    uint64_t drawn; /* rows */
    uint64_t seed;  /* of its permutation */
} stream;

struct mix {
    const shard_set *text;
    stream *streams; /* [domain_count] */
    int64_t T;
    bool shuffle;
    uint64_t rows;
    const stream *last; /* the row that was read last */
    int64_t last_start; /* in the stream */
};

/* ---- streams ---- */

static bool goes_on(const stream *s, int shard, int64_t first) {
    const piece *last = s->piece_count ? &s->pieces[s->piece_count - 1] : NULL;
    return last && last->shard == shard && last->first + (s->tokens - last->start) == first;
}

static void add_document(stream *s, int shard, const document *d) {
    if (!goes_on(s, shard, d->start)) {
        if (s->piece_count == s->capacity) {
            s->capacity = s->capacity ? 2 * s->capacity : 16;
            s->pieces = xrealloc(s->pieces, (size_t)s->capacity * sizeof *s->pieces);
        }
        s->pieces[s->piece_count++] = (piece){.shard = shard, .first = d->start, .start = s->tokens};
    }
    s->tokens += d->count;
}

static void cut_streams(mix *m) {
    for (int i = 0; i < m->text->count; i++) {
        const document_table *table = &m->text->documents[i];
        for (int64_t d = 0; d < table->count; d++) {
            stream *s = &m->streams[table->documents[d].domain];
            if (s->units > 0) add_document(s, i, &table->documents[d]);
        }
    }
    for (int d = 0; d < m->text->domain_count; d++) m->streams[d].kept.rows = (m->streams[d].tokens - 1) / m->T;
}

/* The part of the stream's tokens start … start + count − 1 that begins there and lies in one piece. */
static shard_span stream_span(const stream *s, int64_t start, int64_t count) {
    int64_t low = 0, behind = s->piece_count;
    while (behind - low > 1) {
        const int64_t middle = low + (behind - low) / 2;
        if (s->pieces[middle].start <= start)
            low = middle;
        else
            behind = middle;
    }
    const piece *p = &s->pieces[low];
    const int64_t left = (low + 1 < s->piece_count ? p[1].start : s->tokens) - start;
    return (shard_span){
        .shard = p->shard, .first = p->first + (start - p->start), .count = count < left ? count : left};
}

static void read_row(mix *m, const stream *s, int64_t row, int32_t *out) {
    m->last = s;
    m->last_start = row * m->T;
    for (int64_t t = 0; t <= m->T;) {
        const shard_span here = mix_span(m, t);
        shard_read(&m->text->shards[here.shard], here.first, here.count, out + t);
        t += here.count;
    }
}

shard_span mix_span(const mix *m, int64_t t) {
    return stream_span(m->last, m->last_start + t, m->T + 1 - t);
}

/* ---- shares ---- */

static int find_domain(const shard_set *s, const char *name) {
    for (int i = 0; i < s->domain_count; i++)
        if (strcmp(s->domains[i], name) == 0) return i;
    return -1;
}

static status refuse_domain(const shard_set *s, const char *name) {
    char *known = NULL;
    for (int i = 0; i < s->domain_count; i++) {
        char *longer = xasprintf("%s%s%s", known ? known : "", known ? ", " : "", s->domains[i]);
        free(known);
        known = longer;
    }
    const status result = fail_usage("mix: unknown domain %.60s; the domains of %s are %s", name, s->where, known);
    free(known);
    return result;
}

/* By largest remainders, so that they add up. */
static void round_shares(mix *m, const double *exact) {
    int64_t left = MIX_UNITS;
    for (int d = 0; d < m->text->domain_count; d++) left -= m->streams[d].units = (int64_t)floor(exact[d]);
    for (; left > 0; left--) {
        int most = 0;
        for (int d = 1; d < m->text->domain_count; d++)
            if (exact[d] - (double)m->streams[d].units > exact[most] - (double)m->streams[most].units) most = d;
        m->streams[most].units++;
    }
}

static status set_shares(mix *m, const weight_list *weights) {
    const shard_set *s = m->text;
    double *exact = xcalloc((size_t)s->domain_count, sizeof *exact), sum = 0;
    status result = STATUS_OK;
    for (int i = 0; i < weights->count; i++) sum += weights->items[i].weight;
    if (!(sum > 0)) result = fail_usage("mix: expected at least one weight above 0, found none");
    for (int i = 0; i < weights->count && result == STATUS_OK; i++) {
        const named_weight *w = &weights->items[i];
        const int d = find_domain(s, w->name);
        if (d < 0) result = refuse_domain(s, w->name);
        if (d >= 0) exact[d] = w->weight / sum * MIX_UNITS;
        if (d >= 0 && w->weight > 0 && exact[d] < 1)
            result = fail_usage("mix: %s: expected 0 or at least a millionth of all weights, found %g of %g", w->name,
                                w->weight, sum);
    }
    if (result == STATUS_OK) round_shares(m, exact);
    free(exact);
    return result;
}

/* ---- from beginning to end ---- */

static status open_streams(mix *m, const weight_list *weights, uint64_t seed) {
    const shard_set *s = m->text;
    if (s->domain_count == 0)
        return fail_usage("mix: expected shards with a table of their documents' domains (.docs.tsv) in %s, found none",
                          s->where);
    TRY(set_shares(m, weights));
    cut_streams(m);
    for (int d = 0; d < s->domain_count; d++) {
        rng r = rng_named(seed, s->domains[d]);
        m->streams[d].seed = rng_next(&r);
        if (m->streams[d].units > 0 && m->streams[d].tokens < m->T + 1)
            return fail(
                "mix: %s: expected at least %lld tokens of it in %s (a row of %lld and its last target), found %lld",
                s->domains[d], (long long)m->T + 1, s->where, (long long)m->T, (long long)m->streams[d].tokens);
    }
    mix_seek(m, 0);
    return STATUS_OK;
}

status mix_create(mix **out, const shard_set *text, const weight_list *weights, int64_t T, bool shuffle,
                  uint64_t seed) {
    mix *m = xcalloc(1, sizeof *m);
    m->text = text;
    m->streams = xcalloc((size_t)text->domain_count + 1, sizeof *m->streams);
    m->T = T;
    m->shuffle = shuffle;
    const status s = open_streams(m, weights, seed);
    if (s != STATUS_OK) {
        mix_destroy(m);
        m = NULL;
    }
    *out = m;
    return s;
}

void mix_destroy(mix *m) {
    if (!m) return;
    for (int d = 0; d < m->text->domain_count; d++) free(m->streams[d].pieces);
    free(m->streams);
    free(m);
}

/* ---- drawing ---- */

/* The domain of the next row, which then counts as drawn. */
static int draw(mix *m) {
    int most = 0;
    for (int d = 0; d < m->text->domain_count; d++) {
        m->streams[d].lead += m->streams[d].units;
        if (m->streams[d].lead > m->streams[most].lead) most = d;
    }
    m->streams[most].lead -= MIX_UNITS;
    m->streams[most].drawn++;
    m->rows++;
    return most;
}

int mix_next(mix *m, int32_t *row) {
    const int domain = draw(m);
    const stream *s = &m->streams[domain];
    const uint64_t rows = (uint64_t)(s->kept.rows - s->kept.kept);
    const uint64_t epoch = (s->drawn - 1) / rows, index = (s->drawn - 1) % rows;
    const int64_t r = m->shuffle ? permuted(s->seed, epoch, (int64_t)rows, index) : (int64_t)index;
    read_row(m, s, other_row(&s->kept, r), row);
    return domain;
}

uint64_t mix_tell(const mix *m) {
    return m->rows;
}

/* After MIX_UNITS rows every domain has exactly its share, and all begins anew. */
void mix_seek(mix *m, uint64_t rows) {
    const uint64_t rounds = rows / MIX_UNITS;
    for (int d = 0; d < m->text->domain_count; d++) {
        m->streams[d].lead = 0;
        m->streams[d].drawn = rounds * (uint64_t)m->streams[d].units;
    }
    m->rows = rounds * MIX_UNITS;
    while (m->rows < rows) draw(m);
}

/* ---- rows that are kept aside ---- */

int64_t mix_keep(mix *m, int64_t rows) {
    for (int d = 0; d < m->text->domain_count; d++) {
        stream *s = &m->streams[d];
        s->kept = kept_rows_of(s->kept.rows, (int64_t)llround((double)rows * mix_share(m, d)));
    }
    return mix_kept(m);
}

int64_t mix_kept(const mix *m) {
    int64_t kept = 0;
    for (int d = 0; d < m->text->domain_count; d++) kept += m->streams[d].kept.kept;
    return kept;
}

int mix_read_kept(mix *m, int64_t i, int32_t *row) {
    int d = 0;
    for (; i >= m->streams[d].kept.kept; d++) i -= m->streams[d].kept.kept;
    const stream *s = &m->streams[d];
    read_row(m, s, kept_row(&s->kept, i), row);
    return d;
}

double mix_share(const mix *m, int domain) {
    return (double)m->streams[domain].units / MIX_UNITS;
}

int64_t mix_tokens(const mix *m, int domain) {
    return m->streams[domain].tokens;
}

int64_t mix_drawn(const mix *m, int domain) {
    return (int64_t)m->streams[domain].drawn * m->T;
}

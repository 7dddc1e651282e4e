/* Rows of T tokens from the concatenation of all shards: row r covers tokens r·T … r·T + T, the last one being the
 * target of the last position and the first input of row r + 1. An epoch visits each of the (tokens − 1) / T rows
 * once, in order or through a pseudo-random permutation; a batch may begin in one epoch and end in the next. */
#include "text/loader.h"
#include "base/memory.h"
#include "text/kept_rows.h"
#include "text/mix.h"
#include "text/permutation.h"
#include "text/teacher_cache.h"
#include <stdlib.h>
#include <string.h>

/* A teacher's column, and where it comes from. */
typedef struct taught {
    teacher_cache *cache;
    int32_t *ids;     /* [B, T, k] */
    float *log_probs; /* [B, T, k] */
    float *rest;      /* [B, T] */
    teacher_column column;
} taught;

struct loader {
    shard_set text;
    int vocab_size, bos;
    int64_t B, T, rows; /* rows of an epoch */
    kept_rows kept;     /* rows among them that are kept aside; a mix keeps its own */
    bool shuffle;
    uint64_t seed;
    loader_position position;
    mix *mix; /* draws the rows by domain; NULL: they come in the order of the shards */
    int32_t *input_ids, *target_ids, *first, *domain; /* [B, T] */
    int32_t *row;                                     /* [T + 1] */
    taught *taught;                                   /* NULL: there is no teacher */
};

/* ---- rows that are kept aside ---- */

int64_t loader_keep(loader *l, int64_t tokens) {
    const int64_t wanted = tokens > 0 ? (tokens + l->T - 1) / l->T : 0;
    if (l->mix) return mix_keep(l->mix, wanted);
    l->kept = kept_rows_of(l->rows, wanted);
    return l->kept.kept;
}

/* ---- opening ---- */

status loader_open(loader **out, const char *pattern, int vocab_size, int bos, int64_t B, int64_t T, bool shuffle,
                   uint64_t seed) {
    if (B < 1 || T < 1)
        return fail("loader: expected at least one row of one token, found %lld rows of %lld", (long long)B,
                    (long long)T);
    loader *l = xcalloc(1, sizeof *l);
    l->vocab_size = vocab_size > 0 ? vocab_size : INT32_MAX;
    l->bos = bos;
    l->B = B;
    l->T = T;
    l->shuffle = shuffle;
    l->seed = seed;
    status s = shard_set_open(&l->text, pattern, SHARDS_TRAINING, vocab_size);
    if (s == STATUS_OK) {
        l->rows = (loader_tokens(l) - 1) / T;
        if (loader_tokens(l) < T + 1)
            s = fail("%s: expected at least %lld tokens (a row of %lld and its last target), found %lld", pattern,
                     (long long)T + 1, (long long)T, (long long)loader_tokens(l));
    }
    if (s != STATUS_OK) {
        loader_close(l);
        return s;
    }
    size_t ids = (size_t)(B * T) * sizeof(int32_t);
    l->input_ids = xmalloc(ids);
    l->target_ids = xmalloc(ids);
    l->first = xmalloc(ids);
    l->domain = xmalloc(ids);
    l->row = xmalloc((size_t)(T + 1) * sizeof(int32_t));
    *out = l;
    return STATUS_OK;
}

status loader_mix(loader *l, const weight_list *weights) {
    return mix_create(&l->mix, &l->text, weights, l->T, l->shuffle, l->seed);
}

const mix *loader_mixture(const loader *l) {
    return l->mix;
}

status loader_teach(loader *l, const char *cache, const tokenizer *tok, int *k) {
    teacher_cache *opened;
    const shard_set *text = &l->text;
    TRY(teacher_cache_open(&opened, cache, text->shards, text->count, tokenizer_fingerprint(tok), l->vocab_size));
    const size_t tokens = (size_t)(l->B * l->T), top = (size_t)teacher_cache_facts(opened)->k;
    taught *t = l->taught = xcalloc(1, sizeof *t);
    *t = (taught){.cache = opened,
                  .ids = xmalloc(tokens * top * sizeof *t->ids),
                  .log_probs = xmalloc(tokens * top * sizeof *t->log_probs),
                  .rest = xmalloc(tokens * sizeof *t->rest)};
    t->column = (teacher_column){.k = (int)top, .ids = t->ids, .log_probs = t->log_probs, .rest = t->rest};
    if (k) *k = (int)top;
    return STATUS_OK;
}

uint64_t loader_teacher(const loader *l) {
    if (!l->taught) return 0;
    const teacher_facts *f = teacher_cache_facts(l->taught->cache);
    const uint64_t facts[] = {f->teacher, (uint64_t)f->k, (uint64_t)f->seq, (uint64_t)f->stride};
    return crc64(0, facts, sizeof facts);
}

static void close_taught(taught *t) {
    if (!t) return;
    teacher_cache_close(t->cache);
    free(t->ids);
    free(t->log_probs);
    free(t->rest);
    free(t);
}

void loader_close(loader *l) {
    if (!l) return;
    close_taught(l->taught);
    mix_destroy(l->mix);
    shard_set_close(&l->text);
    free(l->input_ids);
    free(l->target_ids);
    free(l->first);
    free(l->domain);
    free(l->row);
    free(l);
}

int64_t loader_tokens(const loader *l) {
    return shard_set_tokens(&l->text);
}

const char *const *loader_domains(const loader *l, int *count) {
    *count = l->text.domain_count;
    return (const char *const *)l->text.domains;
}

/* ---- reading ---- */

static void domains_of_span(const document_table *table, shard_span s, int32_t *out) {
    int64_t d = table->count ? document_at(table, s.first) : 0;
    for (int64_t i = 0; i < s.count; i++) {
        if (table->count == 0) {
            out[i] = NO_DOMAIN;
            continue;
        }
        while (s.first + i >= table->documents[d].start + table->documents[d].count) d++;
        out[i] = table->documents[d].domain;
    }
}

/* The domains of the documents that these tokens are in. */
static void read_domains(const loader *l, int64_t start, int64_t count, int32_t *out) {
    for (shard_span s; count > 0; start += s.count, out += s.count, count -= s.count) {
        s = shard_set_span(&l->text, start, count);
        domains_of_span(&l->text.documents[s.shard], s, out);
    }
}

uint64_t loader_fingerprint(const loader *l) {
    enum { SAMPLES = 8192 };
    const int64_t total = loader_tokens(l), count = total < SAMPLES ? total : SAMPLES;
    uint64_t crc = crc64(0, &total, sizeof total);
    for (int64_t i = 0; i < count; i++) {
        int32_t token;
        shard_set_read(&l->text, (int64_t)((double)total / (double)count * (double)i), 1, &token);
        crc = crc64(crc, &token, sizeof token);
    }
    return crc ? crc : 1;
}

void document_starts(const int32_t *ids, int64_t length, int bos, int32_t *first) {
    int32_t start = 0;
    for (int64_t t = 0; t < length; t++) {
        if (bos >= 0 && ids[t] == bos) start = (int32_t)t;
        first[t] = start;
    }
}

/* What l->row holds becomes row i of the batch. */
static void put_row(loader *l, int64_t i) {
    memcpy(l->input_ids + i * l->T, l->row, (size_t)l->T * sizeof(int32_t));
    memcpy(l->target_ids + i * l->T, l->row + 1, (size_t)l->T * sizeof(int32_t));
    document_starts(l->row, l->T, l->bos, l->first + i * l->T);
}

/* What the teacher thinks of these tokens, as targets `at` … of the batch. */
static status read_taught(taught *t, shard_span s, int64_t at) {
    const int64_t k = t->column.k;
    return teacher_cache_read(t->cache, s.shard, s.first, s.count, t->ids + at * k, t->log_probs + at * k,
                              t->rest + at);
}

/* Row `row` of the text becomes row i of the batch. */
static status read_row(loader *l, int64_t row, int64_t i) {
    const int64_t first = row * l->T + 1;
    shard_set_read(&l->text, row * l->T, l->T + 1, l->row);
    put_row(l, i);
    if (l->text.domain_count > 0) read_domains(l, first, l->T, l->domain + i * l->T);
    for (int64_t t = 0; l->taught && t < l->T;) {
        const shard_span here = shard_set_span(&l->text, first + t, l->T - t);
        TRY(read_taught(l->taught, here, i * l->T + t));
        t += here.count;
    }
    return STATUS_OK;
}

/* The same of a row that the mix has put into l->row. */
static status take_mixed_row(loader *l, int domain, int64_t i) {
    put_row(l, i);
    for (int64_t t = 0; t < l->T; t++) l->domain[i * l->T + t] = domain;
    for (int64_t t = 0; l->taught && t < l->T;) {
        const shard_span here = mix_span(l->mix, 1 + t);
        TRY(read_taught(l->taught, here, i * l->T + t));
        t += here.count;
    }
    return STATUS_OK;
}

static batch batch_of(const loader *l, int64_t rows) {
    return (batch){.batch = rows,
                   .length = l->T,
                   .input_ids = l->input_ids,
                   .target_ids = l->target_ids,
                   .first = l->first,
                   .domain = l->text.domain_count > 0 ? l->domain : NULL,
                   .teacher = l->taught ? &l->taught->column : NULL};
}

/* The row whose turn it is. */
static int64_t next_row(loader *l) {
    loader_position *p = &l->position;
    const int64_t row = l->shuffle ? permuted(l->seed, p->epoch, l->rows, p->window) : (int64_t)p->window;
    if (++p->window == (uint64_t)l->rows) *p = (loader_position){.epoch = p->epoch + 1};
    return row;
}

static status next_unkept_row(loader *l, int64_t i) {
    int64_t row = next_row(l);
    while (row_is_kept(&l->kept, row)) row = next_row(l);
    return read_row(l, row, i);
}

status loader_next(loader *l, batch *b) {
    for (int64_t i = 0; i < l->B; i++)
        TRY(l->mix ? take_mixed_row(l, mix_next(l->mix, l->row), i) : next_unkept_row(l, i));
    *b = batch_of(l, l->B);
    return STATUS_OK;
}

status loader_kept(loader *l, int64_t first, batch *b) {
    int64_t count = (l->mix ? mix_kept(l->mix) : l->kept.kept) - first;
    if (count < 0) count = 0;
    if (count > l->B) count = l->B;
    for (int64_t i = 0; i < count; i++)
        TRY(l->mix ? take_mixed_row(l, mix_read_kept(l->mix, first + i, l->row), i)
                   : read_row(l, kept_row(&l->kept, first + i), i));
    *b = batch_of(l, count);
    return STATUS_OK;
}

loader_position loader_tell(const loader *l) {
    return l->mix ? (loader_position){.window = mix_tell(l->mix)} : l->position;
}

void loader_seek(loader *l, loader_position p) {
    if (l->mix) { /* a position from before the mix counts the rows of its last epoch */
        mix_seek(l->mix, p.window);
        return;
    }
    /* A position from other data may lie beyond this epoch's end. */
    p.epoch += p.window / (uint64_t)l->rows;
    p.window %= (uint64_t)l->rows;
    l->position = p;
}

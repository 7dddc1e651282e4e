/* Rows of T tokens from the concatenation of all shards: row r covers tokens r·T … r·T + T, the last one being the
 * target of the last position and the first input of row r + 1. An epoch visits each of the (tokens − 1) / T rows
 * once, in order or through a pseudo-random permutation; a batch may begin in one epoch and end in the next. */
#include "text/loader.h"
#include "base/memory.h"
#include "text/checksums.h"
#include "text/kept_rows.h"
#include "text/mix.h"
#include "text/permutation.h"
#include <glob.h>
#include <stdlib.h>
#include <string.h>

struct loader {
    shard *shards;
    document_table *documents; /* of each shard; their domains are indices into `domains` below */
    int64_t *shard_start;      /* [shard_count + 1] first token of each in the concatenation */
    int shard_count;
    char **domains; /* of all shards; none: no shard has a table */
    int domain_count;
    int bos;
    int64_t B, T, rows; /* rows of an epoch */
    kept_rows kept;     /* rows among them that are kept aside; a mix keeps its own */
    bool shuffle;
    uint64_t seed;
    loader_position position;
    char *where; /* the pattern, for messages */
    mix *mix;    /* draws the rows by domain; NULL: they come in the order of the shards */
    int32_t *input_ids, *target_ids, *first, *domain; /* [B, T] */
    int32_t *row;                                     /* [T + 1] */
};

/* ---- rows that are kept aside ---- */

int64_t loader_keep(loader *l, int64_t tokens) {
    const int64_t wanted = tokens > 0 ? (tokens + l->T - 1) / l->T : 0;
    if (l->mix) return mix_keep(l->mix, wanted);
    l->kept = kept_rows_of(l->rows, wanted);
    return l->kept.kept;
}

/* ---- opening ---- */

static int is_training_shard(const char *name) {
    size_t length = strlen(name);
    return strstr(name, "_train_") && length > 4 && strcmp(name + length - 4, ".bin") == 0;
}

/* A training shard that moec made there and that is gone would be missed by nobody. */
static status check_complete(const char *folder) {
    char **names;
    size_t count;
    TRY(checksums_names(folder, &names, &count));
    status s = STATUS_OK;
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(folder, names[i]);
        if (s == STATUS_OK && is_training_shard(names[i]) && !path_exists(path))
            s = fail("%s: expected this shard, which " DATA_JSON " lists, found nothing", path);
        free(path);
        free(names[i]);
    }
    free(names);
    return s;
}

static status list_folder(const char *folder, char ***paths, size_t *count) {
    char **names;
    size_t name_count;
    *paths = NULL;
    *count = 0;
    TRY(folder_list(folder, &names, &name_count));
    *paths = xcalloc(name_count + 1, sizeof **paths);
    for (size_t i = 0; i < name_count; i++) {
        if (is_training_shard(names[i])) (*paths)[(*count)++] = path_join(folder, names[i]);
        free(names[i]);
    }
    free(names);
    TRY(check_complete(folder));
    return *count ? STATUS_OK : fail("%s: expected shards named *_train_*.bin in this folder, found none", folder);
}

static status list_glob(const char *pattern, char ***paths, size_t *count) {
    glob_t found;
    *paths = NULL;
    *count = 0;
    if (glob(pattern, 0, NULL, &found) != 0)
        return fail("%s: expected a folder, a shard or a pattern of shards, found nothing", pattern);
    *paths = xcalloc(found.gl_pathc, sizeof **paths);
    for (size_t i = 0; i < found.gl_pathc; i++) (*paths)[(*count)++] = xstrdup(found.gl_pathv[i]);
    globfree(&found);
    return STATUS_OK;
}

static status find_shards(const char *pattern, char ***paths, size_t *count) {
    path_kind kind;
    *paths = NULL;
    *count = 0;
    TRY(path_look(pattern, &kind));
    if (kind == PATH_FOLDER) return list_folder(pattern, paths, count);
    if (kind == PATH_ABSENT) return list_glob(pattern, paths, count);
    *paths = xcalloc(1, sizeof **paths);
    (*paths)[0] = xstrdup(pattern);
    *count = 1;
    return STATUS_OK;
}

/* The index of a domain of all shards; a new name is added. */
static int domain_index(loader *l, const char *name) {
    for (int i = 0; i < l->domain_count; i++)
        if (strcmp(l->domains[i], name) == 0) return i;
    l->domains = xrealloc(l->domains, (size_t)(l->domain_count + 1) * sizeof *l->domains);
    l->domains[l->domain_count] = xstrdup(name);
    return l->domain_count++;
}

static status open_documents(loader *l, int index) {
    const shard *s = &l->shards[index];
    document_table *table = &l->documents[index];
    TRY(document_table_read(table, s->path, s->count));
    int *shared = xcalloc((size_t)table->domain_count, sizeof *shared);
    for (int i = 0; i < table->domain_count; i++) shared[i] = domain_index(l, table->domains[i]);
    for (int64_t i = 0; i < table->count; i++) table->documents[i].domain = shared[table->documents[i].domain];
    free(shared);
    return STATUS_OK;
}

static status open_shards(loader *l, char **paths, size_t count, int vocab_size) {
    l->shards = xcalloc(count, sizeof *l->shards);
    l->documents = xcalloc(count, sizeof *l->documents);
    l->shard_start = xcalloc(count + 1, sizeof *l->shard_start);
    for (size_t i = 0; i < count; i++) {
        TRY(shard_open(&l->shards[i], paths[i], vocab_size));
        l->shard_count++;
        l->shard_start[i + 1] = l->shard_start[i] + l->shards[i].count;
        TRY(open_documents(l, (int)i));
    }
    return STATUS_OK;
}

static status open_pattern(loader *l, const char *pattern, int vocab_size) {
    char **paths;
    size_t count;
    status s = find_shards(pattern, &paths, &count);
    if (s == STATUS_OK) s = open_shards(l, paths, count, vocab_size);
    for (size_t i = 0; i < count; i++) free(paths[i]);
    free(paths);
    return s;
}

status loader_open(loader **out, const char *pattern, int vocab_size, int bos, int64_t B, int64_t T, bool shuffle,
                   uint64_t seed) {
    if (B < 1 || T < 1)
        return fail("loader: expected at least one row of one token, found %lld rows of %lld", (long long)B,
                    (long long)T);
    loader *l = xcalloc(1, sizeof *l);
    l->bos = bos;
    l->B = B;
    l->T = T;
    l->shuffle = shuffle;
    l->seed = seed;
    l->where = xstrdup(pattern);
    status s = open_pattern(l, pattern, vocab_size);
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
    const mix_source source = {.where = l->where,
                               .shards = l->shards,
                               .documents = l->documents,
                               .shard_count = l->shard_count,
                               .domains = l->domains,
                               .domain_count = l->domain_count};
    return mix_create(&l->mix, &source, weights, l->T, l->shuffle, l->seed);
}

const mix *loader_mixture(const loader *l) {
    return l->mix;
}

void loader_close(loader *l) {
    if (!l) return;
    mix_destroy(l->mix);
    free(l->where);
    for (int i = 0; i < l->shard_count; i++) {
        shard_close(&l->shards[i]);
        document_table_free(&l->documents[i]);
    }
    for (int i = 0; i < l->domain_count; i++) free(l->domains[i]);
    free(l->domains);
    free(l->documents);
    free(l->shards);
    free(l->shard_start);
    free(l->input_ids);
    free(l->target_ids);
    free(l->first);
    free(l->domain);
    free(l->row);
    free(l);
}

int64_t loader_tokens(const loader *l) {
    return l->shard_start[l->shard_count];
}

const char *const *loader_domains(const loader *l, int *count) {
    *count = l->domain_count;
    return (const char *const *)l->domains;
}

/* ---- reading ---- */

/* The part of the tokens from `start` on that lies in one shard: at most `count` of them. */
typedef struct span {
    int shard;
    int64_t first, count; /* within the shard */
} span;

static span span_at(const loader *l, int64_t start, int64_t count) {
    int low = 0, behind = l->shard_count; /* shards that hold nothing are never the answer */
    while (behind - low > 1) {
        int middle = (low + behind) / 2;
        if (l->shard_start[middle] <= start)
            low = middle;
        else
            behind = middle;
    }
    int64_t left = l->shard_start[low + 1] - start;
    return (span){.shard = low, .first = start - l->shard_start[low], .count = count < left ? count : left};
}

/* Tokens start … start + count − 1 of the concatenation. */
static void read_tokens(const loader *l, int64_t start, int64_t count, int32_t *out) {
    for (span s; count > 0; start += s.count, out += s.count, count -= s.count) {
        s = span_at(l, start, count);
        shard_read(&l->shards[s.shard], s.first, s.count, out);
    }
}

static void domains_of_span(const document_table *table, span s, int32_t *out) {
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
    for (span s; count > 0; start += s.count, out += s.count, count -= s.count) {
        s = span_at(l, start, count);
        domains_of_span(&l->documents[s.shard], s, out);
    }
}

uint64_t loader_fingerprint(const loader *l) {
    enum { SAMPLES = 8192 };
    const int64_t total = loader_tokens(l), count = total < SAMPLES ? total : SAMPLES;
    uint64_t crc = crc64(0, &total, sizeof total);
    for (int64_t i = 0; i < count; i++) {
        int32_t token;
        read_tokens(l, (int64_t)((double)total / (double)count * (double)i), 1, &token);
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

/* Row `row` of the text becomes row i of the batch. */
static void read_row(loader *l, int64_t row, int64_t i) {
    read_tokens(l, row * l->T, l->T + 1, l->row);
    put_row(l, i);
    if (l->domain_count > 0) read_domains(l, row * l->T + 1, l->T, l->domain + i * l->T);
}

/* The same of a row that the mix has put into l->row. */
static void take_mixed_row(loader *l, int domain, int64_t i) {
    put_row(l, i);
    for (int64_t t = 0; t < l->T; t++) l->domain[i * l->T + t] = domain;
}

static batch batch_of(const loader *l, int64_t rows) {
    return (batch){.batch = rows,
                   .length = l->T,
                   .input_ids = l->input_ids,
                   .target_ids = l->target_ids,
                   .first = l->first,
                   .domain = l->domain_count > 0 ? l->domain : NULL};
}

/* The row whose turn it is. */
static int64_t next_row(loader *l) {
    loader_position *p = &l->position;
    const int64_t row = l->shuffle ? permuted(l->seed, p->epoch, l->rows, p->window) : (int64_t)p->window;
    if (++p->window == (uint64_t)l->rows) *p = (loader_position){.epoch = p->epoch + 1};
    return row;
}

static void next_unkept_row(loader *l, int64_t i) {
    int64_t row = next_row(l);
    while (row_is_kept(&l->kept, row)) row = next_row(l);
    read_row(l, row, i);
}

status loader_next(loader *l, batch *b) {
    for (int64_t i = 0; i < l->B; i++) {
        if (l->mix)
            take_mixed_row(l, mix_next(l->mix, l->row), i);
        else
            next_unkept_row(l, i);
    }
    *b = batch_of(l, l->B);
    return STATUS_OK;
}

bool loader_kept(loader *l, int64_t first, batch *b) {
    int64_t count = (l->mix ? mix_kept(l->mix) : l->kept.kept) - first;
    if (count <= 0) return false;
    if (count > l->B) count = l->B;
    for (int64_t i = 0; i < count; i++) {
        if (l->mix)
            take_mixed_row(l, mix_read_kept(l->mix, first + i, l->row), i);
        else
            read_row(l, kept_row(&l->kept, first + i), i);
    }
    *b = batch_of(l, count);
    return true;
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

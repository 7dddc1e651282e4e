#include "text/shard_set.h"

#include "base/memory.h"
#include "text/checksums.h"
#include <glob.h>
#include <stdlib.h>
#include <string.h>

/* ---- finding them ---- */

static const char *const marks[] = {[SHARDS_TRAINING] = "_train_", [SHARDS_HELD_OUT] = "_val_"};

static bool is_shard_of(shard_part part, const char *name) {
    const size_t length = strlen(name);
    return strstr(name, marks[part]) && length > 4 && strcmp(name + length - 4, ".bin") == 0;
}

/* A shard that moec made there and that is gone would be missed by nobody. */
static status check_complete(const char *folder, shard_part part) {
    char **names;
    size_t count;
    TRY(checksums_names(folder, &names, &count));
    status s = STATUS_OK;
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(folder, names[i]);
        if (s == STATUS_OK && is_shard_of(part, names[i]) && !path_exists(path))
            s = fail("%s: expected this shard, which " DATA_JSON " lists, found nothing", path);
        free(path);
        free(names[i]);
    }
    free(names);
    return s;
}

static status list_folder(const char *folder, shard_part part, char ***paths, size_t *count) {
    char **names;
    size_t name_count;
    *paths = NULL;
    *count = 0;
    TRY(folder_list(folder, &names, &name_count));
    *paths = xcalloc(name_count + 1, sizeof **paths);
    for (size_t i = 0; i < name_count; i++) {
        if (is_shard_of(part, names[i])) (*paths)[(*count)++] = path_join(folder, names[i]);
        free(names[i]);
    }
    free(names);
    TRY(check_complete(folder, part));
    if (*count) return STATUS_OK;
    return fail("%s: expected shards named *%s*.bin in this folder, found none", folder, marks[part]);
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

static status find_shards(const char *pattern, shard_part part, char ***paths, size_t *count) {
    path_kind kind;
    *paths = NULL;
    *count = 0;
    TRY(path_look(pattern, &kind));
    if (kind == PATH_FOLDER) return list_folder(pattern, part, paths, count);
    if (kind == PATH_ABSENT) return list_glob(pattern, paths, count);
    *paths = xcalloc(1, sizeof **paths);
    (*paths)[0] = xstrdup(pattern);
    *count = 1;
    return STATUS_OK;
}

/* The index of a domain of all shards; a new name is added. */
static int domain_index(shard_set *s, const char *name) {
    for (int i = 0; i < s->domain_count; i++)
        if (strcmp(s->domains[i], name) == 0) return i;
    s->domains = xrealloc(s->domains, (size_t)(s->domain_count + 1) * sizeof *s->domains);
    s->domains[s->domain_count] = xstrdup(name);
    return s->domain_count++;
}

static status open_documents(shard_set *s, int index) {
    const shard *opened = &s->shards[index];
    document_table *table = &s->documents[index];
    TRY(document_table_read(table, opened->path, opened->count));
    int *shared = xcalloc((size_t)table->domain_count, sizeof *shared);
    for (int i = 0; i < table->domain_count; i++) shared[i] = domain_index(s, table->domains[i]);
    for (int64_t i = 0; i < table->count; i++) table->documents[i].domain = shared[table->documents[i].domain];
    free(shared);
    return STATUS_OK;
}

static status open_shards(shard_set *s, char **paths, size_t count, int vocab_size) {
    s->shards = xcalloc(count, sizeof *s->shards);
    s->documents = xcalloc(count, sizeof *s->documents);
    s->start = xcalloc(count + 1, sizeof *s->start);
    for (size_t i = 0; i < count; i++) {
        TRY(shard_open(&s->shards[i], paths[i], vocab_size));
        s->count++;
        s->start[i + 1] = s->start[i] + s->shards[i].count;
        TRY(open_documents(s, (int)i));
    }
    return STATUS_OK;
}

static status open_pattern(shard_set *s, const char *pattern, shard_part part, int vocab_size) {
    char **paths;
    size_t count;
    status result = find_shards(pattern, part, &paths, &count);
    if (result == STATUS_OK) result = open_shards(s, paths, count, vocab_size);
    for (size_t i = 0; i < count; i++) free(paths[i]);
    free(paths);
    return result;
}

status shard_set_open(shard_set *s, const char *pattern, shard_part part, int vocab_size) {
    *s = (shard_set){.where = xstrdup(pattern)};
    const status result = open_pattern(s, pattern, part, vocab_size);
    if (result != STATUS_OK) shard_set_close(s);
    return result;
}

void shard_set_close(shard_set *s) {
    for (int i = 0; i < s->count; i++) {
        shard_close(&s->shards[i]);
        document_table_free(&s->documents[i]);
    }
    for (int i = 0; i < s->domain_count; i++) free(s->domains[i]);
    free(s->domains);
    free(s->documents);
    free(s->shards);
    free(s->start);
    free(s->where);
    *s = (shard_set){0};
}

/* ---- reading ---- */

int64_t shard_set_tokens(const shard_set *s) {
    return s->start[s->count];
}

shard_span shard_set_span(const shard_set *s, int64_t start, int64_t count) {
    int low = 0, behind = s->count; /* shards that hold nothing are never the answer */
    while (behind - low > 1) {
        const int middle = (low + behind) / 2;
        if (s->start[middle] <= start)
            low = middle;
        else
            behind = middle;
    }
    const int64_t left = s->start[low + 1] - start;
    return (shard_span){.shard = low, .first = start - s->start[low], .count = count < left ? count : left};
}

void shard_set_read(const shard_set *s, int64_t start, int64_t count, int32_t *ids) {
    for (shard_span part; count > 0; start += part.count, ids += part.count, count -= part.count) {
        part = shard_set_span(s, start, count);
        shard_read(&s->shards[part.shard], part.first, part.count, ids);
    }
}

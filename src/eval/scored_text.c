/* A text with the tokens that lie beside it. */
#include "eval/scored_text.h"

#include "base/memory.h"
#include "text/checksums.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The one *_val_*.bin of a folder. */
static status find_shard(const char *folder, char **path) {
    char **names;
    size_t count, found = 0;
    TRY(folder_list(folder, &names, &count));
    *path = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(names[i]);
        bool is_shard = strstr(names[i], "_val_") && length > 4 && strcmp(names[i] + length - 4, ".bin") == 0;
        if (is_shard && found++ == 0) *path = path_join(folder, names[i]);
        free(names[i]);
    }
    free(names);
    if (found == 1) return STATUS_OK;
    free(*path);
    return fail("%s: expected one held-out shard *_val_*.bin, found %zu", folder, found);
}

static status read_text(scored_text *t, const char *folder) {
    char *path = path_join(folder, "heldout.txt");
    status s = path_exists(path) ? file_read(path, FILE_ANY_SIZE, &t->text, &t->bytes) : STATUS_OK;
    if (s == STATUS_OK && t->text) s = checksums_check(path, t->text, t->bytes);
    int64_t bytes = 0;
    for (int64_t i = 0; i < t->documents.count; i++) bytes += t->documents.documents[i].bytes;
    if (s == STATUS_OK && t->text && t->documents.count > 0 && (int64_t)t->bytes != bytes)
        s = fail("%s: expected %lld bytes, the sum over the documents of the held-out shard; found %zu", path,
                 (long long)bytes, t->bytes);
    free(path);
    return s;
}

status scored_text_open(scored_text *t, const char *path, int vocab_size) {
    *t = (scored_text){0};
    path_kind kind;
    char *shard_path = NULL;
    TRY(path_look(path, &kind));
    if (kind == PATH_ABSENT) return fail("%s: no such data folder or shard", path);
    bool folder = kind == PATH_FOLDER;
    if (folder)
        TRY(find_shard(path, &shard_path));
    else
        shard_path = xstrdup(path);
    status s = shard_open(&t->s, shard_path, vocab_size);
    if (s == STATUS_OK) s = document_table_read(&t->documents, shard_path, t->s.count);
    if (s == STATUS_OK && folder) s = read_text(t, path);
    if (s == STATUS_OK && folder) s = data_json_seed(path, &t->seed);
    free(shard_path);
    if (s != STATUS_OK) scored_text_close(t);
    return s;
}

const document_table *scored_text_documents(const scored_text *t) {
    return t->documents.count > 0 ? &t->documents : NULL;
}

void scored_text_close(scored_text *t) {
    if (t->s.path) shard_close(&t->s);
    document_table_free(&t->documents);
    free(t->text);
    free(t->ids);
    *t = (scored_text){0};
}

static status domain_xz(const scored_text *t, int domain, double *out) {
    uint8_t *text = xmalloc(t->bytes);
    size_t count = 0;
    const uint8_t *at = t->text;
    for (int64_t i = 0; i < t->documents.count; i++) {
        const document *d = &t->documents.documents[i];
        if (d->domain == domain) {
            memcpy(text + count, at, (size_t)d->bytes);
            count += (size_t)d->bytes;
        }
        at += d->bytes;
    }
    status s = xz_bits_per_byte(text, count, out);
    free(text);
    return s;
}

status scored_text_xz(const scored_text *t, double *total, double *domain) {
    TRY(xz_bits_per_byte(t->text, t->bytes, total));
    for (int i = 0; i < t->documents.domain_count; i++) TRY(domain_xz(t, i, &domain[i]));
    return STATUS_OK;
}

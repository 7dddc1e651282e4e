#include "eval/heldout.h"

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

static status read_text(heldout *h, const char *folder) {
    char *path = path_join(folder, "heldout.txt");
    status s = path_exists(path) ? file_read(path, FILE_ANY_SIZE, &h->text, &h->bytes) : STATUS_OK;
    if (s == STATUS_OK && h->text) s = checksums_check(path, h->text, h->bytes);
    int64_t bytes = 0;
    for (int64_t i = 0; i < h->documents.count; i++) bytes += h->documents.documents[i].bytes;
    if (s == STATUS_OK && h->text && h->documents.count > 0 && (int64_t)h->bytes != bytes)
        s = fail("%s: expected %lld bytes, the sum over the documents of the held-out shard; found %zu", path,
                 (long long)bytes, h->bytes);
    free(path);
    return s;
}

status heldout_open(heldout *h, const char *path, int vocab_size) {
    *h = (heldout){0};
    path_kind kind;
    char *shard_path = NULL;
    TRY(path_look(path, &kind));
    if (kind == PATH_ABSENT) return fail("%s: no such data folder or shard", path);
    bool folder = kind == PATH_FOLDER;
    if (folder)
        TRY(find_shard(path, &shard_path));
    else
        shard_path = xstrdup(path);
    status s = shard_open(&h->s, shard_path, vocab_size);
    if (s == STATUS_OK) s = document_table_read(&h->documents, shard_path, h->s.count);
    if (s == STATUS_OK && folder) s = read_text(h, path);
    if (s == STATUS_OK && folder) s = data_json_seed(path, &h->seed);
    free(shard_path);
    if (s != STATUS_OK) heldout_close(h);
    return s;
}

const document_table *heldout_documents(const heldout *h) {
    return h->documents.count > 0 ? &h->documents : NULL;
}

void heldout_close(heldout *h) {
    if (h->s.path) shard_close(&h->s);
    document_table_free(&h->documents);
    free(h->text);
    *h = (heldout){0};
}

static status domain_xz(const heldout *h, int domain, double *out) {
    uint8_t *text = xmalloc(h->bytes);
    size_t count = 0;
    const uint8_t *at = h->text;
    for (int64_t i = 0; i < h->documents.count; i++) {
        const document *d = &h->documents.documents[i];
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

status heldout_xz(const heldout *h, double *total, double *domain) {
    TRY(xz_bits_per_byte(h->text, h->bytes, total));
    for (int i = 0; i < h->documents.domain_count; i++) TRY(domain_xz(h, i, &domain[i]));
    return STATUS_OK;
}

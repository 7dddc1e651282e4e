/* A text whose tokens are made here: files, and a data folder of another tokenizer. */
#include "base/file.h"
#include "base/memory.h"
#include "eval/scored_text.h"
#include <stdlib.h>
#include <string.h>

/* Behind those that are there: BOS and the document's tokens. */
static status add_document(scored_text *t, const tokenizer *tok, const char *text, int64_t bytes, document *d) {
    int32_t *ids;
    size_t count;
    const int64_t start = t->s.count;
    TRY(tokenizer_encode(tok, text, (size_t)bytes, &ids, &count));
    t->ids = xrealloc(t->ids, (size_t)(start + 1 + (int64_t)count) * sizeof *t->ids);
    t->ids[start] = tokenizer_bos(tok);
    memcpy(t->ids + start + 1, ids, count * sizeof *ids);
    t->inexact += !tokenizer_is_exact(tok, ids, count, text, (size_t)bytes);
    t->s.count += 1 + (int64_t)count;
    *d = (document){.start = start, .count = 1 + (int64_t)count, .bytes = bytes, .domain = d->domain};
    free(ids);
    return STATUS_OK;
}

/* The documents of t's table and text, whose tokens there are not used. */
static status tokenize(scored_text *t, const char *name, const tokenizer *tok) {
    int64_t at = 0;
    status s = tokenizer_needs_bos(tok);
    t->s = (shard){0};
    for (int64_t i = 0; i < t->documents.count && s == STATUS_OK; i++) {
        document *d = &t->documents.documents[i];
        const int64_t bytes = d->bytes;
        s = fail_in(add_document(t, tok, (const char *)t->text + at, bytes, d), "%s", name);
        at += bytes;
    }
    const int64_t count = t->s.count;
    t->s = shard_of_ids(name, t->ids, count);
    return s;
}

/* ---- a data folder of another tokenizer ---- */

/* Whether the folder says that its tokens are those of another tokenizer. */
static status has_other_tokens(const char *folder, const tokenizer *tok, bool *other) {
    char *path = path_join(folder, "tokenizer.model");
    uint8_t *found = NULL;
    const void *own;
    size_t count = 0, own_count;
    status s = path_exists(path) ? file_read(path, TOKENIZER_MAX_BYTES, &found, &count) : STATUS_OK;
    tokenizer_bytes(tok, &own, &own_count);
    *other = found && (count != own_count || memcmp(found, own, count) != 0);
    free(found);
    free(path);
    return s;
}

static status open_and_tokenize(scored_text *t, const char *path, const tokenizer *tok) {
    TRY(scored_text_open(t, path, 0));
    if (!t->text || t->documents.count == 0)
        return fail(
            "%s: its tokens are those of another tokenizer than the model's, and no heldout.txt is there to make "
            "others from",
            path);
    shard_close(&t->s);
    return tokenize(t, path, tok);
}

status scored_text_open_for(scored_text *t, const char *path, const tokenizer *tok, int vocab_size) {
    *t = (scored_text){0};
    bool other = false;
    char *folder = path_is_folder(path) ? xstrdup(path) : path_parent(path);
    status s = has_other_tokens(folder, tok, &other);
    free(folder);
    TRY(s);
    if (!other) return scored_text_open(t, path, vocab_size);
    s = open_and_tokenize(t, path, tok);
    if (s != STATUS_OK) scored_text_close(t);
    return s;
}

/* ---- files ---- */

/* The file's name, unless another one has it too. */
static const char *name_of(const char *const *paths, int count, int index) {
    for (int i = 0; i < count; i++)
        if (i != index && strcmp(path_last(paths[i]), path_last(paths[index])) == 0) return paths[index];
    return path_last(paths[index]);
}

static status read_file(scored_text *t, const char *path, int domain) {
    uint8_t *bytes;
    size_t count;
    TRY(file_read(path, FILE_ANY_SIZE, &bytes, &count));
    const size_t valid = utf8_valid_prefix((const char *)bytes, count);
    status s = STATUS_OK;
    if (count == 0) s = fail("%s: expected text to score, found an empty file", path);
    if (valid < count)
        s = fail("%s: expected UTF-8 text, found the byte 0x%02X at byte offset %zu", path, bytes[valid], valid);
    if (s == STATUS_OK) {
        t->text = xrealloc(t->text, t->bytes + count);
        memcpy(t->text + t->bytes, bytes, count);
        t->bytes += count;
        t->documents.documents[t->documents.count++] = (document){.bytes = (int64_t)count, .domain = domain};
    }
    free(bytes);
    return s;
}

static status read_files(scored_text *t, const char *const *paths, int count) {
    document_table *table = &t->documents;
    table->documents = xcalloc((size_t)count, sizeof *table->documents);
    table->domains = xcalloc((size_t)count, sizeof *table->domains);
    for (int i = 0; i < count; i++) {
        for (int other = 0; other < i; other++)
            if (strcmp(paths[i], paths[other]) == 0) return fail_usage("%s: is given twice", paths[i]);
        table->domains[table->domain_count++] = xstrdup(name_of(paths, count, i));
        TRY(read_file(t, paths[i], i));
    }
    return STATUS_OK;
}

status scored_text_of_files(scored_text *t, const char *const *paths, int count, const tokenizer *tok) {
    *t = (scored_text){0};
    if (count < 1 || count > EVAL_MAX_DOMAINS)
        return fail_usage("expected 1 to %d files of text, found %d", EVAL_MAX_DOMAINS, count);
    status s = read_files(t, paths, count);
    if (s == STATUS_OK) s = tokenize(t, count == 1 ? paths[0] : "text", tok);
    if (s != STATUS_OK) scored_text_close(t);
    return s;
}

/* ---- bytes ---- */

void scored_text_count_bytes(const scored_text *t, bpb_result *r) {
    if (!t->ids || !r->whole) return;
    r->total.bytes = 0;
    for (int i = 0; i < r->domain_count; i++) r->domain[i].bytes = 0;
    for (int64_t i = 0; i < t->documents.count; i++) {
        const document *d = &t->documents.documents[i];
        r->domain[d->domain].bytes += d->bytes;
        r->total.bytes += d->bytes;
    }
}

/* Documents become tokens, a block at a time on all cores, and go into shards. */
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "text/checksums.h"
#include "text/corpus.h"
#include "text/shard.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256 /* documents encoded at once */ };

typedef struct encoded {
    int32_t *ids;
    size_t count;
    status result;
    bool exact; /* decodes to itself, and its tokens' bytes add up to its length */
} encoded;

/* One shard that is being filled. */
typedef struct shard_builder {
    const char *folder, *name, *kind; /* folder/name_kind_000000.bin */
    int index;
    int vocab_size;
    int32_t *tokens;
    int64_t count, capacity;
    char *rows; /* of the .docs.tsv */
    size_t rows_bytes;
    FILE *rows_stream;
} shard_builder;

static void begin_shard(shard_builder *b) {
    b->count = 0;
    b->rows_stream = open_memstream(&b->rows, &b->rows_bytes);
}

/* A whole file whose checksum goes into data.json. */
static status write_file(cJSON *files, const char *path, const void *bytes, size_t count) {
    checksums_add(files, path, crc64(0, bytes, count));
    return file_write_whole(path, bytes, count);
}

static status end_shard(shard_builder *b, cJSON *files) {
    fclose(b->rows_stream);
    char *stem = xasprintf("%s/%s_%s_%06d", b->folder, b->name, b->kind, b->index++);
    char *shard_path = xasprintf("%s.bin", stem), *table_path = xasprintf("%s.docs.tsv", stem);
    uint64_t crc = 0;
    status s = shard_write(shard_path, b->tokens, b->count, b->vocab_size, &crc);
    checksums_add(files, shard_path, crc);
    if (s == STATUS_OK) s = write_file(files, table_path, b->rows, b->rows_bytes);
    free(b->rows);
    free(stem);
    free(shard_path);
    free(table_path);
    return s;
}

static status append_document(shard_builder *b, corpus *c, const corpus_document *d, int bos, const encoded *e) {
    int64_t tokens = (int64_t)e->count + 1;
    if (b->count > 0 && b->count + tokens > CORPUS_SHARD_TOKENS) {
        TRY(end_shard(b, c->files));
        begin_shard(b);
    }
    if (b->count + tokens > b->capacity) {
        b->capacity = 2 * (b->count + tokens);
        b->tokens = xrealloc(b->tokens, (size_t)b->capacity * sizeof *b->tokens);
    }
    fprintf(b->rows_stream, "%" PRId64 "\t%" PRId64 "\t%" PRId64 "\t%s\t%s\n", b->count, tokens, d->bytes,
            c->domains[d->domain].name, d->source);
    b->tokens[b->count++] = bos;
    for (size_t i = 0; i < e->count; i++) b->tokens[b->count++] = e->ids[i];
    return STATUS_OK;
}

static void encode_block(const corpus *c, const tokenizer *t, const int64_t *indices, int count, encoded *out) {
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < count; i++) {
        const corpus_document *d = &c->documents[indices[i]];
        out[i] = (encoded){.exact = true};
        out[i].result = tokenizer_encode(t, d->text, (size_t)d->bytes, &out[i].ids, &out[i].count);
        if (out[i].result == STATUS_OK && d->heldout)
            out[i].exact = tokenizer_is_exact(t, out[i].ids, out[i].count, d->text, (size_t)d->bytes);
    }
}

static status append_block(shard_builder *b, corpus *c, const tokenizer *t, const int64_t *indices, int count,
                           const encoded *block, bool must_be_exact) {
    for (int i = 0; i < count; i++) {
        const corpus_document *d = &c->documents[indices[i]];
        if (block[i].result != STATUS_OK) /* the message is in another thread */
            return fail("%s: the tokenizer cannot encode this document of %" PRId64 " bytes", d->source, d->bytes);
        if (!block[i].exact) c->inexact++;
        if (!block[i].exact && must_be_exact)
            return fail("%s: expected the tokenizer to give back all %" PRId64 " bytes, found other text", d->source,
                        d->bytes);
        corpus_amount *amount = d->heldout ? &c->domains[d->domain].heldout : &c->domains[d->domain].train;
        amount->tokens += (int64_t)block[i].count + 1;
        TRY(append_document(b, c, d, tokenizer_bos(t), &block[i]));
    }
    return STATUS_OK;
}

static status write_documents(corpus *c, const tokenizer *t, shard_builder *b, const int64_t *indices, int64_t count,
                              bool must_be_exact) {
    progress shown = progress_start(b->kind);
    encoded block[BLOCK];
    status s = STATUS_OK;
    begin_shard(b);
    for (int64_t at = 0; at < count && s == STATUS_OK; at += BLOCK) {
        if (interrupt_requested()) s = STATUS_INTERRUPTED;
        int size = (int)(count - at < BLOCK ? count - at : BLOCK);
        encode_block(c, t, indices + at, size, block);
        if (s == STATUS_OK) s = append_block(b, c, t, indices + at, size, block, must_be_exact);
        for (int i = 0; i < size; i++) free(block[i].ids);
        if (c->options.show_progress) progress_show(&shown, (double)(at + size) / (double)count, "tokens and shards");
    }
    status written = end_shard(b, c->files);
    free(b->tokens);
    if (c->options.show_progress) progress_end(&shown, s == STATUS_OK ? "tokens and shards" : "stopped");
    return s == STATUS_OK ? written : s;
}

static status write_tokenizer(corpus *c, const tokenizer *t, const char *folder) {
    const void *bytes;
    size_t count;
    char *path = path_join(folder, "tokenizer.model");
    tokenizer_bytes(t, &bytes, &count);
    status s = write_file(c->files, path, bytes, count);
    free(path);
    return s;
}

static status write_heldout_text(corpus *c, const char *folder) {
    char *path = path_join(folder, "heldout.txt");
    file_writer w;
    status s = file_create(&w, path);
    if (s != STATUS_OK) {
        free(path);
        return s;
    }
    for (int64_t i = 0; i < c->heldout_count; i++) {
        const corpus_document *d = &c->documents[c->heldout[i]];
        file_write(&w, d->text, (size_t)d->bytes);
    }
    checksums_add(c->files, path, w.crc);
    free(path);
    return file_commit(&w);
}

status corpus_write(corpus *c, const tokenizer *t, const char *folder, const char *name, bool must_be_exact) {
    TRY(tokenizer_needs_bos(t));
    cJSON_Delete(c->files);
    c->files = cJSON_CreateObject();
    TRY(write_tokenizer(c, t, folder));
    shard_builder train = {.folder = folder, .name = name, .kind = "train", .vocab_size = tokenizer_vocab_size(t)};
    if (c->train_count > 0) TRY(write_documents(c, t, &train, c->train, c->train_count, must_be_exact));
    if (c->heldout_count == 0) return STATUS_OK;
    shard_builder heldout = {.folder = folder, .name = name, .kind = "val", .vocab_size = tokenizer_vocab_size(t)};
    TRY(write_documents(c, t, &heldout, c->heldout, c->heldout_count, must_be_exact));
    return write_heldout_text(c, folder);
}

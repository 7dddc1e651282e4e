/* Reading: files are mapped, and a block's checksum is looked at when a record of it is read first. */
#include "base/memory.h"
#include "text/teacher_format.h"
#include <stdlib.h>
#include <string.h>

/* ---- one file ---- */

status teacher_file_parse(teacher_file *f, const char *path, const uint8_t *bytes, size_t count) {
    *f = (teacher_file){.path = xstrdup(path)};
    status s = teacher_header_read(f, bytes, count);
    if (s == STATUS_OK) {
        const int64_t expected = teacher_file_bytes(&f->facts, f->tokens);
        if (count != (size_t)expected)
            s = fail("%s: %s: expected %lld bytes for %lld tokens, found %zu", path,
                     count < (size_t)expected ? "truncated" : "too long", (long long)expected, (long long)f->tokens,
                     count);
    }
    if (s != STATUS_OK) {
        teacher_file_close(f);
        return s;
    }
    const size_t blocks = (size_t)(f->tokens + TEACHER_BLOCK_RECORDS - 1) / TEACHER_BLOCK_RECORDS;
    f->blocks = bytes + TEACHER_HEADER_BYTES;
    f->checked = xcalloc(blocks / 8 + 1, 1);
    return STATUS_OK;
}

status teacher_file_open(teacher_file *f, const char *path) {
    file_map map;
    *f = (teacher_file){0};
    TRY(file_map_open(&map, path));
    const status s = teacher_file_parse(f, path, map.bytes, map.count);
    if (s == STATUS_OK)
        f->map = map;
    else
        file_map_close(&map);
    return s;
}

void teacher_file_close(teacher_file *f) {
    if (f->map.bytes) file_map_close(&f->map);
    free(f->path);
    free(f->checked);
    *f = (teacher_file){0};
}

/* The block's records, which are as they were written; NULL: they are not. */
static const uint8_t *whole_block(teacher_file *f, int64_t block) {
    const uint8_t *at = f->blocks + block * teacher_block_bytes(&f->facts, TEACHER_BLOCK_RECORDS);
    if (f->checked[block / 8] >> block % 8 & 1) return at;
    const int64_t left = f->tokens - block * TEACHER_BLOCK_RECORDS;
    const int64_t records = left < TEACHER_BLOCK_RECORDS ? left : TEACHER_BLOCK_RECORDS;
    const size_t bytes = (size_t)(teacher_block_bytes(&f->facts, records) - TEACHER_CRC_BYTES);
    if (teacher_block_crc(f->seed, block, at, bytes) != little_get(at + bytes, TEACHER_CRC_BYTES)) return NULL;
    f->checked[block / 8] |= (uint8_t)(1 << block % 8);
    return at;
}

status teacher_file_read(teacher_file *f, int64_t first, int64_t count, int vocab_size, int32_t *ids, float *log_probs,
                         float *rest) {
    const int64_t bytes = teacher_record_bytes(f->facts.k, f->facts.vocab_size);
    const uint8_t *records = NULL;
    for (int64_t i = 0; i < count; i++, ids += f->facts.k, log_probs += f->facts.k) {
        const int64_t block = (first + i) / TEACHER_BLOCK_RECORDS, within = (first + i) % TEACHER_BLOCK_RECORDS;
        if (!records || within == 0) records = whole_block(f, block);
        if (!records)
            return fail("%s: corrupted: the checksum of tokens %lld to %lld does not hold", f->path,
                        (long long)block * TEACHER_BLOCK_RECORDS, (long long)(block + 1) * TEACHER_BLOCK_RECORDS - 1);
        if (!teacher_record_unpack(records + within * bytes, &f->facts, vocab_size, ids, log_probs, rest + i))
            return fail("%s: token %lld: expected log-probabilities of tokens below %d, found what is none", f->path,
                        (long long)(first + i), f->facts.vocab_size);
    }
    return STATUS_OK;
}

/* ---- a folder ---- */

struct teacher_cache {
    teacher_file *files; /* [count], one a shard */
    int count, vocab_size;
};

/* Why there is no such file. */
static status refuse_absent(const char *path, const shard *s) {
    char *part = xasprintf("%s" TEACHER_PART, path);
    const status result = path_exists(part)
                              ? fail("%s: unfinished; the same `moec teach` goes on with it", part)
                              : fail("%s: expected the teacher's file of %s, found nothing", path, s->path);
    free(part);
    return result;
}

static status open_one(teacher_cache *c, const char *folder, const shard *s, uint64_t tokenizer) {
    char *path = teacher_path(folder, s->path);
    teacher_file *f = &c->files[c->count];
    status result = path_exists(path) ? teacher_file_open(f, path) : refuse_absent(path, s);
    free(path);
    TRY(result);
    c->count++;
    teacher_facts wanted = c->files[0].facts;
    wanted.tokenizer = tokenizer;
    TRY(teacher_facts_compare(f->path, &f->facts, &wanted));
    return teacher_file_is_of(f, s, teacher_shard_crc(s));
}

status teacher_cache_open(teacher_cache **out, const char *folder, const shard *shards, int count, uint64_t tokenizer,
                          int vocab_size) {
    if (!path_is_folder(folder))
        return fail("%s: expected a teacher's cache, the folder that moec teach made, found %s", folder,
                    path_describe(folder));
    teacher_cache *c = xcalloc(1, sizeof *c);
    c->files = xcalloc((size_t)count, sizeof *c->files);
    c->vocab_size = vocab_size;
    status s = STATUS_OK;
    for (int i = 0; i < count && s == STATUS_OK; i++) s = open_one(c, folder, &shards[i], tokenizer);
    if (s == STATUS_OK)
        *out = c;
    else
        teacher_cache_close(c);
    return s;
}

void teacher_cache_close(teacher_cache *c) {
    if (!c) return;
    for (int i = 0; i < c->count; i++) teacher_file_close(&c->files[i]);
    free(c->files);
    free(c);
}

const teacher_facts *teacher_cache_facts(const teacher_cache *c) {
    return &c->files[0].facts;
}

status teacher_cache_read(teacher_cache *c, int shard, int64_t first, int64_t count, int32_t *ids, float *log_probs,
                          float *rest) {
    return teacher_file_read(&c->files[shard], first, count, c->vocab_size, ids, log_probs, rest);
}

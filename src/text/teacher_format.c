#include "text/teacher_format.h"

#include "base/memory.h"
#include <inttypes.h>
#include <string.h>

static const char magic[8] = {'M', 'O', 'E', 'C', 'T', 'C', 'H', 'R'};
enum { VERSION = 1, NAME_AT = 72, CRC_AT = TEACHER_HEADER_BYTES - TEACHER_CRC_BYTES };

char *teacher_path(const char *folder, const char *shard_path) {
    const char *slash = strrchr(shard_path, '/'), *name = slash ? slash + 1 : shard_path;
    const size_t length = strlen(name);
    const bool ends = length > 4 && strcmp(name + length - 4, ".bin") == 0;
    return xasprintf("%s/%.*s" TEACHER_SUFFIX, folder, (int)(ends ? length - 4 : length), name);
}

uint64_t teacher_shard_crc(const shard *s) {
    if (s->map.bytes) return crc64(0, s->map.bytes, s->map.count);
    return crc64(0, s->tokens, (size_t)s->count * (size_t)s->token_bytes);
}

int64_t teacher_file_bytes(const teacher_facts *facts, int64_t tokens) {
    const int64_t blocks = (tokens + TEACHER_BLOCK_RECORDS - 1) / TEACHER_BLOCK_RECORDS;
    return TEACHER_HEADER_BYTES + tokens * teacher_record_bytes(facts->k, facts->vocab_size) +
           blocks * TEACHER_CRC_BYTES;
}

/* ---- the header ---- */

void teacher_header_write(uint8_t header[TEACHER_HEADER_BYTES], const teacher_facts *facts, int64_t tokens,
                          uint64_t shard_crc) {
    memset(header, 0, TEACHER_HEADER_BYTES);
    memcpy(header, magic, sizeof magic);
    little_put(header + 8, VERSION, 4);
    little_put(header + 12, (uint64_t)facts->k, 4);
    little_put(header + 16, (uint64_t)facts->vocab_size, 4);
    little_put(header + 20, (uint64_t)teacher_record_bytes(facts->k, facts->vocab_size), 4);
    little_put(header + 24, TEACHER_BLOCK_RECORDS, 4);
    little_put(header + 28, (uint64_t)facts->seq, 4);
    little_put(header + 32, (uint64_t)facts->stride, 4);
    little_put(header + 40, (uint64_t)tokens, 8);
    little_put(header + 48, shard_crc, 8);
    little_put(header + 56, facts->tokenizer, 8);
    little_put(header + 64, facts->teacher, 8);
    memcpy(header + NAME_AT, facts->name, strnlen(facts->name, TEACHER_NAME_BYTES - 1));
    little_put(header + CRC_AT, crc64(0, header, CRC_AT), 8);
}

static status check_range(const char *path, const char *what, uint64_t found, uint64_t least, uint64_t most) {
    if (found >= least && found <= most) return STATUS_OK;
    return fail("%s: expected %s from %" PRIu64 " to %" PRIu64 ", found %" PRIu64, path, what, least, most, found);
}

/* The sums are right, so whoever wrote it meant it. */
static status check_numbers(const char *path, const uint8_t *b) {
    const uint64_t k = little_get(b + 12, 4), vocab_size = little_get(b + 16, 4);
    TRY(check_range(path, "a vocabulary", vocab_size, 2, TEACHER_MAX_VOCABULARY));
    TRY(check_range(path, "tokens in a record", k, 1,
                    vocab_size <= TEACHER_MAX_TOP ? vocab_size - 1 : TEACHER_MAX_TOP));
    const uint64_t bytes = (uint64_t)teacher_record_bytes((int)k, (int)vocab_size);
    TRY(check_range(path, "bytes in a record", little_get(b + 20, 4), bytes, bytes));
    TRY(check_range(path, "records in a block", little_get(b + 24, 4), TEACHER_BLOCK_RECORDS, TEACHER_BLOCK_RECORDS));
    TRY(check_range(path, "a window's tokens", little_get(b + 28, 4), 0, INT32_MAX));
    TRY(check_range(path, "a window's new tokens", little_get(b + 32, 4), 0, INT32_MAX));
    TRY(check_range(path, "a shard's tokens", little_get(b + 40, 8), 0, INT32_MAX));
    if (b[NAME_AT + TEACHER_NAME_BYTES - 1]) return fail("%s: expected a name of at most 255 bytes, found more", path);
    return STATUS_OK;
}

status teacher_header_read(teacher_file *f, const uint8_t *bytes, size_t count) {
    const char *path = f->path;
    if (count < TEACHER_HEADER_BYTES)
        return fail("%s: truncated: expected a header of %d bytes, found %zu", path, TEACHER_HEADER_BYTES, count);
    if (memcmp(bytes, magic, sizeof magic) != 0)
        return fail("%s: expected a teacher's file, which begins with MOECTCHR, found another", path);
    TRY(check_range(path, "version", little_get(bytes + 8, 4), VERSION, VERSION));
    const uint64_t crc = crc64(0, bytes, CRC_AT), said = little_get(bytes + CRC_AT, 8);
    if (crc != said)
        return fail("%s: corrupted: expected the header's CRC-64 %016" PRIx64 ", found %016" PRIx64, path, said, crc);
    TRY(check_numbers(path, bytes));
    f->facts = (teacher_facts){.k = (int)little_get(bytes + 12, 4),
                               .vocab_size = (int)little_get(bytes + 16, 4),
                               .seq = (int64_t)little_get(bytes + 28, 4),
                               .stride = (int64_t)little_get(bytes + 32, 4),
                               .tokenizer = little_get(bytes + 56, 8),
                               .teacher = little_get(bytes + 64, 8)};
    memcpy(f->facts.name, bytes + NAME_AT, TEACHER_NAME_BYTES);
    f->tokens = (int64_t)little_get(bytes + 40, 8);
    f->shard_crc = little_get(bytes + 48, 8);
    f->seed = crc;
    return STATUS_OK;
}

/* ---- comparing ---- */

status teacher_facts_compare(const char *path, const teacher_facts *found, const teacher_facts *wanted) {
    if (found->tokenizer != wanted->tokenizer)
        return fail("%s: made with another tokenizer: its vocabulary is %016" PRIx64 ", expected %016" PRIx64, path,
                    found->tokenizer, wanted->tokenizer);
    if (found->k != wanted->k)
        return fail("%s: has the top %d of each token, expected the top %d", path, found->k, wanted->k);
    if (found->vocab_size != wanted->vocab_size)
        return fail("%s: made by a teacher with a vocabulary of %d, expected one of %d", path, found->vocab_size,
                    wanted->vocab_size);
    if (found->seq != wanted->seq || found->stride != wanted->stride)
        return fail("%s: made in windows of %lld by %lld tokens, expected %lld by %lld", path, (long long)found->seq,
                    (long long)found->stride, (long long)wanted->seq, (long long)wanted->stride);
    if (found->teacher != wanted->teacher)
        return fail("%s: made by another teacher (%s, other weights than those of %s now)", path, found->name,
                    wanted->name);
    return STATUS_OK;
}

status teacher_file_is_of(const teacher_file *f, const shard *s, uint64_t shard_crc) {
    if (f->tokens != s->count)
        return fail("%s: made for %lld tokens, but %s has %lld", f->path, (long long)f->tokens, s->path,
                    (long long)s->count);
    if (f->shard_crc != shard_crc)
        return fail("%s: made for another text: expected the CRC-64 %016" PRIx64 " of %s, found %016" PRIx64, f->path,
                    shard_crc, s->path, f->shard_crc);
    return STATUS_OK;
}

/* ---- blocks ---- */

uint64_t teacher_block_crc(uint64_t seed, int64_t block, const uint8_t *records, size_t bytes) {
    uint8_t place[8];
    little_put(place, (uint64_t)block, 8);
    return crc64(crc64(seed, place, sizeof place), records, bytes);
}

/* Writing: records gather in memory and go to their place in the file as whole blocks, some MiB or some seconds of them at a time. */
#include "base/memory.h"
#include "base/progress.h"
#include "text/teacher_format.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GATHERED_BYTES = 1 << 20 };
static const double GATHERED_SECONDS = 2, ROUNDING = 1e-3;

struct teacher_writer {
    char *path, *part;
    teacher_facts facts;
    int64_t tokens, count; /* of the shard; the next record's position */
    int64_t record_bytes;
    uint64_t seed;
    uint8_t *gathered; /* whole blocks, and behind them the one that is filled */
    size_t bytes, capacity;
    int64_t first_block;  /* of these */
    int64_t open_records; /* in that one */
    double written;       /* when, clock_seconds() */
    bool *there;          /* [teacher_blocks(tokens)] */
    bool grows;           /* NAME.teacher.part is there and ours to name */
};

/* ---- going on ---- */

static int64_t block_size(const teacher_writer *w) {
    return teacher_block_bytes(&w->facts, TEACHER_BLOCK_RECORDS);
}

static int64_t place_of(const teacher_writer *w, int64_t block) {
    return TEACHER_HEADER_BYTES + block * block_size(w);
}

static int64_t records_of(const teacher_writer *w, int64_t block) {
    const int64_t left = w->tokens - block * TEACHER_BLOCK_RECORDS;
    return left < TEACHER_BLOCK_RECORDS ? left : TEACHER_BLOCK_RECORDS;
}

/* A kill may have cut a block or never written it, and another process may have written those behind it. */
static bool is_whole(const teacher_writer *w, const file_map *map, int64_t block) {
    const int64_t bytes = teacher_block_bytes(&w->facts, records_of(w, block)) - TEACHER_CRC_BYTES;
    const int64_t at = place_of(w, block);
    if ((int64_t)map->count < at + bytes + TEACHER_CRC_BYTES) return false;
    const uint8_t *records = map->bytes + at;
    return teacher_block_crc(w->seed, block, records, (size_t)bytes) == little_get(records + bytes, TEACHER_CRC_BYTES);
}

static status cut(const char *path, int64_t bytes) {
    int fd;
    TRY(file_open(path, O_WRONLY, &fd));
    const status s = ftruncate(fd, bytes) == 0 ? STATUS_OK : fail("%s: cannot be cut: %s", path, strerror(errno));
    close(fd);
    return s;
}

static status check_same(teacher_writer *w, const teacher_file *f, const shard *s, uint64_t shard_crc) {
    w->seed = f->seed;
    status result = teacher_facts_compare(f->path, &f->facts, &w->facts);
    if (result == STATUS_OK) result = teacher_file_is_of(f, s, shard_crc);
    return fail_in(result, "cannot go on with this cache");
}

/* The file as it is, if it is of this teaching. */
static status map_part(teacher_writer *w, const shard *s, uint64_t shard_crc, file_map *map) {
    TRY(file_map_open(map, w->part));
    teacher_file f = {.path = w->part};
    status result = teacher_header_read(&f, map->bytes, map->count);
    if (result == STATUS_OK) result = check_same(w, &f, s, shard_crc);
    if (result != STATUS_OK) file_map_close(map);
    return result;
}

/* A last block that is shorter than the others is made again: with it the file would be finished. */
static status go_on(teacher_writer *w, const shard *s, uint64_t shard_crc) {
    file_map map;
    TRY(map_part(w, s, shard_crc, &map));
    const int64_t blocks = w->tokens / TEACHER_BLOCK_RECORDS, most = teacher_file_bytes(&w->facts, w->tokens);
    for (int64_t b = 0; b < blocks; b++) w->there[b] = is_whole(w, &map, b);
    const bool longer = (int64_t)map.count > most;
    file_map_close(&map);
    while (w->count < blocks * TEACHER_BLOCK_RECORDS && w->there[w->count / TEACHER_BLOCK_RECORDS])
        w->count += TEACHER_BLOCK_RECORDS;
    return longer ? cut(w->part, most) : STATUS_OK;
}

static status find_finished(teacher_writer *w, const shard *s, uint64_t shard_crc) {
    teacher_file f;
    TRY(teacher_file_open(&f, w->path));
    const status result = check_same(w, &f, s, shard_crc);
    w->count = w->tokens;
    for (int64_t b = 0; b < teacher_blocks(w->tokens); b++) w->there[b] = true;
    teacher_file_close(&f);
    return result;
}

static status begin(teacher_writer *w, const char *folder, uint64_t shard_crc) {
    uint8_t header[TEACHER_HEADER_BYTES];
    teacher_header_write(header, &w->facts, w->tokens, shard_crc);
    w->seed = little_get(header + TEACHER_HEADER_BYTES - TEACHER_CRC_BYTES, TEACHER_CRC_BYTES);
    TRY(folder_create(folder));
    return file_write_whole(w->part, header, sizeof header);
}

static status check_facts(const shard *s, const teacher_facts *f) {
    if (f->vocab_size < 2 || f->vocab_size > TEACHER_MAX_VOCABULARY)
        return fail("%s: expected a teacher with a vocabulary of 2 to %d, found %d", s->path, TEACHER_MAX_VOCABULARY,
                    f->vocab_size);
    const int most = f->vocab_size <= TEACHER_MAX_TOP ? f->vocab_size - 1 : TEACHER_MAX_TOP;
    if (f->k < 1 || f->k > most)
        return fail_usage("expected the top 1 to %d of a vocabulary of %d, found %d", most, f->vocab_size, f->k);
    return STATUS_OK;
}

static teacher_writer *create(const char *folder, const shard *s, const teacher_facts *facts) {
    teacher_writer *w = xcalloc(1, sizeof *w);
    w->path = teacher_path(folder, s->path);
    w->part = xasprintf("%s" TEACHER_PART, w->path);
    w->facts = *facts;
    w->tokens = s->count;
    w->record_bytes = teacher_record_bytes(facts->k, facts->vocab_size);
    w->written = clock_seconds();
    w->there = xcalloc((size_t)teacher_blocks(s->count) + 1, sizeof *w->there);
    return w;
}

static status hand_over(teacher_writer **out, teacher_writer *w, status s) {
    w->first_block = w->count / TEACHER_BLOCK_RECORDS;
    if (s == STATUS_OK)
        *out = w;
    else
        (void)teacher_writer_close(w);
    return s;
}

status teacher_writer_open(teacher_writer **out, const char *folder, const shard *s, const teacher_facts *facts) {
    TRY(check_facts(s, facts));
    teacher_writer *w = create(folder, s, facts);
    const uint64_t shard_crc = teacher_shard_crc(s);
    status result = path_exists(w->path)   ? find_finished(w, s, shard_crc)
                    : path_exists(w->part) ? go_on(w, s, shard_crc)
                                           : begin(w, folder, shard_crc);
    w->grows = result == STATUS_OK && !path_exists(w->path);
    return hand_over(out, w, result);
}

status teacher_writer_join(teacher_writer **out, const char *folder, const shard *s, const teacher_facts *facts) {
    file_map map;
    TRY(check_facts(s, facts));
    teacher_writer *w = create(folder, s, facts);
    const status result = map_part(w, s, teacher_shard_crc(s), &map);
    if (result == STATUS_OK) file_map_close(&map);
    return hand_over(out, w, result);
}

int64_t teacher_writer_count(const teacher_writer *w) {
    return w->count;
}

int64_t teacher_writer_lacks(const teacher_writer *w, int64_t from) {
    const int64_t blocks = teacher_blocks(w->tokens);
    while (from < blocks && w->there[from]) from++;
    return from < blocks ? from : blocks;
}

/* ---- records ---- */

static bool is_logarithm(float x) {
    return x <= (float)ROUNDING;
}

static status check_record(const teacher_writer *w, const int32_t *ids, const float *log_probs, float rest) {
    for (int i = 0; i < w->facts.k && ids[i] >= 0; i++) {
        if (ids[i] >= w->facts.vocab_size)
            return fail("%s: token %lld: expected the teacher's tokens to be below %d, found %d", w->path,
                        (long long)w->count, w->facts.vocab_size, ids[i]);
        if (!is_logarithm(log_probs[i]) || isinf(log_probs[i]))
            return fail("%s: token %lld: expected log-probabilities of the teacher, found %g", w->path,
                        (long long)w->count, (double)log_probs[i]);
        if (i > 0 && log_probs[i] > log_probs[i - 1])
            return fail("%s: token %lld: expected falling log-probabilities, found %g behind %g", w->path,
                        (long long)w->count, (double)log_probs[i], (double)log_probs[i - 1]);
    }
    if (is_logarithm(rest)) return STATUS_OK;
    return fail("%s: token %lld: expected a log-probability for the rest, found %g", w->path, (long long)w->count,
                (double)rest);
}

/* All whole blocks to the disk. */
static status write_out(teacher_writer *w) {
    const size_t open = (size_t)(w->open_records * w->record_bytes), whole = w->bytes - open;
    w->written = clock_seconds();
    if (whole == 0) return STATUS_OK;
    TRY(file_write_at(w->part, place_of(w, w->first_block), w->gathered, whole));
    memmove(w->gathered, w->gathered + whole, open);
    w->bytes = open;
    w->first_block = (w->count - w->open_records + TEACHER_BLOCK_RECORDS - 1) / TEACHER_BLOCK_RECORDS;
    return STATUS_OK;
}

status teacher_writer_seek(teacher_writer *w, int64_t block) {
    if (w->count == block * TEACHER_BLOCK_RECORDS) return STATUS_OK;
    if (w->open_records > 0)
        return fail("%s: token %lld: expected a whole block, found a part of one", w->path, (long long)w->count);
    TRY(write_out(w));
    w->count = block * TEACHER_BLOCK_RECORDS;
    w->first_block = block;
    return STATUS_OK;
}

static void end_block(teacher_writer *w) {
    const size_t bytes = (size_t)(w->open_records * w->record_bytes);
    const int64_t block = (w->count - 1) / TEACHER_BLOCK_RECORDS;
    const uint64_t crc = teacher_block_crc(w->seed, block, w->gathered + w->bytes - bytes, bytes);
    little_put(w->gathered + w->bytes, crc, TEACHER_CRC_BYTES);
    w->bytes += TEACHER_CRC_BYTES;
    w->open_records = 0;
    w->there[block] = true;
}

status teacher_writer_add(teacher_writer *w, const int32_t *ids, const float *log_probs, float rest) {
    if (w->count == w->tokens) return fail("%s: expected %lld records, found more", w->path, (long long)w->tokens);
    TRY(check_record(w, ids, log_probs, rest));
    const size_t needed = w->bytes + (size_t)w->record_bytes + TEACHER_CRC_BYTES;
    if (needed > w->capacity) w->gathered = xrealloc(w->gathered, w->capacity = 2 * needed);
    teacher_record_pack(w->gathered + w->bytes, &w->facts, ids, log_probs, rest);
    w->bytes += (size_t)w->record_bytes;
    w->count++;
    if (++w->open_records < TEACHER_BLOCK_RECORDS && w->count < w->tokens) return STATUS_OK;
    end_block(w);
    const bool enough = w->bytes >= GATHERED_BYTES || clock_seconds() - w->written > GATHERED_SECONDS;
    return enough ? write_out(w) : STATUS_OK;
}

status teacher_writer_check(teacher_writer *w) {
    file_map map;
    int64_t block = 0;
    if (!w->grows) return STATUS_OK;
    TRY(write_out(w));
    TRY(file_map_open(&map, w->part));
    const int64_t blocks = teacher_blocks(w->tokens);
    while (block < blocks && is_whole(w, &map, block)) w->there[block++] = true;
    file_map_close(&map);
    if (block == blocks) return STATUS_OK;
    w->there[block] = false;
    return fail("%s: tokens %lld to %lld: expected a whole block, found none; the same command makes it again", w->part,
                (long long)block * TEACHER_BLOCK_RECORDS,
                (long long)block * TEACHER_BLOCK_RECORDS + records_of(w, block) - 1);
}

/* All records are there. */
static status finish(const teacher_writer *w) {
    if (rename(w->part, w->path) != 0) return fail("%s: cannot rename %s to it: %s", w->path, w->part, strerror(errno));
    return path_sync_parent(w->path);
}

status teacher_writer_close(teacher_writer *w) {
    if (!w) return STATUS_OK;
    status s = write_out(w);
    if (s == STATUS_OK && w->grows && teacher_writer_lacks(w, 0) == teacher_blocks(w->tokens)) s = finish(w);
    free(w->gathered);
    free(w->there);
    free(w->path);
    free(w->part);
    free(w);
    return s;
}

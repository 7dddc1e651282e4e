/* The bytes of NAME.teacher (docs/formats.md); private to text/teacher_*.c. */
#ifndef MOEC_TEXT_TEACHER_FORMAT_H
#define MOEC_TEXT_TEACHER_FORMAT_H

#include "text/teacher_cache.h"

enum { TEACHER_HEADER_BYTES = 512, TEACHER_CRC_BYTES = 8 };

#define TEACHER_SUFFIX ".teacher"
#define TEACHER_PART ".part" /* behind it while the file is made */

/* FOLDER/NAME.teacher of the shard .../NAME.bin; a new string. */
char *teacher_path(const char *folder, const char *shard_path);
/* CRC-64 of the shard's file, or of its header and tokens in memory. */
uint64_t teacher_shard_crc(const shard *s);

/* ---- the header ---- */

void teacher_header_write(uint8_t header[TEACHER_HEADER_BYTES], const teacher_facts *facts, int64_t tokens,
                          uint64_t shard_crc);
/* Fills in all of *f but map, blocks and checked; f->path is for messages. */
status teacher_header_read(teacher_file *f, const uint8_t *bytes, size_t count);
/* Whether a file has these facts; else one line that names the first that differs. */
status teacher_facts_compare(const char *path, const teacher_facts *found, const teacher_facts *wanted);
/* Whether it is of this shard. */
status teacher_file_is_of(const teacher_file *f, const shard *s, uint64_t shard_crc);

/* ---- blocks ---- */

/* Bytes of a block of so many records, its checksum included. */
static inline int64_t teacher_block_bytes(const teacher_facts *f, int64_t records) {
    return records * teacher_record_bytes(f->k, f->vocab_size) + TEACHER_CRC_BYTES;
}
/* seed: the header's checksum, so that no block of another file or place passes for this one. */
uint64_t teacher_block_crc(uint64_t seed, int64_t block, const uint8_t *records, size_t bytes);

/* ---- records ---- */

/* The values are good (teacher_writer_add). */
void teacher_record_pack(uint8_t *record, const teacher_facts *f, const int32_t *ids, const float *log_probs,
                         float rest);
/* False: a value in it is no logarithm of a probability. */
bool teacher_record_unpack(const uint8_t *record, const teacher_facts *f, int vocab_size, int32_t *ids,
                           float *log_probs, float *rest);

static inline uint64_t little_get(const uint8_t *b, int bytes) {
    uint64_t x = 0;
    for (int i = 0; i < bytes; i++) x |= (uint64_t)b[i] << 8 * i;
    return x;
}
static inline void little_put(uint8_t *b, uint64_t x, int bytes) {
    for (int i = 0; i < bytes; i++) b[i] = (uint8_t)(x >> 8 * i);
}

#endif

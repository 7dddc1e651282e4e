/* A teacher's column on the disk (batch.h): for each token of a shard the teacher's k largest log-probabilities there, given the
 * tokens before it, and what is left for all others. docs/formats.md has the bytes.
 *
 * A cache is a folder with NAME.teacher for each shard NAME.bin: a header, then records of a fixed size by position, so that any
 * row of any mix is read where it lies, in blocks with a checksum each, so that damage is found when a block is first read.
 * While it is made it is NAME.teacher.part, which has whole blocks, in any order; who makes it goes on with those that lack. */
#ifndef MOEC_TEXT_TEACHER_CACHE_H
#define MOEC_TEXT_TEACHER_CACHE_H

#include "text/shard.h"

enum { TEACHER_MAX_TOP = 256, TEACHER_NAME_BYTES = 256, TEACHER_BLOCK_RECORDS = 256, TEACHER_MAX_VOCABULARY = 1 << 24 };

/* What all files of a cache say of it. */
typedef struct teacher_facts {
    int k;               /* tokens of a record: below the vocabulary, at most TEACHER_MAX_TOP */
    int vocab_size;      /* the teacher's */
    uint64_t tokenizer;  /* tokenizer_fingerprint */
    uint64_t teacher;    /* tells this teacher's weights from others under the same name; 0: not known */
    int64_t seq, stride; /* of its windows, as in eval/bpb.h; 0: not known */
    char name[TEACHER_NAME_BYTES];
} teacher_facts;

/* k ids of ⌈log₂ vocab_size⌉ bits, k + 1 float16: 87 for 20 of 151,936 */
int64_t teacher_record_bytes(int k, int vocab_size);
/* Of NAME.teacher for a shard of so many tokens. */
int64_t teacher_file_bytes(const teacher_facts *facts, int64_t tokens);

/* ---- writing ---- */

typedef struct teacher_writer teacher_writer;

/* Go on with the file of a shard that lies on the disk, or begin it; the folder is made. A file of another teacher, k, tokenizer,
 * window or shard is refused by one line. One process at a time: who writes holds a lock on the folder (base/lock.h). */
status teacher_writer_open(teacher_writer **out, const char *folder, const shard *s, const teacher_facts *facts);
/* The position of the next record: behind the whole blocks that are there from the beginning on, then behind what was added. The shard's
 * count: it is done. */
int64_t teacher_writer_count(const teacher_writer *w);
/* ids [k] by falling log-probability, < 0 from where there are no more; rest: logarithm of what all others have together. A value
 * that is no logarithm of a probability is an error that names the position; all records before it stay. */
status teacher_writer_add(teacher_writer *w, const int32_t *ids, const float *log_probs, float rest);
/* Whole blocks, and the last record's, go to the disk; when all are there the file becomes NAME.teacher. Frees w either way. */
status teacher_writer_close(teacher_writer *w);

/* Blocks in any order, and by several processes: one has opened the file and holds the lock, the others join. Each writes blocks of its
 * own; when all have closed theirs, the first is told so, and closes.
 *
 *     for (b = teacher_writer_lacks(w, 0); b < teacher_blocks(tokens); b = teacher_writer_lacks(w, b + 1)) …   // share them out
 *     TRY(teacher_writer_seek(w, b)); … teacher_writer_add, a whole block … */
static inline int64_t teacher_blocks(int64_t tokens) {
    return (tokens + TEACHER_BLOCK_RECORDS - 1) / TEACHER_BLOCK_RECORDS;
}
/* The first block from `from` on that is not there; teacher_blocks(tokens): none. */
int64_t teacher_writer_lacks(const teacher_writer *w, int64_t from);
status teacher_writer_join(teacher_writer **out, const char *folder, const shard *s, const teacher_facts *facts);
/* The next record is this block's first. Not within a block. */
status teacher_writer_seek(teacher_writer *w, int64_t block);
/* Others have written what lacked here: that all blocks are whole, which are read for it. */
status teacher_writer_check(teacher_writer *w);

/* ---- reading ---- */

typedef struct teacher_cache teacher_cache;

/* The files of these shards, which live as long as the cache. Refuses by one line: what is missing, unfinished, cut or of other
 * facts than its neighbours, of another tokenizer (its fingerprint), and of shards that are not these to the byte.
 * vocab_size: of those who read; what the teacher gives to ids beyond it counts as the rest. */
status teacher_cache_open(teacher_cache **out, const char *folder, const shard *shards, int count, uint64_t tokenizer,
                          int vocab_size);
void teacher_cache_close(teacher_cache *c); /* NULL is fine */
const teacher_facts *teacher_cache_facts(const teacher_cache *c);
/* Records first … first + count − 1 of a shard: ids and log_probs [count, k], rest [count]. Where there is no token an id is −1 and
 * its logarithm −∞. */
status teacher_cache_read(teacher_cache *c, int shard, int64_t first, int64_t count, int32_t *ids, float *log_probs,
                          float *rest);

/* ---- one file, for the two above and for tests ---- */

typedef struct teacher_file {
    file_map map;
    char *path;
    teacher_facts facts;
    int64_t tokens;
    uint64_t shard_crc; /* CRC-64 of the shard's file */
    uint64_t seed;      /* of its blocks' checksums: that of its header */
    const uint8_t *blocks;
    uint8_t *checked; /* a bit for each block that was found whole */
} teacher_file;

status teacher_file_open(teacher_file *f, const char *path);
/* The same for bytes in memory, which stay the caller's. */
status teacher_file_parse(teacher_file *f, const char *path, const uint8_t *bytes, size_t count);
void teacher_file_close(teacher_file *f);
/* As teacher_cache_read. */
status teacher_file_read(teacher_file *f, int64_t first, int64_t count, int vocab_size, int32_t *ids, float *log_probs,
                         float *rest);

#endif

/* A layout: the weights of a model as the kernels read them, in a file that is mapped to run it, so that nothing is decoded, rounded or put
 * in order again, and processes that run the same model have its weights in memory once. Other people's bytes: every number is checked
 * against the file's size before it is used (layout_head_parse), and whatever is in the arrays, products stay within them (weight_adopt).
 *
 * The file (docs/formats.md has it to the byte): a head, padding to a page, then the arrays, those of a parameter from a page on, each at a
 * multiple of 64 bytes, in the order of the model's parameters. The head has
 *   magic, version, its own bytes, the file's bytes, as in every version
 *   path of the model (here in every version, too), and what the layout was made for (layout_cache.h): both texts
 *   an entry a parameter: which it is, its numbers, where its arrays lie
 *   the CRC-64 of each LAYOUT_PIECE bytes of the file from the first array on
 *   the CRC-64 of all of the head before it
 * Files are replaced by renaming and never changed or shortened in place, so that whoever has one mapped keeps what it mapped, though another
 * one has its name by now, or none. A file that somebody else cuts while it is mapped ends the processes that run from it (SIGBUS), as with
 * every program that maps what it runs. */
#ifndef MOEC_STORE_LAYOUT_HEAD_H
#define MOEC_STORE_LAYOUT_HEAD_H

#include "kernel/kernel.h"
#include "store/bytes.h"

#define LAYOUT_MAGIC "MoeCLay\n"
enum {
    LAYOUT_VERSION = 1,
    LAYOUT_PAGE = 4096,
    LAYOUT_PIECE = 1 << 20,
    LAYOUT_MOST_HEAD = 64 << 20,
    LAYOUT_MOST_TEXT = 8192
};

typedef struct layout_entry {
    uint64_t name;                  /* CRC-64 of the parameter's name */
    bool is_vector;                 /* float32 values: weight.array[0] alone; else a matrix */
    stored_weight weight;           /* its arrays are NULL, and its bytes true */
    uint64_t offset[STORED_ARRAYS]; /* in the file */
} layout_entry;

typedef struct layout_head {
    char *path, *key;
    layout_entry *entries;
    int count;
    uint64_t *pieces; /* CRC-64 */
    int64_t piece_count;
    uint64_t data, file_bytes; /* where the arrays begin and end */
} layout_head;
void layout_head_free(layout_head *h);

/* For a writer: sets offsets, data, file_bytes and piece_count, and makes room for `pieces`, of what path, key, entries and their bytes are. */
void layout_head_place(layout_head *h);
/* The head's bytes, whose number is data less the padding. */
void layout_head_write(const layout_head *h, byte_buffer *out);

/* bytes: the beginning of a file of file_bytes, or all of it. `where` names it in messages. check_crc false: any head that is sound, for
 * fuzzing. Memory and time are bounded by count. */
status layout_head_parse(layout_head *h, const uint8_t *bytes, size_t count, uint64_t file_bytes, const char *where,
                         bool check_crc);
/* Of a file's first bytes the model's path alone (a new string), without a look at the rest; NULL: it is no layout. */
char *layout_head_path(const uint8_t *bytes, size_t count);

#endif

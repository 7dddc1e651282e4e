/* Files that are either wholly there or not at all.
 *
 * A file_writer writes to "path.tmp-PID" and file_commit() makes it durable (fsync) and renames it; until then the old
 * file is untouched, after a failure the temporary one is gone. Folders that must appear whole are filled under a
 * temporary name and renamed by folder_commit().
 *
 * For tests of a full disk: the environment variable MOEC_FAIL_WRITE_AFTER=BYTES lets all file_write calls of the
 * process together write BYTES bytes and fails every later one with ENOSPC. */
#ifndef MOEC_BASE_FILE_H
#define MOEC_BASE_FILE_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct file_writer {
    char *path, *temporary;
    FILE *stream;
    uint64_t crc;   /* CRC-64 (xz's) of the bytes written so far */
    uint64_t bytes; /* written so far */
    bool failed;    /* a short write happened; file_commit reports it */
    int error;      /* errno of that write */
} file_writer;

status file_create(file_writer *w, const char *path);
void file_write(file_writer *w, const void *bytes, size_t count); /* errors are kept until file_commit */
status file_commit(file_writer *w); /* flush, fsync, rename; frees w's strings either way */
void file_abandon(file_writer *w);  /* remove the temporary file */

/* Whole files. read: *bytes is malloc'ed with a NUL behind the last byte. */
status file_read(const char *path, uint8_t **bytes, size_t *count);
status file_write_whole(const char *path, const void *bytes, size_t count);

/* A read-only memory map. */
typedef struct file_map {
    const uint8_t *bytes;
    size_t count;
} file_map;
status file_map_open(file_map *m, const char *path);
void file_map_close(file_map *m);

/* Paths and folders. */
bool path_exists(const char *path);
bool path_is_folder(const char *path);
char *path_join(const char *folder, const char *name);         /* a new string; free() it */
status folder_create(const char *path);                        /* with parents; an existing folder is fine */
status folder_remove(const char *path);                        /* with all that is in it; an absent one is fine */
status folder_commit(const char *temporary, const char *path); /* fsync what is inside, rename; path must not exist */
/* Names (not paths) in a folder, sorted bytewise; free each and the array. */
status folder_list(const char *path, char ***names, size_t *count);
/* $XDG_CACHE_HOME/moec or ~/.cache/moec; a new string. */
char *cache_folder(void);

uint64_t crc64(uint64_t crc, const void *bytes, size_t count); /* liblzma's CRC-64; start with 0 */
status file_crc64(const char *path, uint64_t *crc);            /* of a whole file */

#endif

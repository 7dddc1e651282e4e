/* Files that are either wholly there or not at all.
 *
 * A file_writer writes to a temporary file beside (temporary.h) and file_commit() makes it durable (fsync) and renames it;
 * until then the old file is untouched, after a failure the temporary one is gone, and what a killed process left goes when
 * the same path is written next. Folders that must appear whole are filled under a temporary name and renamed by
 * folder_commit(), or put in the place of an older one by folder_exchange().
 *
 * For tests of a full disk: the environment variable MOEC_FAIL_WRITE_AFTER=BYTES lets all file_write and
 * file_append and file_write_at calls of the process together write BYTES bytes and fails every later one with ENOSPC. */
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

/* Open what is read, or written in place: a regular file and nothing else. A folder, a pipe or a device in its place is refused
 * by its kind, and nothing waits for a pipe's other end. flags: open(2)'s. */
status file_open(const char *path, int flags, int *descriptor);
status file_open_stream(const char *path, int flags, const char *mode, FILE **stream); /* mode: fdopen(3)'s */

/* Whole files. read: *bytes is malloc'ed with a NUL behind the last byte; a file of more than `most` bytes is refused before
 * it is read. */
status file_read(const char *path, size_t most, uint8_t **bytes, size_t *count);
status file_write_whole(const char *path, const void *bytes, size_t count);
/* Behind what is there, on the disk when it returns: all of it or nothing. An absent file is made. */
status file_append(const char *path, const void *bytes, size_t count);
/* Into a file that is there, from byte `offset` on, which may be beyond its end: on the disk when it returns. After a failure a part of it may
 * be there. Several processes may write to different places. */
status file_write_at(const char *path, int64_t offset, const void *bytes, size_t count);
/* For whoever writes by other means: how many of `count` bytes MOEC_FAIL_WRITE_AFTER still allows. */
size_t file_write_budget(size_t count);

#define FILE_ANY_SIZE ((size_t)INT64_MAX) /* for file_read: texts and tables, as long as they fit into memory */

/* A read-only memory map. */
typedef struct file_map {
    const uint8_t *bytes;
    size_t count;
} file_map;
status file_map_open(file_map *m, const char *path);
void file_map_close(file_map *m);
/* These bytes of it were read and are not soon again: their pages need not stay in this process. What is read later is read
 * anew. */
void file_map_forget(const file_map *m, const void *from, size_t bytes);

/* Paths and folders. */
typedef enum path_kind { PATH_ABSENT, PATH_FILE, PATH_FOLDER, PATH_OTHER } path_kind;
/* What the path leads to. What cannot be known (a folder on the way is closed, the disk fails) is an error, not absence. */
status path_look(const char *path, path_kind *kind);
const char *path_describe(const char *path); /* "a file", "a folder", "a pipe", …, "nothing"; for messages */
bool path_exists(const char *path);          /* a link to nothing exists, too */
bool path_is_folder(const char *path);
bool path_holds(const char *folder, const char *name); /* folder/name exists */
bool path_leads_to(const char *path, int descriptor);  /* the open file, still */
char *path_join(const char *folder, const char *name); /* a new string; free() it */
char *path_plain(const char *path);                    /* without slashes at its end; a new string */
char *path_parent(const char *path);                   /* the folder that holds it; a new string */
const char *path_last(const char *path); /* what stands behind the last slash; all where that is nothing */
bool path_ends_with(const char *path, const char *ending); /* letter by letter; of any name */
status path_sync_parent(const char *path);                 /* make its names durable */
/* One path more in a list for a message, behind a comma; *list is a string of its own, NULL while there is none. */
void path_note(char **list, const char *folder, const char *name);
status folder_create(const char *path); /* with parents; an existing folder is fine */
/* Whether there is such a folder, or room for one: for those whose work before folder_create is long. Makes nothing. */
status folder_check(const char *path);
status folder_remove(const char *path);                        /* with all that is in it; an absent one is fine */
status folder_commit(const char *temporary, const char *path); /* fsync what is inside, rename; path must not exist */
/* The same for a path that is a folder, which has the name `temporary` afterwards: in one step where the file system can. */
status folder_exchange(const char *temporary, const char *path);
/* Where it cannot: three renames, undone if one fails. A kill in between leaves the old folder as TEMPORARY-old. */
status folder_exchange_in_steps(const char *temporary, const char *path);
/* Names (not paths) in a folder, sorted bytewise; free each and the array. */
status folder_list(const char *path, char ***names, size_t *count);
/* $XDG_CACHE_HOME/moec or ~/.cache/moec; a new string. */
char *cache_folder(void);
/* $XDG_STATE_HOME/moec or ~/.local/state/moec; a new string. */
char *state_folder(void);

uint64_t crc64(uint64_t crc, const void *bytes, size_t count); /* liblzma's CRC-64; start with 0 */
status file_crc64(const char *path, uint64_t *crc);            /* of a whole file */

#endif

/* The names under which files and folders are made until they are whole: PATH.tmp-PID, with a further number where that is
 * taken.
 *
 * Who writes a temporary file keeps it locked (flock), which ends with the process. So the next one that writes to PATH
 * can tell what a killed process left, on whatever machine that was, from what another is writing now. */
#ifndef MOEC_BASE_TEMPORARY_H
#define MOEC_BASE_TEMPORARY_H

#include "base/status.h"
#include <stdbool.h>

/* Whether `name` (no path) is that of something temporary in the place of `final`. */
bool temporary_is_of(const char *name, const char *final);
char *temporary_name(const char *path); /* PATH.tmp-PID; a new string */

/* A new, empty file for `path`, open for writing and locked. *temporary (a new string) is its path; NULL after a failure. */
status temporary_create(const char *path, char **temporary, int *descriptor);
/* Remove the temporary files for `path` that nobody holds. Only names are lost if that fails, so it does not. */
void temporary_clean(const char *path);

/* A folder that appears at its place when all of it is on the disk. */
typedef struct temporary_folder {
    char *place, *path; /* without slashes at the end; where it is to be filled */
    int descriptor;     /* which holds its lock */
} temporary_folder;
/* A new, empty folder. What killed processes left for the same place goes first, as far as nobody holds it. */
status temporary_folder_begin(temporary_folder *t, const char *place);
/* Nothing may be at the place. */
status temporary_folder_commit(temporary_folder *t);
/* After each begin: removes what was not committed; the last error's message stays. */
void temporary_folder_end(temporary_folder *t);

#endif

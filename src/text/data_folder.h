/* The folder that `moec data` makes. It is filled beside its place and takes it at the end, in one step; until then what
 * stood there is as it was. One process at a time makes a folder (a lock beside it, PATH.lock).
 *
 * Of an older folder in its place only the files that its data.json lists are removed; whatever else lies in it stays at PATH. */
#ifndef MOEC_TEXT_DATA_FOLDER_H
#define MOEC_TEXT_DATA_FOLDER_H

#include "base/lock.h"
#include "base/status.h"
#include <stdbool.h>

typedef struct data_folder {
    char *path, *temporary; /* its place; where it is to be filled */
    bool replace;           /* an older data folder may be there */
    char *kept;             /* after the commit: the paths, with commas, of what moec did not make; NULL: none */
    lock lock;
} data_folder;

/* Nothing, an empty folder or, with replace, a data folder must be at `path` (without a trailing slash): now, and again at
 * the commit. What killed processes left beside it goes. */
status data_folder_begin(data_folder *f, const char *path, bool replace);
status data_folder_commit(data_folder *f);
void data_folder_end(data_folder *f); /* after each begin: removes what was not committed */

#endif

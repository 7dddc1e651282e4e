/* One process at a time: a lock is a small file that its holder keeps locked (flock) and that says who that is. It ends with
 * the holder, however that ends: the file that a killed process leaves is not locked, and the next one takes it over. Where
 * a file system has no locks, nobody is refused. */
#ifndef MOEC_BASE_LOCK_H
#define MOEC_BASE_LOCK_H

#include "base/status.h"

typedef struct lock {
    char *path; /* NULL: not held */
    int descriptor;
} lock;

/* what: the holder in a word or two ("moec train"). A lock that another one holds is an error that says who, where and since
 * when. */
status lock_take(lock *l, const char *path, const char *what);
void lock_release(lock *l); /* removes the file; fine when it is not held */

#endif

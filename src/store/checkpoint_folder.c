#include "store/checkpoint_folder.h"

#include "base/file.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* N of "step-N", −1 for other names */
static int64_t step_of(const char *name) {
    char *end;
    if (strncmp(name, "step-", 5) != 0 || !name[5]) return -1;
    errno = 0;
    int64_t step = strtoll(name + 5, &end, 10);
    return *end || errno ? -1 : step;
}

static void free_names(char **names, size_t count) {
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
}

status checkpoint_newest(const char *folder, char **path) {
    char **names;
    size_t count;
    int64_t newest = -1;
    *path = NULL;
    TRY(folder_list(folder, &names, &count));
    for (size_t i = 0; i < count; i++) {
        if (step_of(names[i]) <= newest) continue;
        newest = step_of(names[i]);
        free(*path);
        *path = path_join(folder, names[i]);
    }
    free_names(names, count);
    return STATUS_OK;
}

/* ---- holding ---- */

static int open_folder(const char *path) {
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

status checkpoint_hold(const char *path, int *lock) {
    int fd = open_folder(path), error = errno;
    *lock = -1;
    if (fd < 0) return error == ENOENT ? STATUS_OK : fail("%s: cannot open: %s", path, strerror(error));
    /* A file system without locks still lets one read. It may have been renamed before the lock was taken. */
    bool locked = flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK;
    if (locked && path_leads_to(path, fd))
        *lock = fd;
    else
        close(fd);
    return STATUS_OK;
}

/* ---- removing ---- */

/* A folder loses its final name before its files go, so that a kill in between leaves nothing that looks whole. */
static status remove_checkpoint(const char *folder, const char *name) {
    char *path = path_join(folder, name), *partial = xasprintf("%s/" PARTIAL_PREFIX "old-%s", folder, name);
    status s = folder_remove(partial);
    if (s == STATUS_OK && rename(path, partial) != 0) s = fail("%s: cannot be removed: %s", path, strerror(errno));
    if (s == STATUS_OK) s = folder_remove(partial);
    free(partial);
    free(path);
    return s;
}

/* moec's own: a folder gets its name when everything in it is on the disk. */
static bool is_checkpoint(const char *folder, const char *name) {
    if (step_of(name) < 0) return false;
    char *manifest = xasprintf("%s/%s/" MANIFEST_FILE, folder, name);
    bool found = path_exists(manifest);
    free(manifest);
    return found;
}

static bool is_partial(const char *name) {
    return strncmp(name, PARTIAL_PREFIX, strlen(PARTIAL_PREFIX)) == 0;
}

static status remove_partial(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    status s = folder_remove(path);
    free(path);
    return s;
}

/* The lock is kept until the folder has lost its name: who waits for it then sees that it is gone. */
static status remove_unless_held(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    int fd = open_folder(path);
    free(path);
    bool held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    status s = held ? STATUS_OK : remove_checkpoint(folder, name);
    if (fd >= 0) close(fd);
    return s;
}

status checkpoint_put(const char *folder, const char *name, const char *partial) {
    char *path = path_join(folder, name);
    bool again = is_checkpoint(folder, name);
    status s = again ? folder_exchange(partial, path) : folder_commit(partial, path);
    if (s == STATUS_OK && again) s = folder_remove(partial);
    free(path);
    return s;
}

/* N of "partial-step-N-old" as "step-N", a new string; NULL for other names. folder_exchange_in_steps calls it so. */
static char *name_before_exchange(const char *name) {
    static const char end[] = "-old";
    const size_t length = strlen(name), around = strlen(PARTIAL_PREFIX) + strlen(end);
    if (!is_partial(name) || length <= around || strcmp(name + length - strlen(end), end) != 0) return NULL;
    char *inner = xstrdup(name + strlen(PARTIAL_PREFIX));
    inner[length - around] = '\0';
    if (step_of(inner) >= 0) return inner;
    free(inner);
    return NULL;
}

static status recover(const char *folder, const char *old, const char *name) {
    char *from = path_join(folder, old), *manifest = path_join(from, MANIFEST_FILE), *path = path_join(folder, name);
    status s = STATUS_OK;
    if (path_exists(manifest) && !path_exists(path)) s = folder_commit(from, path);
    free(path);
    free(manifest);
    free(from);
    return s;
}

status checkpoint_recover(const char *folder) {
    char **names;
    size_t count;
    if (!path_is_folder(folder)) return STATUS_OK;
    TRY(folder_list(folder, &names, &count));
    status s = STATUS_OK;
    for (size_t i = 0; i < count && s == STATUS_OK; i++) {
        char *name = name_before_exchange(names[i]);
        if (name) s = recover(folder, names[i], name);
        free(name);
    }
    free_names(names, count);
    return s;
}

/* ---- the best one ---- */

/* What `best` leads to; NULL: it is not there, or moec did not make it. A new string. */
static char *best_name(const char *folder) {
    char *link = path_join(folder, BEST_NAME), target[64];
    const ssize_t length = readlink(link, target, sizeof target - 1);
    free(link);
    if (length < 0) return NULL;
    target[length] = '\0';
    return step_of(target) >= 0 ? xstrdup(target) : NULL;
}

static status link_best(const char *folder, const char *name) {
    char *link = path_join(folder, BEST_NAME), *partial = xasprintf("%s/" PARTIAL_PREFIX BEST_NAME, folder);
    status s = STATUS_OK;
    unlink(partial);
    if (symlink(name, partial) != 0 || rename(partial, link) != 0) {
        s = fail("%s: cannot lead it to %s: %s", link, name, strerror(errno));
        unlink(partial);
    }
    free(partial);
    free(link);
    return s;
}

static status unlink_best(const char *folder) {
    char *name = best_name(folder), *link = path_join(folder, BEST_NAME);
    status s = STATUS_OK;
    if (name && unlink(link) != 0) s = fail("%s: cannot be removed: %s", link, strerror(errno));
    free(link);
    free(name);
    return s;
}

status checkpoint_mark_best(const char *folder, int64_t step, bool *found) {
    char *name = xasprintf(STEP_FORMAT, step);
    *found = step > 0 && is_checkpoint(folder, name);
    const status s = *found ? link_best(folder, name) : unlink_best(folder);
    free(name);
    return s;
}

static int by_step(const void *a, const void *b) {
    int64_t x = step_of(*(char *const *)a), y = step_of(*(char *const *)b);
    return (x > y) - (x < y);
}

/* By step's number: as text, 100000000 comes before 99999999. */
static status list_by_step(const char *folder, char ***names, size_t *count) {
    TRY(folder_list(folder, names, count));
    if (*count) qsort(*names, *count, sizeof **names, by_step);
    return STATUS_OK;
}

status checkpoint_steps(const char *folder, int64_t **steps, int *count) {
    char **names;
    size_t all;
    *steps = NULL;
    *count = 0;
    TRY(list_by_step(folder, &names, &all));
    for (size_t i = 0; i < all; i++) {
        if (!is_checkpoint(folder, names[i])) continue;
        *steps = xrealloc(*steps, (size_t)(*count + 1) * sizeof **steps);
        (*steps)[(*count)++] = step_of(names[i]);
    }
    free_names(names, all);
    return STATUS_OK;
}

status checkpoint_prune(const char *folder, int64_t keep) {
    char **names, *best = best_name(folder);
    size_t count;
    status s = list_by_step(folder, &names, &count);
    if (s != STATUS_OK) count = 0;
    int64_t surplus = -(keep > 0 ? keep : 1);
    for (size_t i = 0; i < count; i++) surplus += is_checkpoint(folder, names[i]);
    for (size_t i = 0; i < count && s == STATUS_OK; i++) {
        if (is_partial(names[i]))
            s = remove_partial(folder, names[i]);
        else if (is_checkpoint(folder, names[i]) && surplus-- > 0 && (!best || strcmp(names[i], best) != 0))
            s = remove_unless_held(folder, names[i]);
    }
    free_names(names, count);
    free(best);
    return s;
}

static status check_all(const char *folder, char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (step_of(names[i]) >= 0 && !is_checkpoint(folder, names[i]))
            return fail("%s/%s: expected a checkpoint with a " MANIFEST_FILE
                        " to remove, found none: move it away; nothing was removed",
                        folder, names[i]);
    return STATUS_OK;
}

status checkpoint_clear(const char *folder, char **kept) {
    char **names;
    size_t count;
    *kept = NULL;
    if (!path_is_folder(folder)) return STATUS_OK;
    TRY(list_by_step(folder, &names, &count));
    char *best = best_name(folder);
    status s = check_all(folder, names, count);
    for (size_t i = 0; i < count && s == STATUS_OK; i++) {
        if (is_partial(names[i]))
            s = remove_partial(folder, names[i]);
        else if (step_of(names[i]) >= 0)
            s = remove_checkpoint(folder, names[i]);
        else if (best && strcmp(names[i], BEST_NAME) == 0)
            s = unlink_best(folder);
        else
            path_note(kept, folder, names[i]);
    }
    free_names(names, count);
    free(best);
    return s;
}

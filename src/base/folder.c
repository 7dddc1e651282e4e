/* Paths and folders (file.h). */
#include "base/file.h"
#include "base/memory.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPEN_FOLDERS = 16 }; /* descriptors that a tree walk may hold */

bool path_exists(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0;
}

bool path_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *path_join(const char *folder, const char *name) {
    size_t length = strlen(folder);
    if (length == 0) return xstrdup(name);
    return xasprintf("%s%s%s", folder, folder[length - 1] == '/' ? "" : "/", name);
}

status folder_create(const char *path) {
    char *prefix = xstrdup(path);
    status s = STATUS_OK;
    for (size_t end = 1; s == STATUS_OK && path[0] && path[end - 1]; end++) {
        if (path[end] != '/' && path[end] != 0) continue; /* prefix grows by whole names */
        prefix[end] = 0;
        if (mkdir(prefix, 0777) != 0 && !path_is_folder(prefix))
            s = fail("%s: cannot create the folder: %s", prefix, strerror(errno));
        prefix[end] = path[end];
    }
    free(prefix);
    return s;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *position) {
    (void)info, (void)kind, (void)position;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

status folder_remove(const char *path) {
    if (!path_exists(path)) return STATUS_OK;
    if (nftw(path, remove_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) == 0) return STATUS_OK;
    return fail("%s: cannot remove the folder: %s", path, strerror(errno));
}

static int sync_path(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = fsync(fd) == 0 || errno == EINVAL ? 0 : -1;
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

static int sync_one(const char *path, const struct stat *info, int kind, struct FTW *position) {
    (void)info, (void)position;
    return kind == FTW_F || kind == FTW_DP ? sync_path(path) : 0;
}

/* The folder that holds `path`, which may end in '/'. */
static char *parent_of(const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    while (length > 0 && path[length - 1] != '/') length--;
    while (length > 1 && path[length - 1] == '/') length--;
    return length ? xasprintf("%.*s", (int)length, path) : xstrdup(".");
}

status folder_commit(const char *temporary, const char *path) {
    if (path_exists(path)) return fail("%s: exists already", path);
    if (nftw(temporary, sync_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) != 0)
        return fail("%s: cannot sync: %s", temporary, strerror(errno));
    if (rename(temporary, path) != 0) return fail("%s: cannot rename %s to it: %s", path, temporary, strerror(errno));
    char *parent = parent_of(path);
    status s = sync_path(parent) == 0 ? STATUS_OK : fail("%s: cannot sync: %s", parent, strerror(errno));
    free(parent);
    return s;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

status folder_list(const char *path, char ***names, size_t *count) {
    *names = NULL;
    *count = 0;
    DIR *folder = opendir(path);
    if (!folder) return fail("%s: cannot list: %s", path, strerror(errno));
    char **list = NULL;
    size_t used = 0, capacity = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (used == capacity) list = xrealloc(list, (capacity = capacity ? 2 * capacity : 16) * sizeof *list);
        list[used++] = xstrdup(entry->d_name);
    }
    closedir(folder);
    if (used) qsort(list, used, sizeof *list, by_bytes);
    *names = list;
    *count = used;
    return STATUS_OK;
}

char *cache_folder(void) {
    const char *base = getenv("XDG_CACHE_HOME");
    if (base && *base == '/') return path_join(base, "moec"); /* the standard ignores relative paths */
    const char *home = getenv("HOME");
    if (!home || !*home) {
        const struct passwd *user = getpwuid(getuid());
        home = user ? user->pw_dir : "/tmp";
    }
    return path_join(home, ".cache/moec");
}

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

status path_look(const char *path, path_kind *kind) {
    struct stat info;
    *kind = PATH_ABSENT;
    if (stat(path, &info) != 0)
        return errno == ENOENT ? STATUS_OK : fail("%s: cannot be looked at: %s", path, strerror(errno));
    *kind = S_ISREG(info.st_mode) ? PATH_FILE : S_ISDIR(info.st_mode) ? PATH_FOLDER : PATH_OTHER;
    return STATUS_OK;
}

const char *path_describe(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) return "nothing";
    switch (info.st_mode & S_IFMT) {
    case S_IFREG:
        return "a file";
    case S_IFDIR:
        return "a folder";
    case S_IFIFO:
        return "a pipe";
    case S_IFSOCK:
        return "a socket";
    default:
        return "a device";
    }
}

bool path_exists(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0;
}

bool path_holds(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    const bool found = path_exists(path);
    free(path);
    return found;
}

bool path_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool path_leads_to(const char *path, int descriptor) {
    struct stat open, named;
    return fstat(descriptor, &open) == 0 && stat(path, &named) == 0 && open.st_ino == named.st_ino &&
           open.st_dev == named.st_dev;
}

char *path_join(const char *folder, const char *name) {
    size_t length = strlen(folder);
    if (length == 0) return xstrdup(name);
    return xasprintf("%s%s%s", folder, folder[length - 1] == '/' ? "" : "/", name);
}

void path_note(char **list, const char *folder, const char *name) {
    char *longer = xasprintf("%s%s%s/%s", *list ? *list : "", *list ? ", " : "", folder, name);
    free(*list);
    *list = longer;
}

char *path_plain(const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    return xasprintf("%.*s", (int)length, path);
}

/* `path` may end in '/'. */
char *path_parent(const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    while (length > 0 && path[length - 1] != '/') length--;
    while (length > 1 && path[length - 1] == '/') length--;
    return length ? xasprintf("%.*s", (int)length, path) : xstrdup(".");
}

const char *path_last(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

bool path_ends_with(const char *path, const char *ending) {
    const size_t length = strlen(path), tail = strlen(ending);
    return length >= tail && strcmp(path + length - tail, ending) == 0;
}

/* Of the path that mkdir failed at: why it is no folder. */
static status cannot_create(const char *path, int error) {
    if (error != EEXIST) return fail("%s: cannot create the folder: %s", path, strerror(error));
    return fail("%s: expected a folder, found %s", path, path_describe(path));
}

static status without_name(void) {
    return fail_usage("expected the name of a folder, found an empty one");
}

/* The folder itself, or the nearest one above it that there is. */
static status check_existing(const char *path) {
    struct stat info;
    if (stat(path, &info) == 0) {
        if (!S_ISDIR(info.st_mode)) return cannot_create(path, EEXIST);
        return access(path, W_OK | X_OK) == 0 ? STATUS_OK : fail("%s: cannot write there: %s", path, strerror(errno));
    }
    if ((errno != ENOENT && errno != ENOTDIR) || strcmp(path, ".") == 0) return cannot_create(path, errno);
    char *parent = path_parent(path);
    const status s = check_existing(parent);
    free(parent);
    return s;
}

status folder_check(const char *path) {
    return path[0] ? check_existing(path) : without_name();
}

status folder_create(const char *path) {
    if (!path[0]) return without_name();
    char *prefix = xstrdup(path);
    status s = STATUS_OK;
    for (size_t end = 1; s == STATUS_OK && path[0] && path[end - 1]; end++) {
        if (path[end] != '/' && path[end] != 0) continue; /* prefix grows by whole names */
        prefix[end] = 0;
        if (mkdir(prefix, 0777) != 0) {
            int error = errno; /* path_is_folder sets another */
            if (!path_is_folder(prefix)) s = cannot_create(prefix, error);
        }
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

static status sync_tree(const char *folder) {
    if (nftw(folder, sync_one, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) == 0) return STATUS_OK;
    return fail("%s: cannot sync: %s", folder, strerror(errno));
}

status path_sync_parent(const char *path) {
    char *parent = path_parent(path);
    status s = sync_path(parent) == 0 ? STATUS_OK : fail("%s: cannot sync the folder: %s", parent, strerror(errno));
    free(parent);
    return s;
}

static status cannot_rename(const char *from, const char *to) {
    return fail("%s: cannot rename %s to it: %s", to, from, strerror(errno));
}

status folder_commit(const char *temporary, const char *path) {
    if (path_exists(path)) return fail("%s: exists already", path);
    TRY(sync_tree(temporary));
    if (rename(temporary, path) != 0) return cannot_rename(temporary, path);
    return path_sync_parent(path);
}

status folder_exchange_in_steps(const char *temporary, const char *path) {
    char *old = xasprintf("%s-old", temporary);
    status s = STATUS_OK;
    if (rename(path, old) != 0)
        s = cannot_rename(path, old);
    else if (rename(temporary, path) != 0) {
        s = cannot_rename(temporary, path);
        if (rename(old, path) != 0) s = fail_in(s, "%s: it is now %s", path, old);
    } else if (rename(old, temporary) != 0)
        s = cannot_rename(old, temporary);
    free(old);
    return s;
}

status folder_exchange(const char *temporary, const char *path) {
    TRY(sync_tree(temporary));
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_EXCHANGE) != 0) {
        if (errno != EINVAL && errno != ENOSYS) return cannot_rename(temporary, path);
        TRY(folder_exchange_in_steps(temporary, path));
    }
    return path_sync_parent(path);
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

/* The XDG base directory that `variable` names, or `usual` in the home folder. */
static char *user_folder(const char *variable, const char *usual) {
    const char *base = getenv(variable);
    if (base && *base == '/') return path_join(base, "moec"); /* the standard ignores relative paths */
    const char *home = getenv("HOME");
    if (!home || !*home) {
        const struct passwd *user = getpwuid(getuid());
        home = user ? user->pw_dir : "/tmp";
    }
    return path_join(home, usual);
}

char *cache_folder(void) {
    return user_folder("XDG_CACHE_HOME", ".cache/moec");
}

char *state_folder(void) {
    return user_folder("XDG_STATE_HOME", ".local/state/moec");
}

#include "base/temporary.h"
#include "base/file.h"
#include "base/memory.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MARK[] = ".tmp-";
enum { CREATE_TRIES = 100 };

/* Behind the digits; NULL where there are none. */
static const char *skip_number(const char *text) {
    size_t digits = strspn(text, "0123456789");
    return digits ? text + digits : NULL;
}

bool temporary_is_of(const char *name, const char *final) {
    size_t length = strlen(final);
    if (strncmp(name, final, length) != 0 || strncmp(name + length, MARK, sizeof MARK - 1) != 0) return false;
    const char *rest = skip_number(name + length + sizeof MARK - 1);
    if (rest && *rest == '-') rest = skip_number(rest + 1);
    return rest && *rest == '\0';
}

char *temporary_name(const char *path) {
    return xasprintf("%s%s%ld", path, MARK, (long)getpid());
}

/* Whether the open file or folder is the caller's alone now. A file system without locks has nobody who cleans up either. */
static bool take(int descriptor, const char *temporary) {
    bool locked = flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
    return locked && path_leads_to(temporary, descriptor);
}

/* -1 and errno: it cannot be made. */
static int open_new(const char *name, bool folder) {
    if (!folder) return open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return mkdir(name, 0777) == 0 ? open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

/* The name may be taken: by another thread, by a process with the same number on another machine, or by what one left that
 * cannot be removed; and between its creation and its lock somebody may clean the new one up. */
static status create(const char *path, bool folder, char **temporary, int *descriptor) {
    char *first = temporary_name(path);
    int error = EEXIST;
    *temporary = NULL;
    *descriptor = -1;
    for (int i = 0; i < CREATE_TRIES && error == EEXIST && *descriptor < 0; i++) {
        char *name = i == 0 ? xstrdup(first) : xasprintf("%s-%d", first, i);
        const int fd = open_new(name, folder);
        if (fd < 0) {
            error = errno;
        } else if (take(fd, name)) {
            *descriptor = fd;
            *temporary = name;
            continue;
        } else {
            close(fd);
        }
        free(name);
    }
    free(first);
    return *descriptor >= 0 ? STATUS_OK : fail("%s: cannot create: %s", path, strerror(error));
}

status temporary_create(const char *path, char **temporary, int *descriptor) {
    return create(path, false, temporary, descriptor);
}

/* ---- what killed processes left ---- */

/* The lock is tried on what was opened: a living writer has it. */
static void remove_unless_held(const char *temporary, bool folder) {
    int fd = open(temporary, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | (folder ? O_DIRECTORY : 0));
    if (fd < 0) return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && path_leads_to(temporary, fd)) {
        if (folder)
            (void)folder_remove(temporary);
        else
            unlink(temporary);
    }
    close(fd);
}

static void clean(const char *path, bool folders) {
    const char *final = path_last(path);
    char *parent = path_parent(path);
    DIR *list = opendir(parent);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        if (!temporary_is_of(entry->d_name, final)) continue;
        char *temporary = path_join(parent, entry->d_name);
        remove_unless_held(temporary, folders);
        free(temporary);
    }
    if (list) closedir(list);
    free(parent);
}

void temporary_clean(const char *path) {
    clean(path, false);
}

/* ---- folders ---- */

status temporary_folder_begin(temporary_folder *t, const char *place) {
    *t = (temporary_folder){.place = path_plain(place), .descriptor = -1};
    char *parent = path_parent(t->place);
    status s = folder_create(parent);
    free(parent);
    clean(t->place, true);
    if (s == STATUS_OK) s = create(t->place, true, &t->path, &t->descriptor);
    return s;
}

status temporary_folder_commit(temporary_folder *t) {
    TRY(folder_commit(t->path, t->place));
    free(t->path);
    t->path = NULL;
    return STATUS_OK;
}

void temporary_folder_end(temporary_folder *t) {
    if (t->path) {
        char *message = xstrdup(error_message());
        (void)folder_remove(t->path);
        (void)fail("%s", message);
        free(message);
    }
    if (t->descriptor >= 0) close(t->descriptor);
    free(t->path);
    free(t->place);
    *t = (temporary_folder){.descriptor = -1};
}

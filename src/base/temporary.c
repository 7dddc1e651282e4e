#include "base/temporary.h"
#include "base/file.h"
#include "base/memory.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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

/* Whether the open file is the caller's alone now. A file system without locks has nobody who cleans up either. */
static bool take(int descriptor, const char *temporary) {
    bool locked = flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
    return locked && path_leads_to(temporary, descriptor);
}

/* The name may be taken: by another thread, by a process with the same number on another machine, or by what one left that
 * cannot be removed; and between its creation and its lock somebody may clean the new file up. */
status temporary_create(const char *path, char **temporary, int *descriptor) {
    char *first = temporary_name(path);
    int error = EEXIST;
    *temporary = NULL;
    *descriptor = -1;
    for (int i = 0; i < CREATE_TRIES && error == EEXIST && *descriptor < 0; i++) {
        char *name = i == 0 ? xstrdup(first) : xasprintf("%s-%d", first, i);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
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

/* The lock is tried on the open file: a living writer has it. */
static void remove_unless_held(const char *temporary) {
    int fd = open(temporary, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && path_leads_to(temporary, fd)) unlink(temporary);
    close(fd);
}

void temporary_clean(const char *path) {
    const char *slash = strrchr(path, '/'), *final = slash ? slash + 1 : path;
    char *parent = path_parent(path);
    DIR *folder = opendir(parent);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (!temporary_is_of(entry->d_name, final)) continue;
        char *temporary = path_join(parent, entry->d_name);
        remove_unless_held(temporary);
        free(temporary);
    }
    if (folder) closedir(folder);
    free(parent);
}

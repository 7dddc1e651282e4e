#include "base/lock.h"
#include "base/file.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { TAKE_TRIES = 100, HOLDER_BYTES = 256 };

/* "moec train, process 4711 on seven, since 2026-07-31 14:00:12 UTC" */
static void write_holder(int descriptor, const char *what) {
    char host[64] = "", since[32], text[HOLDER_BYTES];
    time_t now = time(NULL);
    struct tm utc;
    gethostname(host, sizeof host - 1);
    strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
    int length = snprintf(text, sizeof text, "%s, process %ld on %s, since %s\n", what, (long)getpid(), host, since);
    /* On a full disk the lock holds all the same; it only cannot say whose it is. */
    if (ftruncate(descriptor, 0) == 0 && pwrite(descriptor, text, (size_t)length, 0) < length)
        (void)!ftruncate(descriptor, 0);
}

static status refuse(const char *path, int descriptor) {
    char text[HOLDER_BYTES] = "";
    ssize_t length = pread(descriptor, text, sizeof text - 1, 0);
    text[length > 0 ? strcspn(text, "\n") : 0] = '\0';
    return fail("%s: held by %s", path, *text ? text : "another process");
}

/* The holder removes the file when it is done: what was locked then is no longer what others will find there. */
status lock_take(lock *l, const char *path, const char *what) {
    *l = (lock){.descriptor = -1};
    for (int i = 0; i < TAKE_TRIES; i++) {
        int fd;
        TRY(file_open(path, O_RDWR | O_CREAT, &fd));
        bool held = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        if (!held && path_leads_to(path, fd)) {
            *l = (lock){.path = xstrdup(path), .descriptor = fd};
            write_holder(fd, what);
            return STATUS_OK;
        }
        status s = held && path_leads_to(path, fd) ? refuse(path, fd) : STATUS_OK;
        close(fd);
        TRY(s);
    }
    return fail("%s: it changes hands too fast to be taken", path);
}

void lock_release(lock *l) {
    if (!l->path) return;
    unlink(l->path);
    close(l->descriptor);
    free(l->path);
    *l = (lock){.descriptor = -1};
}

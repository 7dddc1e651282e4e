/* Writing files that are whole or absent (file.h). */
#include "base/file.h"
#include "base/memory.h"
#include "base/temporary.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- fault injection: MOEC_FAIL_WRITE_AFTER (file.h) ---- */

static pthread_once_t budget_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t budget_lock = PTHREAD_MUTEX_INITIALIZER;
static bool budget_limited;
static uint64_t budget_left;

static void read_budget(void) {
    const char *text = getenv("MOEC_FAIL_WRITE_AFTER");
    budget_limited = text && *text;
    if (budget_limited) budget_left = strtoull(text, NULL, 10);
}

size_t file_write_budget(size_t count) {
    pthread_once(&budget_once, read_budget);
    if (!budget_limited) return count;
    pthread_mutex_lock(&budget_lock);
    size_t taken = count < budget_left ? count : (size_t)budget_left;
    budget_left -= taken;
    pthread_mutex_unlock(&budget_lock);
    return taken;
}

/* ---- writing ---- */

static void release(file_writer *w) {
    free(w->path);
    free(w->temporary);
    *w = (file_writer){0};
}

status file_create(file_writer *w, const char *path) {
    path_kind kind;
    int fd;
    *w = (file_writer){0};
    if (*path == '\0') return fail("expected the name of a file to write, found an empty one");
    TRY(path_look(path, &kind));
    /* Renaming would put a file in the place of a device: as root, of /dev/null. */
    if (kind != PATH_ABSENT && kind != PATH_FILE)
        return fail("%s: expected a file to replace or nothing, found %s", path, path_describe(path));
    temporary_clean(path);
    TRY(temporary_create(path, &w->temporary, &fd));
    w->path = xstrdup(path);
    w->stream = fdopen(fd, "wb");
    if (w->stream) return STATUS_OK;
    status s = fail("%s: cannot create: %s", path, strerror(errno));
    close(fd);
    file_abandon(w);
    return s;
}

void file_write(file_writer *w, const void *bytes, size_t count) {
    if (w->failed || count == 0) return;
    size_t allowed = file_write_budget(count);
    size_t written = fwrite(bytes, 1, allowed, w->stream);
    w->crc = crc64(w->crc, bytes, written);
    w->bytes += written;
    if (written == count) return;
    w->failed = true;
    w->error = written < allowed ? errno : ENOSPC;
}

/* All bytes on the disk; 0 or an errno. */
static int flush(file_writer *w) {
    if (w->failed) return w->error;
    if (fflush(w->stream) != 0) return errno;
    return fsync(fileno(w->stream)) != 0 && errno != EINVAL ? errno : 0;
}

/* The file is closed, and with that unlocked, when it has its final name. */
status file_commit(file_writer *w) {
    int error = flush(w);
    status s = STATUS_OK;
    if (error)
        s = fail("%s: cannot write beyond byte %llu: %s", w->path, (unsigned long long)w->bytes, strerror(error));
    else if (rename(w->temporary, w->path) != 0)
        s = fail("%s: cannot rename %s to it: %s", w->path, w->temporary, strerror(errno));
    if (s != STATUS_OK) {
        file_abandon(w);
        return s;
    }
    fclose(w->stream);
    s = path_sync_parent(w->path);
    release(w);
    return s;
}

void file_abandon(file_writer *w) {
    if (w->stream) fclose(w->stream);
    if (w->temporary) unlink(w->temporary);
    release(w);
}

status file_write_whole(const char *path, const void *bytes, size_t count) {
    file_writer w;
    TRY(file_create(&w, path));
    file_write(&w, bytes, count);
    return file_commit(&w);
}

/* ---- appending ---- */

/* 0 or an errno */
static int append(int fd, const void *bytes, size_t count) {
    size_t allowed = file_write_budget(count);
    ssize_t written = write(fd, bytes, allowed);
    if (written < 0) return errno;
    if ((size_t)written < count) return ENOSPC;
    return fsync(fd) != 0 && errno != EINVAL ? errno : 0;
}

status file_append(const char *path, const void *bytes, size_t count) {
    int fd;
    TRY(file_open(path, O_WRONLY | O_CREAT | O_APPEND, &fd));
    off_t before = lseek(fd, 0, SEEK_END);
    int error = before < 0 ? errno : append(fd, bytes, count);
    status s = error ? fail("%s: cannot write: %s", path, strerror(error)) : STATUS_OK;
    if (error && before >= 0 && ftruncate(fd, before) != 0)
        s = fail_in(s, "%s: cut what was written of it off at byte %lld", path, (long long)before);
    close(fd);
    if (s == STATUS_OK && before == 0) s = path_sync_parent(path); /* the name may be new, too */
    return s;
}

status file_write_at(const char *path, int64_t offset, const void *bytes, size_t count) {
    int fd;
    TRY(file_open(path, O_WRONLY, &fd));
    const int error = lseek(fd, offset, SEEK_SET) < 0 ? errno : append(fd, bytes, count);
    close(fd);
    return error ? fail("%s: cannot write at byte %lld: %s", path, (long long)offset, strerror(error)) : STATUS_OK;
}

#include "base/file.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t crc64(uint64_t crc, const void *bytes, size_t count) {
    return lzma_crc64(bytes, count, crc);
}

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

/* How many of `count` bytes the pretended disk still takes. */
static size_t within_budget(size_t count) {
    pthread_once(&budget_once, read_budget);
    if (!budget_limited) return count;
    pthread_mutex_lock(&budget_lock);
    size_t taken = count < budget_left ? count : (size_t)budget_left;
    budget_left -= taken;
    pthread_mutex_unlock(&budget_lock);
    return taken;
}

/* ---- writing ---- */

/* Makes the names in the folder that holds `path` durable. A file system without fsync on folders answers EINVAL. */
static status sync_parent(const char *path) {
    const char *slash = strrchr(path, '/');
    char *parent = !slash ? xstrdup(".") : slash == path ? xstrdup("/") : xasprintf("%.*s", (int)(slash - path), path);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    status s = STATUS_OK;
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        s = fail("%s: cannot sync the folder: %s", parent, strerror(errno));
    if (fd >= 0) close(fd);
    free(parent);
    return s;
}

static void release(file_writer *w) {
    free(w->path);
    free(w->temporary);
    *w = (file_writer){0};
}

static const char *kind_of(mode_t mode) {
    return S_ISDIR(mode) ? "a folder" : S_ISREG(mode) ? "a file" : "a device or pipe";
}

status file_create(file_writer *w, const char *path) {
    struct stat info;
    *w = (file_writer){0};
    if (*path == '\0') return fail("expected the name of a file to write, found an empty one");
    /* Renaming would put a file in the place of a device: as root, of /dev/null. */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return fail("%s: expected a file to replace or nothing, found %s", path, kind_of(info.st_mode));
    *w = (file_writer){.path = xstrdup(path), .temporary = xasprintf("%s.tmp-%ld", path, (long)getpid())};
    w->stream = fopen(w->temporary, "wbe");
    if (w->stream) return STATUS_OK;
    status s = fail("%s: cannot create: %s", path, strerror(errno));
    release(w);
    return s;
}

void file_write(file_writer *w, const void *bytes, size_t count) {
    if (w->failed || count == 0) return;
    size_t allowed = within_budget(count);
    size_t written = fwrite(bytes, 1, allowed, w->stream);
    w->crc = crc64(w->crc, bytes, written);
    w->bytes += written;
    if (written == count) return;
    w->failed = true;
    w->error = written < allowed ? errno : ENOSPC;
}

/* Everything up to the rename; returns 0 or an errno. Always closes the stream. */
static int finish_stream(file_writer *w) {
    int error = w->failed ? w->error : 0;
    if (!error && fflush(w->stream) != 0) error = errno;
    if (!error && fsync(fileno(w->stream)) != 0 && errno != EINVAL) error = errno;
    if (fclose(w->stream) != 0 && !error) error = errno;
    w->stream = NULL;
    return error;
}

status file_commit(file_writer *w) {
    uint64_t bytes = w->bytes;
    int error = finish_stream(w);
    status s = STATUS_OK;
    if (error) {
        s = fail("%s: cannot write beyond byte %llu: %s", w->path, (unsigned long long)bytes, strerror(error));
    } else if (rename(w->temporary, w->path) != 0) {
        s = fail("%s: cannot rename %s to it: %s", w->path, w->temporary, strerror(errno));
    } else {
        s = sync_parent(w->path);
        release(w);
        return s;
    }
    unlink(w->temporary);
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

/* ---- reading ---- */

/* Reads until the end rather than by the file's size, so that pipes work too. */
status file_read(const char *path, uint8_t **bytes, size_t *count) {
    *bytes = NULL;
    *count = 0;
    FILE *stream = fopen(path, "rbe");
    if (!stream) return fail("%s: cannot open: %s", path, strerror(errno));
    size_t capacity = 1 << 16, used = 0, got;
    uint8_t *buffer = xmalloc(capacity);
    while ((got = fread(buffer + used, 1, capacity - used - 1, stream)) > 0) {
        used += got;
        if (used + 1 == capacity) buffer = xrealloc(buffer, capacity *= 2);
    }
    int error = ferror(stream) ? errno : 0;
    fclose(stream);
    if (error) {
        free(buffer);
        return fail("%s: cannot read: %s", path, strerror(error));
    }
    buffer[used] = 0;
    *bytes = buffer;
    *count = used;
    return STATUS_OK;
}

status file_map_open(file_map *m, const char *path) {
    *m = (file_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail("%s: cannot open: %s", path, strerror(errno));
    struct stat info;
    status s = STATUS_OK;
    if (fstat(fd, &info) != 0) {
        s = fail("%s: cannot read its size: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        s = fail("%s: expected a regular file, found %s", path, kind_of(info.st_mode));
    } else if (info.st_size > 0) { /* a map of no bytes does not exist: bytes stays NULL */
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED)
            s = fail("%s: cannot map: %s", path, strerror(errno));
        else
            *m = (file_map){.bytes = bytes, .count = (size_t)info.st_size};
    }
    close(fd);
    return s;
}

void file_map_close(file_map *m) {
    if (m->bytes) munmap((void *)m->bytes, m->count);
    *m = (file_map){0};
}

status file_crc64(const char *path, uint64_t *crc) {
    file_map map;
    TRY(file_map_open(&map, path));
    *crc = crc64(0, map.bytes, map.count);
    file_map_close(&map);
    return STATUS_OK;
}

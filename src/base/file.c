/* Files that are there: opening, reading, mapping (file.h). */
#include "base/file.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t crc64(uint64_t crc, const void *bytes, size_t count) {
    return lzma_crc64(bytes, count, crc);
}

/* Opening a pipe waits for its other end and opening some devices does something: O_NONBLOCK and O_NOCTTY prevent both until
 * fstat has told what it is. What cannot even be opened (a socket, a folder to be written) is named by its kind, too. */
status file_open(const char *path, int flags, int *descriptor) {
    struct stat info;
    int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666), error = errno;
    bool regular = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    *descriptor = regular ? fd : -1;
    if (regular) return STATUS_OK;
    if (fd >= 0) close(fd);
    if (fd >= 0 || (stat(path, &info) == 0 && !S_ISREG(info.st_mode)))
        return fail("%s: expected a regular file, found %s", path, path_describe(path));
    return fail("%s: cannot open: %s", path, strerror(error));
}

status file_open_stream(const char *path, int flags, const char *mode, FILE **stream) {
    int fd;
    *stream = NULL;
    TRY(file_open(path, flags, &fd));
    *stream = fdopen(fd, mode);
    if (*stream) return STATUS_OK;
    status s = fail("%s: cannot open: %s", path, strerror(errno));
    close(fd);
    return s;
}

/* ---- reading ---- */

enum { SPARE_BYTES = 1 << 12 }; /* so that a file of the expected size is read without growing the buffer */

static status refuse_size(const char *path, size_t most, size_t found) {
    return fail("%s: expected at most %zu bytes, found %zu", path, most, found);
}

/* Until the end and not by the size, which files in /proc say is 0. */
static status read_all(const char *path, int fd, size_t expected, size_t most, uint8_t **bytes, size_t *count) {
    size_t capacity = expected + SPARE_BYTES, used = 0;
    uint8_t *buffer = NULL;
    ssize_t got = 1;
    for (; got > 0 && used <= most; used += got > 0 ? (size_t)got : 0) {
        if (used + 1 >= capacity) capacity *= 2;
        uint8_t *larger = capacity <= memory_of_machine() ? realloc(buffer, capacity) : NULL;
        if (!larger) {
            free(buffer);
            return fail("%s: no memory for %zu bytes", path, capacity);
        }
        buffer = larger;
        got = read(fd, buffer + used, capacity - used - 1);
    }
    if (got < 0 || used > most) {
        status s = got < 0 ? fail("%s: cannot read: %s", path, strerror(errno)) : refuse_size(path, most, used);
        free(buffer);
        return s;
    }
    buffer[used] = 0;
    *bytes = buffer;
    *count = used;
    return STATUS_OK;
}

status file_read(const char *path, size_t most, uint8_t **bytes, size_t *count) {
    struct stat info;
    int fd;
    *bytes = NULL;
    *count = 0;
    TRY(file_open(path, O_RDONLY, &fd));
    status s = STATUS_OK;
    if (fstat(fd, &info) != 0)
        s = fail("%s: cannot read its size: %s", path, strerror(errno));
    else if ((uint64_t)info.st_size > most)
        s = refuse_size(path, most, (size_t)info.st_size);
    else
        s = read_all(path, fd, (size_t)info.st_size, most, bytes, count);
    close(fd);
    return s;
}

status file_map_open(file_map *m, const char *path) {
    struct stat info;
    int fd;
    *m = (file_map){0};
    TRY(file_open(path, O_RDONLY, &fd));
    status s = STATUS_OK;
    if (fstat(fd, &info) != 0) {
        s = fail("%s: cannot read its size: %s", path, strerror(errno));
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

/* A page that is read brings the pages around it that the system has at hand, as a rule so many bytes; they come again, too. */
enum { FAULT_AROUND = 64 << 10 };

void file_map_forget(const file_map *m, const void *from, size_t bytes) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)from, map = (uintptr_t)m->bytes;
    if (!m->bytes || at < map || bytes > m->count || at - map > m->count - bytes) return;
    const uintptr_t before = at - map < FAULT_AROUND ? at - map : FAULT_AROUND, first = (at - before) / page * page;
    const size_t left = m->count - (at - map) - bytes, after = left < FAULT_AROUND ? left : FAULT_AROUND;
    if (bytes) madvise((void *)first, at + bytes + after - first, MADV_DONTNEED); /* a hint */
}

void file_map_close(file_map *m) {
    if (m->bytes) munmap((void *)m->bytes, m->count);
    *m = (file_map){0};
}

enum { PIECE_BYTES = 4 << 20 }; /* so that a file is never in memory as a whole */

status file_crc64(const char *path, uint64_t *crc) {
    file_map map;
    TRY(file_map_open(&map, path));
    *crc = 0;
    for (size_t at = 0; at < map.count; at += PIECE_BYTES) {
        const size_t bytes = map.count - at < PIECE_BYTES ? map.count - at : PIECE_BYTES;
        *crc = crc64(*crc, map.bytes + at, bytes);
        file_map_forget(&map, map.bytes + at, bytes);
    }
    file_map_close(&map);
    return STATUS_OK;
}

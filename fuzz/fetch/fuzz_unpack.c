/* Any bytes as a packed file: refused, or lines that add up to no more than a bomb may have. */
#include "fetch/unpack.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void require(bool condition) {
    if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    static int fd = -1;
    char path[64], *line = NULL;
    size_t length, total = 0;
    unpacker *u;
    if (fd < 0) fd = memfd_create("fuzz", 0);
    require(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, bytes, count, 0) == (ssize_t)count);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    status s = unpack_open(&u, path);
    while (s == STATUS_OK) {
        s = unpack_line(u, &line, &length);
        if (s != STATUS_OK || !line) break;
        require(line[length] == '\0' && !memchr(line, '\n', length));
        total += length;
    }
    require(total <= (size_t)UNPACK_FREE_BYTES + count * UNPACK_MAX_RATIO + (1 << 17));
    unpack_close(u);
    return 0;
}

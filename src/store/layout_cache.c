#include "store/layout_cache.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/temporary.h"
#include "store/layout_head.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- which model ---- */

enum { END_BYTES = 64 << 10, BLOCK_BYTES = 4 << 10, BLOCKS = 64, WHOLE_BYTES = 2 * END_BYTES + BLOCKS * BLOCK_BYTES };

static status add_bytes(uint64_t *crc, int fd, off_t at, size_t bytes, const char *path) {
    uint8_t buffer[BLOCK_BYTES];
    for (size_t done = 0; done < bytes;) {
        const size_t part = bytes - done < sizeof buffer ? bytes - done : sizeof buffer;
        const ssize_t got = pread(fd, buffer, part, at + (off_t)done);
        if (got <= 0) return fail("%s: cannot read: %s", path, got < 0 ? strerror(errno) : "it became shorter");
        *crc = crc64(*crc, buffer, (size_t)got);
        done += (size_t)got;
    }
    return STATUS_OK;
}

static status add_samples(uint64_t *crc, int fd, off_t size, const char *path) {
    if (size <= WHOLE_BYTES) return add_bytes(crc, fd, 0, (size_t)size, path);
    const off_t between = size - 2 * END_BYTES;
    TRY(add_bytes(crc, fd, 0, END_BYTES, path));
    for (int i = 0; i < BLOCKS; i++) TRY(add_bytes(crc, fd, END_BYTES + between / BLOCKS * i, BLOCK_BYTES, path));
    return add_bytes(crc, fd, size - END_BYTES, END_BYTES, path);
}

static status add_file(uint64_t *crc, const char *path, const char *name) {
    struct stat info;
    int fd;
    TRY(file_open(path, O_RDONLY, &fd));
    status s = fstat(fd, &info) == 0 ? STATUS_OK : fail("%s: cannot be looked at: %s", path, strerror(errno));
    if (s == STATUS_OK) {
        const int64_t facts[] = {info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
        *crc = crc64(*crc, name, strlen(name) + 1);
        *crc = crc64(*crc, facts, sizeof facts);
        s = add_samples(crc, fd, info.st_size, path);
    }
    close(fd);
    return s;
}

static status add_folder(uint64_t *crc, const char *folder) {
    char **names;
    size_t count;
    TRY(folder_list(folder, &names, &count));
    status s = STATUS_OK;
    for (size_t i = 0; i < count; i++) {
        char *path = path_join(folder, names[i]);
        if (s == STATUS_OK && (path_ends_with(names[i], ".json") || path_ends_with(names[i], ".safetensors")))
            s = add_file(crc, path, names[i]);
        free(path);
        free(names[i]);
    }
    free(names);
    return s;
}

/* ---- names ---- */

enum { HEX = 16, NAME_BYTES = 3 * HEX + 2 };

/* "0123456789abcdef-0123456789abcdef-0123456789abcdef.v1"; false: nothing of ours. */
static bool is_name(const char *name, size_t length) {
    if (length < NAME_BYTES + 3 || name[NAME_BYTES] != '.' || name[NAME_BYTES + 1] != 'v') return false;
    for (int i = 0; i < NAME_BYTES; i++)
        if (i % (HEX + 1) == HEX ? name[i] != '-' : !strchr("0123456789abcdef", name[i])) return false;
    for (size_t i = NAME_BYTES + 2; i < length; i++)
        if (!isdigit((unsigned char)name[i])) return false;
    return true;
}

static char *form_text(const char *which, const kernels *k, model_use use) {
    static const char *const bits[] = {[MODEL_RUN_STORED] = "stored", [MODEL_RUN_8] = "8", [MODEL_RUN_4] = "4"};
    return xasprintf("moec %s, %s, %s, activations %s, --run-bits %s --run-inputs %d, %s weights", MOEC_VERSION,
                     k->name, kernels_weight_layout(), k->act == DTYPE_BF16 ? "bf16" : "f32",
                     bits[use & ~MODEL_RUN_INPUTS_8], use & MODEL_RUN_INPUTS_8 ? 8 : 16, which);
}

status layout_key_make(layout_key *key, const char *folder, const char *model_path, const char *which, const kernels *k,
                       model_use use) {
    char resolved[PATH_MAX];
    uint64_t model = 0;
    *key = (layout_key){0};
    if (!realpath(model_path, resolved)) return fail("%s: cannot be looked at: %s", model_path, strerror(errno));
    TRY(path_is_folder(resolved) ? add_folder(&model, resolved) : add_file(&model, resolved, path_last(resolved)));
    key->form = form_text(which, k, use);
    key->model = xstrdup(resolved);
    key->name = xasprintf("%016" PRIx64 "-%016" PRIx64 "-%016" PRIx64 ".v%d", crc64(0, resolved, strlen(resolved)),
                          model, crc64(0, key->form, strlen(key->form)), LAYOUT_VERSION);
    char *cache = cache_folder();
    key->folder = folder ? xstrdup(folder) : path_join(cache, "layouts");
    free(cache);
    return STATUS_OK;
}

void layout_key_free(layout_key *key) {
    free(key->folder);
    free(key->model);
    free(key->name);
    free(key->form);
    *key = (layout_key){0};
}

char *layout_key_path(const layout_key *key) {
    return path_join(key->folder, key->name);
}

/* ---- which go ---- */

/* What cannot be looked at (a folder that is closed) is not gone; a disk that is not mounted looks like a file that is. */
static bool model_is_gone(const char *layout) {
    uint8_t bytes[2 * LAYOUT_MOST_TEXT];
    path_kind kind = PATH_OTHER;
    int fd;
    if (file_open(layout, O_RDONLY, &fd) != STATUS_OK) return false;
    const ssize_t got = read(fd, bytes, sizeof bytes);
    close(fd);
    char *model = got > 0 ? layout_head_path(bytes, (size_t)got) : NULL;
    const bool gone = model && path_look(model, &kind) == STATUS_OK && kind == PATH_ABSENT;
    free(model);
    return gone;
}

static bool is_outdated(const layout_key *key, const char *name, const char *path) {
    if (strncmp(name, key->name, HEX) != 0) return model_is_gone(path);
    return strncmp(name, key->name, 2 * HEX + 1) != 0 || strcmp(name + NAME_BYTES, key->name + NAME_BYTES) != 0;
}

void layout_cache_clean(const layout_key *key) {
    char **names;
    size_t count;
    if (folder_list(key->folder, &names, &count) != STATUS_OK) return;
    for (size_t i = 0; i < count; i++) {
        const char *behind = strstr(names[i], ".tmp-");
        const size_t length = behind ? (size_t)(behind - names[i]) : strlen(names[i]);
        char *path = xasprintf("%s/%.*s", key->folder, (int)length, names[i]);
        if (is_name(names[i], length)) {
            if (behind)
                temporary_clean(path);
            else if (is_outdated(key, names[i], path))
                unlink(path);
        }
        free(path);
        free(names[i]);
    }
    free(names);
}

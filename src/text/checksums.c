#include "text/checksums.h"
#include "base/file.h"
#include "base/json_seal.h"
#include "base/memory.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define JSON_EXACT_INTEGER 1000000000000000 /* json.h */

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void checksums_add(cJSON *files, const char *path, uint64_t crc) {
    cJSON_AddItemToObject(files, name_of(path), json_crc(crc));
}

/* ---- reading data.json ---- */

static status check_files(const cJSON *files, const char *path) {
    if (!cJSON_IsObject(files)) return fail("%s: \"files\": expected an object", path);
    const cJSON *file;
    cJSON_ArrayForEach(file, files) {
        if (!cJSON_IsString(file) || strlen(file->valuestring) != 16)
            return fail("%s: \"files\": \"%s\": expected 16 hexadecimal digits", path, file->string);
    }
    return STATUS_OK;
}

/* By its bytes, since it may be damaged; a file of another's may be anything. */
static bool looks_own(const char *path) {
    static const char *const members[] = {"\"crc64\"", "\"files\""};
    uint8_t *bytes;
    size_t count;
    path_kind kind;
    if (path_look(path, &kind) != STATUS_OK || kind != PATH_FILE ||
        file_read(path, JSON_MAX_BYTES, &bytes, &count) != STATUS_OK)
        return false;
    bool own = false;
    for (int i = 0; i < 2; i++) own = own || memmem(bytes, count, members[i], strlen(members[i]));
    free(bytes);
    return own;
}

bool data_json_is_own(const char *folder) {
    char *path = path_join(folder, DATA_JSON);
    const bool own = looks_own(path);
    free(path);
    return own;
}

/* The whole of a data.json, or NULL where nothing is to be checked by it. */
static status read_data_json(const char *folder, cJSON **root) {
    char *path = path_join(folder, DATA_JSON);
    status s = STATUS_OK;
    *root = NULL;
    if (path_exists(path)) s = json_read_file(path, root);
    if (s != STATUS_OK && !looks_own(path)) s = STATUS_OK; /* another program's */
    if (s == STATUS_OK && *root) {
        const cJSON *files = cJSON_GetObjectItemCaseSensitive(*root, "files");
        bool sealed = cJSON_GetObjectItemCaseSensitive(*root, "crc64") != NULL;
        if (sealed || files) s = json_check_seal(*root, path);
        if (s == STATUS_OK && files) s = check_files(files, path);
    }
    free(path);
    return s;
}

static const cJSON *files_of(const cJSON *root) {
    return root ? cJSON_GetObjectItemCaseSensitive(root, "files") : NULL;
}

status checksums_names(const char *folder, char ***names, size_t *count) {
    cJSON *root;
    status s = read_data_json(folder, &root);
    *names = NULL;
    *count = 0;
    if (s == STATUS_OK && files_of(root)) {
        const cJSON *file;
        *names = xcalloc((size_t)cJSON_GetArraySize(files_of(root)), sizeof **names);
        cJSON_ArrayForEach(file, files_of(root))(*names)[(*count)++] = xstrdup(file->string);
    }
    cJSON_Delete(root);
    return s;
}

status data_json_seed(const char *folder, uint64_t *seed) {
    cJSON *root;
    *seed = 0;
    TRY(read_data_json(folder, &root));
    const cJSON *found = root ? cJSON_GetObjectItemCaseSensitive(root, "seed") : NULL;
    if (cJSON_IsNumber(found) && found->valuedouble >= 0 && found->valuedouble <= (double)JSON_EXACT_INTEGER)
        *seed = (uint64_t)found->valuedouble;
    cJSON_Delete(root);
    return STATUS_OK;
}

/* ---- files that were found whole ---- */

typedef struct checked_file {
    dev_t device;
    ino_t number;
    struct timespec changed;
    size_t bytes;
    uint64_t crc;
} checked_file;

static pthread_mutex_t checked_lock = PTHREAD_MUTEX_INITIALIZER;
static checked_file *checked;
static int checked_count;

static bool is_same(const checked_file *a, const checked_file *b) {
    return a->device == b->device && a->number == b->number && a->bytes == b->bytes && a->crc == b->crc &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool was_checked(const checked_file *file) {
    bool found = false;
    pthread_mutex_lock(&checked_lock);
    for (int i = 0; i < checked_count && !found; i++) found = is_same(&checked[i], file);
    pthread_mutex_unlock(&checked_lock);
    return found;
}

static void note_checked(const checked_file *file) {
    pthread_mutex_lock(&checked_lock);
    checked = xrealloc(checked, (size_t)(checked_count + 1) * sizeof *checked);
    checked[checked_count++] = *file;
    pthread_mutex_unlock(&checked_lock);
}

static status compare(const char *path, const void *bytes, size_t count, uint64_t expected) {
    struct stat info = {0};
    bool known = stat(path, &info) == 0;
    checked_file file = {.device = info.st_dev, .number = info.st_ino, .changed = info.st_mtim, .bytes = count};
    file.crc = expected;
    if (known && was_checked(&file)) return STATUS_OK;
    uint64_t found = crc64(0, bytes, count);
    if (found != expected)
        return fail("%s: truncated or corrupted: expected CRC-64 %016" PRIx64 ", which " DATA_JSON
                    " has, found %016" PRIx64,
                    path, expected, found);
    if (known) note_checked(&file);
    return STATUS_OK;
}

status checksums_check(const char *path, const void *bytes, size_t count) {
    const char *name = name_of(path);
    char *folder = name == path ? xstrdup(".") : xasprintf("%.*s", (int)(name - path), path);
    cJSON *root;
    status s = read_data_json(folder, &root);
    const cJSON *file = s == STATUS_OK ? cJSON_GetObjectItemCaseSensitive(files_of(root), name) : NULL;
    if (file) s = compare(path, bytes, count, strtoull(file->valuestring, NULL, 16));
    cJSON_Delete(root);
    free(folder);
    return s;
}

/* A model in Hugging Face's folder: one safetensors file, or several with an index. */
#include "base/json.h"
#include "base/memory.h"
#include "formats/safetensors.h"
#include "formats/safetensors_header.h"
#include "formats/tensor_set.h"
#include <stdlib.h>
#include <string.h>

#define SINGLE "model.safetensors"
#define INDEX "model.safetensors.index.json"
enum { MOST_FILES = 4096 };

typedef struct shards {
    safetensors *files;
    char **names; /* of the files in the folder */
    int count;
} shards;

static void close_shards(void *owner) {
    shards *s = owner;
    for (int i = 0; i < s->count; i++) {
        safetensors_close(&s->files[i]);
        free(s->names[i]);
    }
    free(s->files);
    free(s->names);
    free(s);
}

static void forget(void *owner, const void *from, size_t bytes) {
    const shards *s = owner;
    for (int i = 0; i < s->count; i++) file_map_forget(&s->files[i].map, from, bytes);
}

static status open_shard(shards *s, const char *folder, const char *name) {
    if (s->count == MOST_FILES) return fail("%s: expected at most %d files", folder, MOST_FILES);
    char *path = path_join(folder, name);
    s->files = xrealloc(s->files, (size_t)(s->count + 1) * sizeof *s->files);
    s->names = xrealloc(s->names, (size_t)(s->count + 1) * sizeof *s->names);
    status result = safetensors_open(&s->files[s->count], path);
    if (result == STATUS_OK) s->names[s->count++] = xstrdup(name);
    free(path);
    return result;
}

/* ---- the index ---- */

static const safetensors *shard_of(const shards *s, const char *name) {
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->names[i], name) == 0) return &s->files[i];
    return NULL;
}

/* A name in the index is a file of this folder and leads nowhere else. */
static status open_listed(shards *s, const char *folder, const char *index, const cJSON *weight_map) {
    const cJSON *entry;
    if (!cJSON_IsObject(weight_map)) return fail("%s: weight_map: expected an object of tensors and files", index);
    cJSON_ArrayForEach(entry, weight_map) {
        if (!cJSON_IsString(entry) || !*entry->valuestring || strchr(entry->valuestring, '/'))
            return fail("%s: weight_map: %s: expected the name of a file in the folder", index, entry->string);
        if (!shard_of(s, entry->valuestring)) TRY(open_shard(s, folder, entry->valuestring));
        if (!safetensors_find(shard_of(s, entry->valuestring), entry->string))
            return fail("%s: weight_map: %s is not in %s", index, entry->string, entry->valuestring);
    }
    return STATUS_OK;
}

static status open_by_index(shards *s, const char *folder, const char *index) {
    cJSON *root;
    TRY(json_read_file(index, &root));
    status result = open_listed(s, folder, index, cJSON_GetObjectItemCaseSensitive(root, "weight_map"));
    cJSON_Delete(root);
    return result;
}

/* ---- the set ---- */

static bool storage_of(dtype type, storage *s) {
    *s = type == DTYPE_F32 ? STORAGE_F32 : type == DTYPE_F16 ? STORAGE_F16 : STORAGE_BF16;
    return type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16;
}

static void add_tensors(tensor_set *set, const safetensors *file) {
    set->tensors = xrealloc(set->tensors, (size_t)(set->count + file->count + 1) * sizeof *set->tensors);
    for (int i = 0; i < file->count; i++) {
        const safetensor *t = &file->tensors[i];
        stored_tensor stored = {.name = t->name, .file = file->path, .ndim = t->ndim, .data = t->data};
        memcpy(stored.shape, t->shape, sizeof stored.shape);
        if (storage_of(t->type, &stored.type)) set->tensors[set->count++] = stored;
    }
}

static status open_files(shards *s, const char *folder) {
    char *single = path_join(folder, SINGLE), *index = path_join(folder, INDEX);
    status result;
    if (path_exists(index))
        result = open_by_index(s, folder, index);
    else if (path_exists(single))
        result = open_shard(s, folder, SINGLE);
    else
        result = fail("%s: expected " SINGLE " or " INDEX ", found neither%s", folder,
                      " (weights as Python pickles, pytorch_model.bin, are not read)");
    free(single);
    free(index);
    return result;
}

status tensor_set_open_safetensors(tensor_set *set, const char *folder) {
    shards *s = xcalloc(1, sizeof *s);
    *set = (tensor_set){.owner = s, .close = close_shards, .forget = forget};
    status result = open_files(s, folder);
    for (int i = 0; i < s->count && result == STATUS_OK; i++) add_tensors(set, &s->files[i]);
    if (result == STATUS_OK) result = tensor_set_seal(set);
    if (result != STATUS_OK) tensor_set_close(set);
    return result;
}

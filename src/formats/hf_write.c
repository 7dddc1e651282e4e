#include "formats/hf_write.h"

#include "base/json.h"
#include "base/memory.h"
#include "formats/foreign_tensors.h"
#include "formats/safetensors.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARD_BYTES 5000000000

typedef struct writing {
    const char *folder;
    const weight_source *w;
    const naming *naming;
    storage type;
    foreign_tensor *tensors;
    int count;
    foreign_writer out;
} writing;

/* ---- tensors ---- */

static status put_tensor(void *context, const safetensor *t, file_writer *file) {
    writing *w = context;
    w->out.file = file;
    for (int i = 0; i < w->count; i++)
        if (strcmp(w->tensors[i].name, t->name) == 0)
            return foreign_read(&w->tensors[i], w->w, w->naming, foreign_put, &w->out);
    return fail("%s: no tensor %s", w->folder, t->name);
}

/* ---- files ---- */

static safetensor entry_of(const writing *w, const foreign_tensor *t) {
    safetensor e = {.name = (char *)t->name, .ndim = t->ndim};
    e.type = w->type == STORAGE_F32 ? DTYPE_F32 : w->type == STORAGE_F16 ? DTYPE_F16 : DTYPE_BF16;
    for (int i = 0; i < t->ndim; i++) e.shape[i] = t->shape[i];
    e.bytes = storage_bytes(w->type, foreign_count(t));
    return e;
}

static status write_file(writing *w, const char *name, int first, int last) {
    safetensor *entries = xmalloc((size_t)(last - first) * sizeof *entries);
    for (int i = first; i < last; i++) entries[i - first] = entry_of(w, &w->tensors[i]);
    char *path = path_join(w->folder, name);
    status s = safetensors_stream(path, entries, last - first, put_tensor, w, NULL);
    free(path);
    free(entries);
    return s;
}

/* Where the next file begins. */
static int file_end(const writing *w, int first, int64_t most) {
    int64_t bytes = 0;
    int end = first;
    while (end < w->count) {
        bytes += (int64_t)storage_bytes(w->type, foreign_count(&w->tensors[end]));
        if (end > first && bytes > most) break;
        end++;
    }
    return end;
}

static status write_index(const writing *w, cJSON *weight_map) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(cJSON_AddObjectToObject(root, "metadata"), "total_size",
                            (double)storage_bytes(w->type, w->out.all));
    cJSON_AddItemToObject(root, "weight_map", weight_map);
    char *path = path_join(w->folder, "model.safetensors.index.json");
    status s = json_write_file(path, root);
    free(path);
    cJSON_Delete(root);
    return s;
}

static status write_files(writing *w, int64_t most) {
    int files = 0;
    for (int at = 0; at < w->count; at = file_end(w, at, most)) files++;
    if (files <= 1) return write_file(w, "model.safetensors", 0, w->count);
    cJSON *weight_map = cJSON_CreateObject();
    status s = STATUS_OK;
    for (int at = 0, number = 1; at < w->count && s == STATUS_OK; number++) {
        const int end = file_end(w, at, most);
        char name[64];
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", number, files);
        for (int i = at; i < end; i++) cJSON_AddStringToObject(weight_map, w->tensors[i].name, name);
        s = write_file(w, name, at, end);
        at = end;
    }
    if (s == STATUS_OK) return write_index(w, weight_map);
    cJSON_Delete(weight_map);
    return s;
}

/* ---- config.json ---- */

static void add_token(cJSON *json, const char *key, int id) {
    if (id >= 0)
        cJSON_AddNumberToObject(json, key, id);
    else
        cJSON_AddNullToObject(json, key);
}

static status write_config(const char *folder, const model_config *c, const hf_write_options *o) {
    const char *type = o->type == STORAGE_F32 ? "float32" : o->type == STORAGE_F16 ? "float16" : "bfloat16";
    cJSON *json = hf_config_write(o->family, c, o->context_tokens, type);
    add_token(json, "bos_token_id", o->bos);
    add_token(json, "eos_token_id", o->eos);
    char *path = path_join(folder, "config.json");
    status s = json_write_file(path, json);
    free(path);
    cJSON_Delete(json);
    return s;
}

status hf_write(const char *folder, const weight_source *from, const hf_write_options *o) {
    adapted a;
    if (o->type != STORAGE_F32 && o->type != STORAGE_F16 && o->type != STORAGE_BF16)
        return fail_usage("type: expected f32, f16 or bf16 for safetensors, found %s", storage_name(o->type));
    TRY(adapt_to_hf(&a, from, o->family));
    writing w = {
        .folder = folder, .w = &a.weights, .naming = o->family->hf_names, .type = o->type, .out.type = o->type};
    status s = foreign_tensors(&a.weights.config, w.naming, &w.tensors, &w.count);
    for (int i = 0; i < w.count; i++) w.out.all += foreign_count(&w.tensors[i]);
    w.out.shown = progress_start("write");
    if (s == STATUS_OK) s = write_files(&w, o->shard_bytes > 0 ? o->shard_bytes : SHARD_BYTES);
    if (s == STATUS_OK) s = write_config(folder, &a.weights.config, o);
    progress_end(&w.out.shown, s == STATUS_OK ? NULL : "stopped");
    free(w.tensors);
    free(w.out.bytes);
    return s;
}

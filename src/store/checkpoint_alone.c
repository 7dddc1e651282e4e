#include "store/checkpoint_alone.h"

#include "base/file.h"
#include "base/json.h"
#include "base/json_seal.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/temporary.h"
#include "formats/safetensors.h"
#include "store/checkpoint.h"
#include "store/checkpoint_folder.h"
#include <stdlib.h>
#include <string.h>

/* ---- weights ---- */

typedef struct writing {
    const weight_source *w;
    storage type;
    param_spec *specs;
    safetensor *entries; /* in the same order */
    int count;
    progress shown;
    int64_t done, all; /* bytes */
} writing;

static storage storage_of(const writing *w, const param_spec *spec) {
    return role_is_matrix(spec->role) ? w->type : STORAGE_F32;
}

static const param_spec *spec_called(const writing *w, const char *name) {
    for (int i = 0; i < w->count; i++)
        if (strcmp(w->entries[i].name, name) == 0) return &w->specs[i];
    return NULL;
}

static status put_tensor(void *context, const safetensor *t, file_writer *file) {
    writing *w = context;
    const param_spec *spec = spec_called(w, t->name);
    const storage type = storage_of(w, spec);
    const int64_t all = spec_rows(spec), cols = spec_cols(spec), most = spec_piece(spec) < all ? spec_piece(spec) : all;
    float *piece = xmalloc((size_t)(most * cols) * sizeof *piece);
    uint8_t *bytes = xmalloc(storage_bytes(type, most * cols));
    status s = STATUS_OK;
    for (int64_t first = 0; first < all && s == STATUS_OK; first += most) {
        const int64_t rows = all - first < most ? all - first : most;
        s = interrupt_requested() ? STATUS_INTERRUPTED : w->w->read(w->w->context, spec, first, rows, piece);
        if (s != STATUS_OK) break;
        storage_write(type, piece, rows * cols, bytes);
        file_write(file, bytes, storage_bytes(type, rows * cols));
        w->done += (int64_t)storage_bytes(type, rows * cols);
        progress_show(&w->shown, (double)w->done / (double)w->all, t->name);
    }
    free(piece);
    free(bytes);
    return s;
}

static void list_entries(writing *w) {
    w->specs = stored_specs(&w->w->config, &w->count);
    w->entries = xcalloc((size_t)w->count + 1, sizeof *w->entries);
    for (int i = 0; i < w->count; i++) {
        const storage type = storage_of(w, &w->specs[i]);
        char name[PARAM_NAME_BYTES];
        param_spec_name(&w->specs[i], name);
        safetensor *e = &w->entries[i];
        *e = (safetensor){.name = xstrdup(name), .ndim = w->specs[i].ndim};
        e->type = type == STORAGE_F32 ? DTYPE_F32 : type == STORAGE_F16 ? DTYPE_F16 : DTYPE_BF16;
        for (int d = 0; d < e->ndim; d++) e->shape[d] = w->specs[i].shape[d];
        e->bytes = storage_bytes(type, spec_rows(&w->specs[i]) * spec_cols(&w->specs[i]));
        w->all += (int64_t)e->bytes;
    }
}

static status write_weights(const char *folder, const weight_source *from, storage type, cJSON *files, int64_t *bytes) {
    writing w = {.w = from, .type = type, .shown = progress_start("write")};
    uint64_t crc;
    char *path = path_join(folder, WEIGHTS_FILE);
    list_entries(&w);
    status s = safetensors_stream(path, w.entries, w.count, put_tensor, &w, &crc);
    progress_end(&w.shown, s == STATUS_OK ? NULL : "stopped");
    if (s == STATUS_OK) cJSON_AddItemToObject(files, WEIGHTS_FILE, json_crc(crc));
    if (bytes) *bytes = w.all;
    for (int i = 0; i < w.count; i++) free(w.entries[i].name);
    free(w.entries);
    free(w.specs);
    free(path);
    return s;
}

/* ---- the rest ---- */

static status write_config(const char *folder, const model_config *c, cJSON *files) {
    char *path = path_join(folder, CONFIG_FILE);
    cJSON *json = model_config_to_json(c);
    uint64_t crc;
    status s = json_write_file(path, json);
    if (s == STATUS_OK) s = file_crc64(path, &crc);
    if (s == STATUS_OK) cJSON_AddItemToObject(files, CONFIG_FILE, json_crc(crc));
    cJSON_Delete(json);
    free(path);
    return s;
}

static status write_tokenizer(const char *folder, const tokenizer *tok, cJSON *files) {
    const void *bytes;
    size_t count;
    if (!tok) return STATUS_OK;
    tokenizer_bytes(tok, &bytes, &count);
    char *path = path_join(folder, TOKENIZER_FILE);
    status s = file_write_whole(path, bytes, count);
    if (s == STATUS_OK) cJSON_AddItemToObject(files, TOKENIZER_FILE, json_crc(crc64(0, bytes, count)));
    free(path);
    return s;
}

static status write_manifest(const char *folder, cJSON *files, int context_tokens, cJSON *origin) {
    cJSON *manifest = cJSON_CreateObject();
    cJSON_AddNumberToObject(manifest, "format_version", CHECKPOINT_VERSION);
    cJSON_AddStringToObject(manifest, "moec", MOEC_VERSION);
    cJSON_AddNumberToObject(manifest, "step", 0);
    cJSON_AddNumberToObject(manifest, "context_tokens", context_tokens);
    if (origin) cJSON_AddItemToObject(manifest, "origin", origin);
    cJSON_AddItemToObject(manifest, "files", files);
    json_seal(manifest);
    char *path = path_join(folder, MANIFEST_FILE);
    status s = json_write_file(path, manifest);
    free(path);
    cJSON_Delete(manifest);
    return s;
}

static status fill(const char *folder, const weight_source *w, storage type, const tokenizer *tok, int context_tokens,
                   cJSON *origin, int64_t *bytes) {
    cJSON *files = cJSON_CreateObject();
    status s = write_config(folder, &w->config, files);
    if (s == STATUS_OK) s = write_weights(folder, w, type, files, bytes);
    if (s == STATUS_OK) s = write_tokenizer(folder, tok, files);
    if (s == STATUS_OK) return write_manifest(folder, files, context_tokens, origin);
    cJSON_Delete(files);
    cJSON_Delete(origin);
    return s;
}

status checkpoint_write_alone(const char *path, const weight_source *w, storage type, const tokenizer *tok,
                              int context_tokens, cJSON *origin, int64_t *bytes) {
    if (type != STORAGE_F32 && type != STORAGE_F16 && type != STORAGE_BF16) {
        cJSON_Delete(origin);
        return fail_usage("type: expected f32, f16 or bf16, found %s", storage_name(type));
    }
    temporary_folder t;
    status s = temporary_folder_begin(&t, path);
    if (s == STATUS_OK)
        s = fill(t.path, w, type, tok, context_tokens, origin, bytes);
    else
        cJSON_Delete(origin);
    if (s == STATUS_OK) s = temporary_folder_commit(&t);
    temporary_folder_end(&t);
    return s;
}

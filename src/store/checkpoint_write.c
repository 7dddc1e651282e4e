/* Writing checkpoints: folders that are filled beside their place and renamed when everything in them is on the disk. */
#include "base/file.h"
#include "base/json_seal.h"
#include "base/memory.h"
#include "store/checkpoint.h"
#include "store/checkpoint_folder.h"
#include "store/tensor_file.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void release(checkpoint_writer *w) {
    cJSON_Delete(w->files);
    free(w->partial);
    free(w->name);
    free(w->folder);
    *w = (checkpoint_writer){0};
}

status checkpoint_begin(checkpoint_writer *w, const char *run, int64_t step) {
    char *folder = path_join(run, "checkpoints"), *name = xasprintf(STEP_FORMAT, step);
    *w = (checkpoint_writer){.folder = folder,
                             .name = name,
                             .partial = xasprintf("%s/" PARTIAL_PREFIX "%s", folder, name),
                             .files = cJSON_CreateObject(),
                             .step = step};
    status s = folder_remove(w->partial);
    if (s == STATUS_OK) s = folder_create(w->partial);
    return s == STATUS_OK ? s : checkpoint_abandon(w, s);
}

char *checkpoint_place(const checkpoint_writer *w, const char *name) {
    return path_join(w->partial, name);
}

void checkpoint_wrote(checkpoint_writer *w, const char *name, uint64_t crc) {
    cJSON_AddItemToObject(w->files, name, json_crc(crc));
}

/* ---- the model ---- */

static status write_config(const model *m, const char *path, uint64_t *crc) {
    cJSON *json = model_config_to_json(&m->config);
    status s = json_write_file(path, json);
    cJSON_Delete(json);
    return s == STATUS_OK ? file_crc64(path, crc) : s;
}

static status write_tokenizer(const tokenizer *tok, const char *path, uint64_t *crc) {
    const void *bytes;
    size_t count;
    tokenizer_bytes(tok, &bytes, &count);
    *crc = crc64(0, bytes, count);
    return file_write_whole(path, bytes, count);
}

status checkpoint_put_model(checkpoint_writer *w, const model *m, const tokenizer *tok) {
    char *config = checkpoint_place(w, CONFIG_FILE), *weights = checkpoint_place(w, WEIGHTS_FILE);
    char *pieces = checkpoint_place(w, TOKENIZER_FILE);
    uint64_t config_crc, weights_crc, pieces_crc;
    status s = write_config(m, config, &config_crc);
    if (s == STATUS_OK) s = weights_save(m, weights, &weights_crc);
    if (s == STATUS_OK) s = write_tokenizer(tok, pieces, &pieces_crc);
    free(config);
    free(weights);
    free(pieces);
    TRY(s);
    checkpoint_wrote(w, CONFIG_FILE, config_crc);
    checkpoint_wrote(w, WEIGHTS_FILE, weights_crc);
    checkpoint_wrote(w, TOKENIZER_FILE, pieces_crc);
    return STATUS_OK;
}

/* ---- the end ---- */

void checkpoint_put_choice(checkpoint_writer *w, const weights_choice *choice) {
    w->choice = *choice;
}

static void add_choice(cJSON *manifest, const weights_choice *c) {
    if (c->tokens == 0) return;
    cJSON *choice = cJSON_AddObjectToObject(manifest, "weights");
    cJSON_AddStringToObject(choice, "chosen", choice_is_average(c) ? "ema" : "live");
    cJSON_AddNumberToObject(choice, "live_bpb", c->live_bpb);
    cJSON_AddNumberToObject(choice, "average_bpb", c->average_bpb);
    cJSON_AddNumberToObject(choice, "tokens", (double)c->tokens);
}

static status write_manifest(const checkpoint_writer *w, cJSON *training, int context_tokens) {
    cJSON *manifest = cJSON_CreateObject();
    cJSON_AddNumberToObject(manifest, "format_version", CHECKPOINT_VERSION);
    cJSON_AddStringToObject(manifest, "moec", MOEC_VERSION);
    cJSON_AddNumberToObject(manifest, "step", (double)w->step);
    cJSON_AddNumberToObject(manifest, "context_tokens", context_tokens);
    add_choice(manifest, &w->choice);
    cJSON_AddItemToObject(manifest, "training", training);
    cJSON_AddItemToObject(manifest, "files", cJSON_Duplicate(w->files, true));
    json_seal(manifest);
    char *path = checkpoint_place(w, MANIFEST_FILE);
    status s = json_write_file(path, manifest);
    free(path);
    cJSON_Delete(manifest);
    return s;
}

status checkpoint_commit(checkpoint_writer *w, cJSON *training, int context_tokens, int64_t keep) {
    status s = write_manifest(w, training, context_tokens);
    if (s == STATUS_OK) s = checkpoint_put(w->folder, w->name, w->partial);
    if (s != STATUS_OK) return checkpoint_abandon(w, s);
    bool found;
    if (w->best) s = checkpoint_mark_best(w->folder, w->step, &found);
    if (s == STATUS_OK) s = checkpoint_prune(w->folder, keep);
    release(w);
    return s;
}

status checkpoint_abandon(checkpoint_writer *w, status s) {
    char *message = xstrdup(error_message());
    folder_remove(w->partial);
    if (s != STATUS_OK && *message) s = fail("cannot save checkpoint %s/%s: %s", w->folder, w->name, message);
    free(message);
    release(w);
    return s;
}

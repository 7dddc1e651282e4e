/* Checkpoints: folders that are written beside their place and renamed when everything in them is on the disk. */
#include "train/checkpoint.h"
#include "base/json.h"
#include "base/memory.h"
#include "train/states.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Folders under this name are being written, or being removed; what a killed run leaves of them is cleared away. */
#define PARTIAL_PREFIX "partial-"
#define TRAINER_FILE "trainer.json"

static const char *const checkpoint_files[] = {"config.json",           "model.safetensors", "ema.safetensors",
                                               "optimizer.safetensors", "tokenizer.model",   "config.yaml"};
enum { CHECKPOINT_FILES = sizeof checkpoint_files / sizeof *checkpoint_files };

/* ---- one file of weights ---- */

status model_save(const model *m, const char *path, uint64_t *crc) {
    tensor_file f = {0};
    for (int i = 0; i < m->param_count; i++)
        if (!m->params[i]->derived) tensor_file_add(&f, m->k, "", m->params[i], m->params[i]->value.data);
    return tensor_file_write(&f, path, crc);
}

static status load_params(model *m, const safetensors *file) {
    for (int i = 0; i < m->param_count; i++)
        if (!m->params[i]->derived) TRY(tensor_file_read(file, m->k, "", m->params[i], m->params[i]->value.data));
    for (int i = 0; i < file->count; i++)
        if (!model_find(m, file->tensors[i].name) && !average_is_count(file->tensors[i].name))
            return fail("%s: the model has no parameter for tensor %s", file->path, file->tensors[i].name);
    return model_refresh(m);
}

status model_load(model *m, const char *path) {
    safetensors file;
    TRY(safetensors_open(&file, path));
    status result = load_params(m, &file);
    safetensors_close(&file);
    return result;
}

/* ---- trainer.json ---- */

static cJSON *crc_string(uint64_t crc) {
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, crc);
    return cJSON_CreateString(text);
}

static status file_crc(const char *path, uint64_t *crc) {
    file_map map;
    TRY(file_map_open(&map, path));
    *crc = crc64(0, map.bytes, map.count);
    file_map_close(&map);
    return STATUS_OK;
}

/* The CRC-64 of the record without its own "crc64", printed without spaces. */
static cJSON *trainer_crc(cJSON *trainer) {
    cJSON *own = cJSON_DetachItemFromObjectCaseSensitive(trainer, "crc64");
    cJSON_Delete(own);
    char *text = cJSON_PrintUnformatted(trainer);
    cJSON *crc = crc_string(crc64(0, text, strlen(text)));
    cJSON_free(text);
    return crc;
}

/* `files`: name → CRC; becomes part of the record. */
static cJSON *trainer_record(const run_config *config, const train_state *state, cJSON *files) {
    cJSON *trainer = cJSON_CreateObject(), *fired = cJSON_CreateArray();
    cJSON_AddNumberToObject(trainer, "format_version", CHECKPOINT_VERSION);
    cJSON_AddStringToObject(trainer, "moec", MOEC_VERSION);
    cJSON_AddNumberToObject(trainer, "step", (double)state->step);
    cJSON_AddNumberToObject(trainer, "tokens", (double)state->tokens);
    cJSON_AddNumberToObject(trainer, "seconds", state->seconds);
    cJSON_AddNumberToObject(trainer, "loader_epoch", (double)state->position.epoch);
    cJSON_AddNumberToObject(trainer, "loader_window", (double)state->position.window);
    for (int i = 0; i < config->event_count; i++) cJSON_AddItemToArray(fired, cJSON_CreateBool(state->fired[i]));
    cJSON_AddItemToObject(trainer, "fired", fired);
    cJSON_AddItemToObject(trainer, "files", files);
    cJSON_AddItemToObject(trainer, "crc64", trainer_crc(trainer));
    return trainer;
}

static status trainer_check(cJSON *trainer, const char *path) {
    int64_t version;
    const char *found;
    TRY(json_get_int(trainer, path, "format_version", &version));
    if (version > CHECKPOINT_VERSION)
        return fail("%s: format version %" PRId64 ", but this moec reads versions up to %d", path, version,
                    CHECKPOINT_VERSION);
    TRY(json_get_string(trainer, path, "crc64", &found));
    char *stored = xstrdup(found);
    cJSON *crc = trainer_crc(trainer);
    status result = strcmp(stored, crc->valuestring) == 0
                        ? STATUS_OK
                        : fail("%s: corrupted: expected CRC-64 %s, found %s", path, stored, crc->valuestring);
    cJSON_Delete(crc);
    free(stored);
    return result;
}

static status trainer_read(const char *checkpoint, cJSON **trainer) {
    char *path = path_join(checkpoint, TRAINER_FILE);
    *trainer = NULL;
    status result = json_read_file(path, trainer);
    if (result == STATUS_OK) result = trainer_check(*trainer, path);
    if (result != STATUS_OK) {
        cJSON_Delete(*trainer);
        *trainer = NULL;
    }
    free(path);
    return result;
}

static status read_fired(const cJSON *trainer, const char *path, train_state *state) {
    const cJSON *fired = cJSON_GetObjectItemCaseSensitive(trainer, "fired");
    int count = cJSON_GetArraySize(fired);
    if (!cJSON_IsArray(fired) || count > MAX_EVENTS)
        return fail("%s: fired: expected a list of at most %d flags", path, MAX_EVENTS);
    for (int i = 0; i < count; i++) {
        const cJSON *flag = cJSON_GetArrayItem(fired, i);
        if (!cJSON_IsBool(flag)) return fail("%s: fired: item %d is not true or false", path, i);
        state->fired[i] = cJSON_IsTrue(flag);
    }
    return STATUS_OK;
}

static status read_state(const cJSON *trainer, const char *path, train_state *state) {
    int64_t epoch, window;
    *state = (train_state){0};
    TRY(json_get_int(trainer, path, "step", &state->step));
    TRY(json_get_int(trainer, path, "tokens", &state->tokens));
    TRY(json_get_double(trainer, path, "seconds", &state->seconds));
    TRY(json_get_int(trainer, path, "loader_epoch", &epoch));
    TRY(json_get_int(trainer, path, "loader_window", &window));
    if (state->step < 0 || epoch < 0 || window < 0) return fail("%s: a step or loader position below 0", path);
    state->position = (loader_position){.epoch = (uint64_t)epoch, .window = (uint64_t)window};
    return read_fired(trainer, path, state);
}

status checkpoint_load_state(const char *path, train_state *state) {
    cJSON *trainer;
    TRY(trainer_read(path, &trainer));
    char *file = path_join(path, TRAINER_FILE);
    status result = read_state(trainer, file, state);
    free(file);
    cJSON_Delete(trainer);
    return result;
}

/* ---- writing ---- */

static status write_config_json(const model *m, const char *path, uint64_t *crc) {
    cJSON *json = model_config_to_json(&m->config);
    status result = json_write_file(path, json);
    cJSON_Delete(json);
    return result == STATUS_OK ? file_crc(path, crc) : result;
}

static status write_tokenizer(const tokenizer *tok, const char *path, uint64_t *crc) {
    const void *bytes;
    size_t count;
    tokenizer_bytes(tok, &bytes, &count);
    *crc = crc64(0, bytes, count);
    return file_write_whole(path, bytes, count);
}

static status write_config_yaml(const run_config *config, const char *path, uint64_t *crc) {
    TRY(run_config_write(config, path));
    return file_crc(path, crc);
}

/* All that a checkpoint is made from. */
typedef struct checkpoint_source {
    const run_config *config;
    const model *m;
    average *e;
    optimizer *o;
    const tokenizer *tok;
} checkpoint_source;

static status write_one(const checkpoint_source *s, const char *name, const char *path, uint64_t *crc) {
    if (strcmp(name, "config.json") == 0) return write_config_json(s->m, path, crc);
    if (strcmp(name, "model.safetensors") == 0) return model_save(s->m, path, crc);
    if (strcmp(name, "ema.safetensors") == 0) return average_save(s->e, path, crc);
    if (strcmp(name, "optimizer.safetensors") == 0) return optimizer_save(s->o, path, crc);
    if (strcmp(name, "tokenizer.model") == 0) return write_tokenizer(s->tok, path, crc);
    return write_config_yaml(s->config, path, crc);
}

static status write_files(const checkpoint_source *s, const char *folder, cJSON *files) {
    for (int i = 0; i < CHECKPOINT_FILES; i++) {
        if (!average_begun(s->e) && strcmp(checkpoint_files[i], "ema.safetensors") == 0) continue;
        char *path = path_join(folder, checkpoint_files[i]);
        uint64_t crc = 0;
        status result = write_one(s, checkpoint_files[i], path, &crc);
        free(path);
        TRY(result);
        cJSON_AddItemToObject(files, checkpoint_files[i], crc_string(crc));
    }
    return STATUS_OK;
}

static status write_folder(const checkpoint_source *s, const train_state *state, const char *folder) {
    TRY(folder_remove(folder));
    TRY(folder_create(folder));
    cJSON *files = cJSON_CreateObject();
    status result = write_files(s, folder, files);
    cJSON *trainer = trainer_record(s->config, state, files);
    char *path = path_join(folder, TRAINER_FILE);
    if (result == STATUS_OK) result = json_write_file(path, trainer);
    free(path);
    cJSON_Delete(trainer);
    return result;
}

/* ---- the folder of checkpoints ---- */

/* N of "step-N", −1 for other names */
static int64_t step_of(const char *name) {
    char *end;
    if (strncmp(name, "step-", 5) != 0 || !name[5]) return -1;
    int64_t step = strtoll(name + 5, &end, 10);
    return *end ? -1 : step;
}

static void free_names(char **names, size_t count) {
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
}

/* A folder loses its final name before its files go, so that a kill in between leaves nothing that looks whole. */
static status remove_checkpoint(const char *folder, const char *name) {
    char *path = path_join(folder, name), *partial = xasprintf("%s/" PARTIAL_PREFIX "old-%s", folder, name);
    status result = folder_remove(partial);
    if (result == STATUS_OK && rename(path, partial) != 0)
        result = fail("%s: cannot be removed: %s", path, strerror(errno));
    if (result == STATUS_OK) result = folder_remove(partial);
    free(partial);
    free(path);
    return result;
}

/* Remove what killed runs left, and all but the newest `keep` checkpoints (at least one stays). */
static status prune(const char *folder, int64_t keep) {
    char **names;
    size_t count;
    TRY(folder_list(folder, &names, &count));
    int64_t whole = 0;
    for (size_t i = 0; i < count; i++) whole += step_of(names[i]) >= 0;
    int64_t surplus = whole - (keep > 0 ? keep : 1);
    status result = STATUS_OK;
    for (size_t i = 0; i < count && result == STATUS_OK; i++) {
        if (strncmp(names[i], PARTIAL_PREFIX, strlen(PARTIAL_PREFIX)) == 0) {
            char *path = path_join(folder, names[i]);
            result = folder_remove(path);
            free(path);
        } else if (step_of(names[i]) >= 0 && surplus-- > 0) { /* names sort by step */
            result = remove_checkpoint(folder, names[i]);
        }
    }
    free_names(names, count);
    return result;
}

static status save_as(const checkpoint_source *s, const train_state *state, const char *folder, const char *name) {
    char *path = path_join(folder, name), *partial = xasprintf("%s/" PARTIAL_PREFIX "%s", folder, name);
    status result = write_folder(s, state, partial);
    if (result == STATUS_OK && path_exists(path)) result = remove_checkpoint(folder, name);
    if (result == STATUS_OK) result = folder_commit(partial, path);
    if (result != STATUS_OK) {
        char *message = xstrdup(error_message());
        folder_remove(partial);
        result = fail("cannot save checkpoint %s: %s", path, message);
        free(message);
    }
    free(partial);
    free(path);
    return result;
}

status checkpoint_save(const char *run, const run_config *config, const model *m, average *e, optimizer *o,
                       const tokenizer *tok, const train_state *state) {
    const checkpoint_source source = {config, m, e, o, tok};
    char *folder = path_join(run, "checkpoints"), *name = xasprintf("step-%08" PRId64, state->step);
    status result = folder_create(folder);
    if (result == STATUS_OK) result = save_as(&source, state, folder, name);
    if (result == STATUS_OK) result = prune(folder, config->keep_checkpoints);
    free(name);
    free(folder);
    return result;
}

static status newest_in(const char *folder, char **path) {
    char **names;
    size_t count;
    int64_t newest = -1;
    TRY(folder_list(folder, &names, &count));
    for (size_t i = 0; i < count; i++) {
        if (step_of(names[i]) <= newest) continue;
        newest = step_of(names[i]);
        free(*path);
        *path = path_join(folder, names[i]);
    }
    free_names(names, count);
    return STATUS_OK;
}

status checkpoint_find(const char *run_or_checkpoint, char **path) {
    *path = NULL;
    char *trainer = path_join(run_or_checkpoint, TRAINER_FILE), *folder = path_join(run_or_checkpoint, "checkpoints");
    status result = STATUS_OK;
    if (path_exists(trainer))
        *path = xstrdup(run_or_checkpoint);
    else if (path_is_folder(folder))
        result = newest_in(folder, path);
    free(folder);
    free(trainer);
    return result;
}

/* ---- reading ---- */

/* A file of the checkpoint against the CRC that trainer.json has for it. */
static status verify_file(const char *checkpoint, const cJSON *files, const char *name) {
    const cJSON *expected = cJSON_GetObjectItemCaseSensitive(files, name);
    char *path = path_join(checkpoint, name), text[17];
    uint64_t crc = 0;
    status result =
        cJSON_IsString(expected) ? file_crc(path, &crc) : fail("%s: " TRAINER_FILE " has no CRC-64 for it", path);
    if (result == STATUS_OK) {
        snprintf(text, sizeof text, "%016" PRIx64, crc);
        if (strcmp(text, expected->valuestring) != 0)
            result =
                fail("%s: truncated or corrupted: expected CRC-64 %s, found %s", path, expected->valuestring, text);
    }
    free(path);
    return result;
}

/* The named files (NULL at the end), or all when names is NULL. */
static status verify(const char *path, const char *const *names) {
    cJSON *trainer;
    TRY(trainer_read(path, &trainer));
    const cJSON *files = cJSON_GetObjectItemCaseSensitive(trainer, "files");
    status result = STATUS_OK;
    for (int i = 0; names && names[i] && result == STATUS_OK; i++) result = verify_file(path, files, names[i]);
    for (int i = 0; !names && i < CHECKPOINT_FILES && result == STATUS_OK; i++) {
        bool optional = strcmp(checkpoint_files[i], "ema.safetensors") == 0;
        if (optional && !cJSON_HasObjectItem(files, checkpoint_files[i])) continue;
        result = verify_file(path, files, checkpoint_files[i]);
    }
    cJSON_Delete(trainer);
    return result;
}

status checkpoint_verify(const char *path) {
    return verify(path, NULL);
}

status checkpoint_load_config(const char *path, run_config *config) {
    TRY(verify(path, (const char *const[]){"config.yaml", NULL}));
    char *file = path_join(path, "config.yaml");
    status result = run_config_load(config, file, NULL, 0);
    free(file);
    return result;
}

status checkpoint_load_model_config(const char *path, model_config *config) {
    TRY(verify(path, (const char *const[]){"config.json", NULL}));
    char *file = path_join(path, "config.json");
    cJSON *json = NULL;
    status result = json_read_file(file, &json);
    *config = model_config_default();
    if (result == STATUS_OK) result = model_config_from_json(config, json, file);
    cJSON_Delete(json);
    free(file);
    return result;
}

status checkpoint_open_tokenizer(const char *path, tokenizer **tok) {
    TRY(verify(path, (const char *const[]){"tokenizer.model", NULL}));
    char *file = path_join(path, "tokenizer.model");
    status result = tokenizer_open(tok, file);
    free(file);
    return result;
}

status checkpoint_has_average(const char *path, bool *has) {
    cJSON *trainer;
    TRY(trainer_read(path, &trainer));
    *has = cJSON_HasObjectItem(cJSON_GetObjectItemCaseSensitive(trainer, "files"), "ema.safetensors");
    cJSON_Delete(trainer);
    return STATUS_OK;
}

status checkpoint_load_model(const char *path, const kernels *k, const char *which, model **out) {
    *out = NULL;
    bool live = strcmp(which, "live") == 0;
    if (!live && strcmp(which, "ema") != 0) return fail_usage("weights: expected live or ema, found %s", which);
    const char *weights = live ? "model.safetensors" : "ema.safetensors";
    TRY(verify(path, (const char *const[]){weights, NULL}));
    model_config config;
    TRY(checkpoint_load_model_config(path, &config));
    model *m;
    TRY(model_create(&m, &config, k));
    char *file = path_join(path, weights);
    status result = model_load(m, file);
    free(file);
    if (result != STATUS_OK)
        model_destroy(m);
    else
        *out = m;
    return result;
}

#include "train/checkpoint.h"

#include "base/file.h"
#include "base/json.h"
#include "base/json_seal.h"
#include <stdlib.h>

#define OPTIMIZER_FILE "optimizer.safetensors"
#define AVERAGE_FILE "ema.safetensors"

/* ---- writing ---- */

static cJSON *state_to_json(const run_config *config, const train_state *state) {
    cJSON *json = cJSON_CreateObject(), *fired = cJSON_CreateArray();
    cJSON_AddNumberToObject(json, "tokens", (double)state->tokens);
    cJSON_AddNumberToObject(json, "seconds", state->seconds);
    cJSON_AddNumberToObject(json, "loader_epoch", (double)state->position.epoch);
    cJSON_AddNumberToObject(json, "loader_window", (double)state->position.window);
    cJSON_AddItemToObject(json, "text", json_crc(state->text));
    if (state->teachers) cJSON_AddItemToObject(json, "teachers", json_crc(state->teachers));
    for (int i = 0; i < config->events.count; i++) cJSON_AddItemToArray(fired, cJSON_CreateBool(state->fired[i]));
    cJSON_AddItemToObject(json, "fired", fired);
    cJSON_AddItemToObject(json, "looks", looks_to_json(&state->looks));
    return json;
}

static status put_optimizer(checkpoint_writer *w, optimizer *o) {
    char *path = checkpoint_place(w, OPTIMIZER_FILE);
    uint64_t crc;
    status s = optimizer_save(o, path, &crc);
    if (s == STATUS_OK) checkpoint_wrote(w, OPTIMIZER_FILE, crc);
    free(path);
    return s;
}

static status put_average(checkpoint_writer *w, average *e) {
    if (!average_begun(e)) return STATUS_OK;
    char *path = checkpoint_place(w, AVERAGE_FILE);
    uint64_t crc;
    status s = average_save(e, path, &crc);
    if (s == STATUS_OK) checkpoint_wrote(w, AVERAGE_FILE, crc);
    free(path);
    return s;
}

static status put_config(checkpoint_writer *w, const run_config *config) {
    char *path = checkpoint_place(w, RUN_CONFIG_FILE);
    uint64_t crc;
    status s = run_config_write(config, path);
    if (s == STATUS_OK) s = file_crc64(path, &crc);
    if (s == STATUS_OK) checkpoint_wrote(w, RUN_CONFIG_FILE, crc);
    free(path);
    return s;
}

status checkpoint_save(const char *run, const run_config *config, const model *m, average *e, optimizer *o,
                       const tokenizer *tok, const train_state *state, const weights_choice *choice) {
    checkpoint_writer w;
    TRY(checkpoint_begin(&w, run, state->step));
    status s = checkpoint_put_model(&w, m, tok);
    if (s == STATUS_OK) s = put_average(&w, e);
    if (s == STATUS_OK) s = put_optimizer(&w, o);
    if (s == STATUS_OK) s = put_config(&w, config);
    if (s != STATUS_OK) return checkpoint_abandon(&w, s);
    if (choice) checkpoint_put_choice(&w, choice);
    w.best = config->train.keep_best && state->step > 0 && state->looks.best_step == state->step;
    return checkpoint_commit(&w, state_to_json(config, state), (int)config->train.seq, config->train.keep_checkpoints);
}

/* ---- reading ---- */

/* Checkpoints of older versions do not say what text they were trained on, and most have no teachers. */
static status read_fingerprint(const cJSON *training, const char *path, const char *key, uint64_t *value) {
    const char *text, *end = NULL;
    if (!cJSON_HasObjectItem(training, key)) return STATUS_OK;
    TRY(json_get_string(training, path, key, &text));
    *value = strtoull(text, (char **)&end, 16);
    return *text && !*end ? STATUS_OK : fail("%s: %s: expected a number of 16 hexadecimal digits", path, key);
}

static status read_fired(const cJSON *training, const char *path, train_state *state) {
    const cJSON *fired = cJSON_GetObjectItemCaseSensitive(training, "fired");
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

bool checkpoint_is_of_run(const checkpoint *c) {
    return checkpoint_has(c, RUN_CONFIG_FILE);
}

status checkpoint_load_state(const checkpoint *c, train_state *state) {
    const cJSON *training = cJSON_GetObjectItemCaseSensitive(c->manifest, "training");
    const char *path = c->manifest_path;
    int64_t epoch, window;
    *state = (train_state){.step = c->step};
    TRY(json_get_int(training, path, "tokens", &state->tokens));
    TRY(json_get_double(training, path, "seconds", &state->seconds));
    TRY(json_get_int(training, path, "loader_epoch", &epoch));
    TRY(json_get_int(training, path, "loader_window", &window));
    if (epoch < 0 || window < 0) return fail("%s: expected a loader position of 0 or more, found one below", path);
    state->position = (loader_position){.epoch = (uint64_t)epoch, .window = (uint64_t)window};
    TRY(read_fingerprint(training, path, "text", &state->text));
    TRY(read_fingerprint(training, path, "teachers", &state->teachers));
    const cJSON *looks = cJSON_GetObjectItemCaseSensitive(training, "looks"); /* older checkpoints have none */
    if (looks) TRY(looks_from_json(&state->looks, looks, path));
    return read_fired(training, path, state);
}

status checkpoint_load_config(const checkpoint *c, run_config *config) {
    TRY(checkpoint_verify_file(c, RUN_CONFIG_FILE));
    char *file = checkpoint_file(c, RUN_CONFIG_FILE);
    status s = run_config_load_begun(config, file, NULL, 0);
    free(file);
    return s;
}

status checkpoint_load_optimizer(const checkpoint *c, optimizer *o, int *lacking) {
    TRY(checkpoint_verify_file(c, OPTIMIZER_FILE));
    char *file = checkpoint_file(c, OPTIMIZER_FILE);
    status s = optimizer_load(o, file, lacking);
    free(file);
    return s;
}

status checkpoint_load_average(const checkpoint *c, average *e) {
    TRY(checkpoint_verify_file(c, AVERAGE_FILE));
    char *file = checkpoint_file(c, AVERAGE_FILE);
    status s = average_load(e, file);
    free(file);
    return s;
}

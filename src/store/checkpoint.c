/* Reading checkpoints: the newest one of a run, held while it is read; its manifest; the model in it. */
#include "store/checkpoint.h"

#include "base/file.h"
#include "base/json_seal.h"
#include "base/memory.h"
#include "store/checkpoint_folder.h"
#include "store/tensor_file.h"
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the manifest ---- */

/* JSON has no infinity: null. */
static status read_bits(const cJSON *choice, const char *path, const char *key, double *bits) {
    *bits = INFINITY;
    return cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(choice, key)) ? STATUS_OK
                                                                       : json_get_double(choice, path, key, bits);
}

static status read_choice(checkpoint *c) {
    const cJSON *choice = cJSON_GetObjectItemCaseSensitive(c->manifest, "weights");
    const char *path = c->manifest_path, *chosen;
    weights_choice *out = &c->choice;
    if (!choice) return STATUS_OK;
    TRY(json_get_int(choice, path, "tokens", &out->tokens));
    TRY(read_bits(choice, path, "live_bpb", &out->live_bpb));
    TRY(read_bits(choice, path, "average_bpb", &out->average_bpb));
    TRY(json_get_string(choice, path, "chosen", &chosen));
    if (out->tokens >= 1 && strcmp(chosen, choice_is_average(out) ? "ema" : "live") == 0) return STATUS_OK;
    return fail("%s: weights: expected the better ones of at least one token, found %s, %g beside %g, %" PRId64, path,
                chosen, out->live_bpb, out->average_bpb, out->tokens);
}

static status read_manifest(checkpoint *c) {
    int64_t version, context;
    const char *path = c->manifest_path;
    TRY(json_read_file(path, &c->manifest));
    TRY(json_get_int(c->manifest, path, "format_version", &version));
    if (version != CHECKPOINT_VERSION)
        return fail("%s: format version %" PRId64 ", but this moec reads version %d", path, version,
                    CHECKPOINT_VERSION);
    TRY(json_check_seal(c->manifest, path));
    TRY(json_get_int(c->manifest, path, "step", &c->step));
    TRY(json_get_int(c->manifest, path, "context_tokens", &context));
    if (c->step < 0 || context < 1 || context > INT32_MAX)
        return fail("%s: expected a step of 0 or more and a context of at least one token, found %" PRId64
                    " and %" PRId64,
                    path, c->step, context);
    c->context_tokens = (int)context;
    return read_choice(c);
}

/* ---- opening ---- */

enum { OPEN_TRIES = 100 }; /* of a run whose checkpoints come and go */

static status open_at(checkpoint **out, char *path, int lock) {
    checkpoint *c = xcalloc(1, sizeof *c);
    c->path = path;
    c->lock = lock;
    c->manifest_path = path_join(path, MANIFEST_FILE);
    status s = read_manifest(c);
    if (s != STATUS_OK) {
        checkpoint_close(c);
        c = NULL;
    }
    *out = c;
    return s;
}

/* The newest one may be pruned between its being found and its being held: then there is a newer one. */
static status open_newest(checkpoint **out, const char *folder) {
    for (int i = 0; i < OPEN_TRIES; i++) {
        char *path;
        TRY(checkpoint_newest(folder, &path));
        if (!path) return STATUS_OK;
        int lock;
        status s = checkpoint_hold(path, &lock);
        if (lock >= 0) return open_at(out, path, lock);
        free(path);
        TRY(s);
    }
    return fail("%s: its checkpoints vanish while they are being opened", folder);
}

static status look_in(const char *folder, const char *name, path_kind *kind) {
    char *path = path_join(folder, name);
    status s = path_look(path, kind);
    free(path);
    return s;
}

/* Where a link such as `best` leads at the moment; the path itself where it is no link. A new string. */
static char *follow_link(const char *path) {
    char target[PATH_MAX];
    const ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0) return xstrdup(path);
    target[length] = '\0';
    if (*target == '/') return xstrdup(target);
    char *parent = path_parent(path), *place = path_join(parent, target);
    free(parent);
    return place;
}

/* What a link leads to may be removed between its being looked at and its being held: then it leads elsewhere. */
static status open_itself(checkpoint **out, const char *path) {
    for (int i = 0; i < OPEN_TRIES; i++) {
        char *place = follow_link(path);
        const bool link = strcmp(place, path) != 0;
        int lock;
        status s = checkpoint_hold(place, &lock);
        if (lock >= 0) return open_at(out, place, lock);
        free(place);
        TRY(s);
        if (!link) break;
    }
    return fail("%s: the checkpoint is being removed", path);
}

status checkpoint_open(checkpoint **out, const char *run_or_checkpoint) {
    path_kind kind, manifest, checkpoints;
    *out = NULL;
    TRY(path_look(run_or_checkpoint, &kind));
    if (kind != PATH_FOLDER) return STATUS_OK;
    TRY(look_in(run_or_checkpoint, MANIFEST_FILE, &manifest));
    if (manifest != PATH_ABSENT) return open_itself(out, run_or_checkpoint);
    TRY(look_in(run_or_checkpoint, "checkpoints", &checkpoints));
    if (checkpoints != PATH_FOLDER) return STATUS_OK;
    char *folder = path_join(run_or_checkpoint, "checkpoints");
    status s = open_newest(out, folder);
    free(folder);
    return s;
}

status checkpoint_require(checkpoint **out, const char *run_or_checkpoint) {
    TRY(checkpoint_open(out, run_or_checkpoint));
    if (*out) return STATUS_OK;
    return fail("%s: expected a checkpoint or a run folder with one, found neither", run_or_checkpoint);
}

void checkpoint_close(checkpoint *c) {
    if (!c) return;
    if (c->lock >= 0) close(c->lock);
    cJSON_Delete(c->manifest);
    free(c->manifest_path);
    free(c->path);
    free(c);
}

/* ---- its files ---- */

char *checkpoint_file(const checkpoint *c, const char *name) {
    return path_join(c->path, name);
}

static const cJSON *files_of(const checkpoint *c) {
    return cJSON_GetObjectItemCaseSensitive(c->manifest, "files");
}

bool checkpoint_has(const checkpoint *c, const char *name) {
    return cJSON_HasObjectItem(files_of(c), name);
}

bool checkpoint_has_average(const checkpoint *c) {
    return checkpoint_has(c, AVERAGE_FILE);
}

status checkpoint_verify_file(const checkpoint *c, const char *name) {
    const cJSON *expected = cJSON_GetObjectItemCaseSensitive(files_of(c), name);
    if (!cJSON_IsString(expected)) return fail("%s: expected a CRC-64 of %s, found none", c->manifest_path, name);
    char *path = checkpoint_file(c, name), text[17];
    uint64_t crc = 0;
    status s = file_crc64(path, &crc);
    snprintf(text, sizeof text, "%016" PRIx64, crc);
    if (s == STATUS_OK && strcmp(text, expected->valuestring) != 0)
        s = fail("%s: truncated or corrupted: expected CRC-64 %s, found %s", path, expected->valuestring, text);
    free(path);
    return s;
}

status checkpoint_verify(const checkpoint *c) {
    static const char *const always[] = {CONFIG_FILE, WEIGHTS_FILE};
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        if (!checkpoint_has(c, always[i]))
            return fail("%s: expected %s among its files, found none", c->manifest_path, always[i]);
    const cJSON *item;
    cJSON_ArrayForEach(item, files_of(c)) TRY(checkpoint_verify_file(c, item->string));
    return STATUS_OK;
}

status checkpoint_load_model_config(const checkpoint *c, model_config *config) {
    TRY(checkpoint_verify_file(c, CONFIG_FILE));
    char *file = checkpoint_file(c, CONFIG_FILE);
    cJSON *json = NULL;
    status s = json_read_file(file, &json);
    *config = model_config_default();
    if (s == STATUS_OK) s = model_config_from_json(config, json, file);
    cJSON_Delete(json);
    free(file);
    return s;
}

status checkpoint_open_tokenizer(const checkpoint *c, tokenizer **tok) {
    if (!checkpoint_has(c, TOKENIZER_FILE)) return fail("%s: it has no tokenizer", c->path);
    TRY(checkpoint_verify_file(c, TOKENIZER_FILE));
    char *file = checkpoint_file(c, TOKENIZER_FILE);
    status s = tokenizer_open(tok, file);
    free(file);
    return s;
}

/* ---- which weights ---- */

status checkpoint_weights(const checkpoint *c, const char *which, const char **out) {
    static const char *const kinds[] = {"live", "ema", "chosen"};
    int kind = 0;
    while (kind < 3 && strcmp(which, kinds[kind]) != 0) kind++;
    if (kind == 3) return fail_usage("weights: expected live, ema or chosen, found %s", which);
    if (kind == 1 && !checkpoint_has_average(c))
        return fail("%s: expected averaged weights, found a checkpoint without", c->path);
    if (kind == 2) kind = checkpoint_has_average(c) && (c->choice.tokens == 0 || choice_is_average(&c->choice));
    *out = kinds[kind];
    return STATUS_OK;
}

char *checkpoint_weights_note(const checkpoint *c, const char *which) {
    const weights_choice *choice = &c->choice;
    const char *found;
    if (checkpoint_weights(c, which, &found) != STATUS_OK) return xstrdup(which);
    const bool average = strcmp(found, "ema") == 0, asked = strcmp(which, "chosen") != 0;
    const char *name = average ? "averaged weights" : "live weights", *other = average ? "live" : "averaged";
    if (!checkpoint_has_average(c)) return xasprintf("%s, the only ones", name);
    if (choice->tokens == 0)
        return xasprintf(asked
                             ? "%s, as asked for"
                             : "%s, not compared with the %s ones: the training has not ended, or kept no text for it",
                         name, other);
    return xasprintf("%s, %s: %.4f bits per byte of %" PRId64 " tokens kept from training, %s %.4f", name,
                     asked ? "as asked for" : "the better ones", average ? choice->average_bpb : choice->live_bpb,
                     choice->tokens, other, average ? choice->live_bpb : choice->average_bpb);
}

status checkpoint_fill_model(const checkpoint *c, const char *which, model *m) {
    TRY(checkpoint_weights(c, which, &which));
    const char *weights = strcmp(which, "live") == 0 ? WEIGHTS_FILE : AVERAGE_FILE;
    TRY(checkpoint_verify_file(c, weights));
    char *file = checkpoint_file(c, weights);
    const status s = weights_load(m, file);
    free(file);
    return s;
}

status checkpoint_load_model(const checkpoint *c, const kernels *k, const char *which, model_use use, model **out) {
    model_config config;
    model *m;
    *out = NULL;
    TRY(checkpoint_load_model_config(c, &config));
    TRY(model_create(&m, &config, k, use));
    const status s = checkpoint_fill_model(c, which, m);
    if (s == STATUS_OK)
        *out = m;
    else
        model_destroy(m);
    return s;
}

#include "cli/eval_run.h"

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "store/artifact_contents.h"
#include "store/open.h"
#include "train/checkpoint.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- finding it ---- */

/* Whether the folder is a run (it has checkpoints/), not a checkpoint itself. */
static bool is_run(const char *path) {
    char *checkpoints = path_join(path, "checkpoints");
    bool run = path_is_folder(checkpoints);
    free(checkpoints);
    return run;
}

static status read_config(eval_run *r) {
    run_config config = run_config_default();
    status s = checkpoint_load_config(r->saved, &config);
    if (s == STATUS_OK) {
        r->data = config.data.path ? xstrdup(config.data.path) : NULL;
        r->stride = config.eval.stride;
        r->average_name = config.average.kind == AVERAGE_SWA ? "SWA" : "EMA";
    }
    run_config_free(&config);
    return s;
}

status eval_run_find(eval_run *r, const char *model) {
    *r = (eval_run){.average_name = "EMA"};
    const bool folder = open_is_saved(model);
    char *around = folder ? xstrdup(model) : path_parent(model);
    status s = STATUS_OK;
    if (is_run(around)) r->folder = xstrdup(around);
    if (folder)
        s = checkpoint_require(&r->saved, model);
    else if (r->folder)
        s = checkpoint_open(&r->saved, around);
    if (s == STATUS_OK && r->saved && checkpoint_is_of_run(r->saved)) s = read_config(r);
    free(around);
    return s;
}

void eval_run_free(eval_run *r) {
    checkpoint_close(r->saved);
    free(r->folder);
    free(r->data);
    *r = (eval_run){0};
}

static bool is_same_place(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool eval_run_held_out(const eval_run *r, const char *path) {
    if (!r->data) return false;
    if (is_same_place(path, r->data)) return path_is_folder(path);
    const char *slash = strrchr(path, '/');
    char *parent = path_parent(path);
    bool held_out = strstr(slash ? slash : path, "_val_") && is_same_place(parent, r->data);
    free(parent);
    return held_out;
}

status eval_run_windows(const eval_run *r, const char *model, int64_t context, int64_t seq, int64_t stride,
                        bpb_options *o) {
    bpb_windows(o, model, context, seq);
    if (stride > o->seq)
        return fail_usage("--stride: expected at most %lld, the window's length (%s), found %lld", (long long)o->seq,
                          seq ? "--seq" : "as trained; --seq changes it", (long long)stride);
    if (stride || (r->stride && r->stride <= o->seq)) o->stride = stride ? stride : r->stride;
    return STATUS_OK;
}

/* ---- its summary ---- */

static void add_total(cJSON *root, const char *key, const eval_row *row) {
    cJSON_AddNumberToObject(root, key, row ? row->total : NAN); /* cJSON prints NaN as null */
}

static void add_name(cJSON *root, const char *key, const char *name) {
    cJSON_AddItemToObject(root, key, name && *name ? cJSON_CreateString(name) : cJSON_CreateNull());
}

/* The row of the weights that were packed, as far as the artifact or the training says which. */
static const eval_row *packed_from(const eval_table *t, const artifact_contents *artifact) {
    return eval_table_find(t, artifact->weights[0] ? artifact->weights : t->chosen);
}

static cJSON *summary(const eval_table *t, const artifact_contents *artifact, const train_state *state) {
    const eval_row *packed = eval_table_find(t, "packed"), *from = packed_from(t, artifact);
    cJSON *root = cJSON_CreateObject();
    add_total(root, "val_bpb_live", eval_table_find(t, "live"));
    add_total(root, "val_bpb_ema", eval_table_find(t, "ema"));
    add_total(root, "val_bpb_packed", packed);
    add_total(root, "val_bpb_packed_blend", eval_table_find(t, "packed_blend"));
    add_name(root, "chosen_weights", t->chosen);
    add_name(root, "packed_weights", artifact->weights);
    cJSON_AddNumberToObject(root, "quant_gap", packed && from ? packed->total - from->total : NAN);
    cJSON_AddNumberToObject(root, "artifact_bytes", packed ? (double)artifact->file_bytes : NAN);
    add_total(root, "xz_bpb", eval_table_find(t, "xz"));
    cJSON_AddNumberToObject(root, "train_tokens", (double)state->tokens);
    cJSON_AddNumberToObject(root, "tokens_per_second", state->seconds > 0 ? (double)state->tokens / state->seconds : 0);
    cJSON_AddNumberToObject(root, "seconds", state->seconds);
    return root;
}

static void say_gap(const eval_table *t, const artifact_contents *artifact) {
    const eval_row *packed = eval_table_find(t, "packed"), *from = packed_from(t, artifact);
    if (packed && from)
        printf("\nquantisation gap (packed - %s) %+.4f bits/byte, artifact %lld bytes\n", from->name,
               packed->total - from->total, (long long)artifact->file_bytes);
}

status eval_run_summarize(const eval_run *r, const eval_table *t, bool say) {
    train_state state = {0};
    artifact_contents artifact = {0};
    char *file = path_join(r->folder, "model.moec"), *path = path_join(r->folder, "summary.json");
    status s = checkpoint_load_state(r->saved, &state);
    if (s == STATUS_OK && eval_table_find(t, "packed")) s = artifact_examine_config(&artifact, file);
    cJSON *root = summary(t, &artifact, &state);
    if (s == STATUS_OK) s = json_write_file(path, root);
    if (s == STATUS_OK && say) say_gap(t, &artifact);
    cJSON_Delete(root);
    free(path);
    free(file);
    return s;
}

#include "train/resume.h"
#include "base/file.h"
#include "base/memory.h"
#include "nn/config_fields.h"
#include <stdlib.h>
#include <string.h>

/* ---- a folder in the place of a preset ---- */

bool resume_is_run(const char *folder) {
    return path_is_folder(folder) && (path_holds(folder, "checkpoints") || path_holds(folder, RUN_CONFIG_FILE));
}

/* Where the run's own configuration lies; a new string. */
static status own_config_path(const char *folder, char **path) {
    *path = NULL;
    if (path_holds(folder, RUN_CONFIG_FILE)) {
        *path = path_join(folder, RUN_CONFIG_FILE);
        return STATUS_OK;
    }
    checkpoint *saved;
    TRY(checkpoint_require(&saved, folder));
    const status s = checkpoint_verify_file(saved, RUN_CONFIG_FILE);
    if (s == STATUS_OK) *path = checkpoint_file(saved, RUN_CONFIG_FILE);
    checkpoint_close(saved);
    return s;
}

/* Overrides behind run=FOLDER, which no other one may change. */
static status load_own(run_config *c, const char *path, const char *folder, char *const *overrides, int count) {
    char **all = xcalloc((size_t)count + 1, sizeof *all);
    all[0] = xasprintf("run=%s", folder);
    for (int i = 0; i < count; i++) all[i + 1] = overrides[i];
    status s = run_config_load_begun(c, path, all, count + 1);
    if (s == STATUS_OK && strcmp(c->train.run, folder) != 0)
        s = fail_usage("run: %s says already which run is resumed; the key would name another one, %s", folder,
                       c->train.run);
    free(all[0]);
    free(all);
    return s;
}

status resume_config(run_config *c, const char *folder, char *const *overrides, int count) {
    char *path;
    if (!resume_is_run(folder))
        return fail_usage("%s: expected a preset, or a run's folder with checkpoints or a " RUN_CONFIG_FILE
                          ", found neither",
                          folder);
    TRY(own_config_path(folder, &path));
    char *plain = path_plain(folder);
    const status s = load_own(c, path, plain, overrides, count);
    free(plain);
    free(path);
    return s;
}

/* ---- what differs ---- */

/* The events that already happened must still be in the list, or `fired` would speak of others. */
static status same_fired_events(const event_list *own, const event_list *given, const bool *fired) {
    for (int i = 0; i < own->count; i++) {
        const event *then = &own->items[i], *now = i < given->count ? &given->items[i] : NULL;
        if (fired[i] && (!now || !event_does_the_same(then, now)))
            return fail_usage(
                "events: the run to be resumed has fired %s as event %d, but the configuration has %s%s there",
                event_kind_name(then->kind), i + 1, now && now->kind == then->kind ? "another " : "",
                now ? event_kind_name(now->kind) : "none");
    }
    return STATUS_OK;
}

static status same_tokenizer(const checkpoint *c, const tokenizer *tok, bool *other) {
    tokenizer *saved;
    const void *was, *is;
    size_t was_bytes, is_bytes;
    TRY(checkpoint_open_tokenizer(c, &saved));
    tokenizer_bytes(saved, &was, &was_bytes);
    tokenizer_bytes(tok, &is, &is_bytes);
    *other = was_bytes != is_bytes || memcmp(was, is, is_bytes) != 0;
    tokenizer_close(saved);
    return STATUS_OK;
}

status resume_compare(run_changes *out, const checkpoint *c, const train_state *state, const run_config *given,
                      uint64_t text, uint64_t teachers, const tokenizer *tok) {
    run_config own = run_config_default();
    *out = (run_changes){.text = state->text != 0 && state->text != text, /* 0: an older moec saved it */
                         .teachers = state->teachers != 0 && teachers != 0 && state->teachers != teachers};
    status s = checkpoint_load_config(c, &own);
    if (s == STATUS_OK) s = same_fired_events(&own.events, &given->events, state->fired);
    if (s == STATUS_OK) s = same_tokenizer(c, tok, &out->tokenizer);
    if (s == STATUS_OK) out->keys = config_compare(&run_schema, &own, given);
    run_config_free(&own);
    return s;
}

void run_changes_free(run_changes *r) {
    config_differences_free(&r->keys);
    *r = (run_changes){0};
}

bool run_changes_make_another(const run_changes *r) {
    return r->text || r->tokenizer || r->teachers || config_differences_count(&r->keys, false) > 0;
}

/* Another text or teacher under another path is said by the path. */
static bool says_of(const run_changes *r, const char *key) {
    for (int i = 0; i < r->keys.count; i++)
        if (strcmp(schema_key(r->keys.schema, r->keys.items[i].index).field.key, key) == 0) return true;
    return false;
}

static void add_text(char **text, const char *what) {
    char *longer = xasprintf("%s%s%s", *text, **text ? ", " : "", what);
    free(*text);
    *text = longer;
}

char *run_changes_text(const run_changes *r, bool harmless) {
    char *text = config_differences_text(&r->keys, harmless);
    const bool data = says_of(r, "data"), tokenizer = data || says_of(r, "tokenizer");
    if (!harmless && ((r->text && !data) || (r->tokenizer && !tokenizer)))
        add_text(&text, r->text && r->tokenizer ? "another text and tokenizer under the same path"
                        : r->text               ? "another text under the same path"
                                                : "another tokenizer under the same path");
    if (!harmless && r->teachers && !says_of(r, "teacher") && !says_of(r, "teacher_model"))
        add_text(&text, "another teacher under the same path");
    return text;
}

static void add_change(cJSON *changes, const char *key, const char *from, const char *to) {
    cJSON *change = cJSON_AddObjectToObject(changes, key);
    cJSON_AddItemToObject(change, "from", from ? cJSON_CreateString(from) : cJSON_CreateNull());
    cJSON_AddItemToObject(change, "to", to ? cJSON_CreateString(to) : cJSON_CreateNull());
}

cJSON *run_changes_json(const run_changes *r) {
    cJSON *changes = cJSON_CreateObject();
    for (int i = 0; i < r->keys.count; i++) {
        const config_difference *d = &r->keys.items[i];
        add_change(changes, schema_key(r->keys.schema, d->index).field.key, d->was, d->is);
    }
    if (r->text) cJSON_AddBoolToObject(changes, "other_text", true);
    if (r->tokenizer) cJSON_AddBoolToObject(changes, "other_tokenizer", true);
    if (r->teachers) cJSON_AddBoolToObject(changes, "other_teacher", true);
    return changes;
}

model_config run_changes_model(const run_changes *r, const model_config *saved, const run_config *given) {
    model_config m = *saved;
    for (int i = 0; i < r->keys.count; i++) {
        const config_key key = schema_key(r->keys.schema, r->keys.items[i].index);
        if (key.section != &model_section) continue;
        const config_field *f = &model_section.fields[section_find(&model_section, key.field.key)];
        field_copy(f, &given->model, &m);
    }
    return m;
}

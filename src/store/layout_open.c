#include "store/layout_open.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "store/checkpoint.h"
#include "store/layout_cache.h"
#include "store/layout_file.h"
#include "store/open.h"
#include <stdlib.h>

typedef struct opening {
    const char *path, *which;
    const kernels *k;
    model_use use;
    const layout_wish *wish;
    model **m;
    tokenizer **tok;
    int *context_tokens;
    char **note;
} opening;

static void note(const opening *o, char *line) {
    free(*o->note);
    *o->note = line;
}

/* The model in the layout at `layout`, with config and tokenizer from the model's own files. */
static status open_layout(const opening *o, const layout_key *key, const char *layout) {
    model_config config;
    TRY(open_model_outside(o->path, &config, o->tok, o->context_tokens));
    const status s = layout_open_model(layout, key->form, &config, o->k, o->use, o->m);
    if (s != STATUS_OK) tokenizer_close(*o->tok);
    return s;
}

/* What was just written, in the place of the model that it was written from: so this process, too, has only what all share. */
static void change_places(const opening *o, const layout_key *key, const char *layout) {
    model *mapped;
    if (layout_open_model(layout, key->form, &(*o->m)->config, o->k, o->use, &mapped) != STATUS_OK) {
        note(o, xasprintf("the layout cannot be read back: %s", error_message()));
        return;
    }
    model_destroy(*o->m);
    *o->m = mapped;
    memory_trim();
}

static status write_layout(const opening *o, const layout_key *key, const char *layout) {
    TRY(folder_create(key->folder));
    layout_cache_clean(key);
    return layout_write(layout, *o->m, key->model, key->form);
}

static void make_layout(const opening *o, const layout_key *key, const char *layout) {
    if (write_layout(o, key, layout) != STATUS_OK) {
        note(o, xasprintf("without a layout: %s", error_message()));
        return;
    }
    note(o, xasprintf("%s: the model as products read it, which later starts and other processes map", layout));
    change_places(o, key, layout);
}

/* found: a layout lies there that cannot be taken. */
static status open_and_make(const opening *o, const layout_key *key, const char *layout, bool found) {
    const double started = clock_seconds();
    TRY(open_model(o->path, o->k, o->which, o->use, o->m, o->tok, o->context_tokens));
    const bool long_enough = clock_seconds() - started > LAYOUT_WORTH_SECONDS;
    if (!layout_serves(*o->m)) return STATUS_OK;
    if (found || long_enough || o->wish->kind == LAYOUT_ON) make_layout(o, key, layout);
    return STATUS_OK;
}

static status open_by_key(const opening *o, const layout_key *key) {
    char *layout = layout_key_path(key);
    path_kind kind;
    bool found = path_look(layout, &kind) == STATUS_OK && kind != PATH_ABSENT;
    if (found && open_layout(o, key, layout) == STATUS_OK) {
        free(layout);
        return STATUS_OK;
    }
    char *damage = found ? xstrdup(error_message()) : NULL;
    status s = open_and_make(o, key, layout, found);
    if (s == STATUS_OK && damage) note(o, xasprintf("%s; %s", damage, *o->note ? *o->note : "it is not used"));
    free(damage);
    free(layout);
    return s;
}

static status open_resolved(const opening *o) {
    layout_key key;
    if (layout_key_make(&key, o->wish->folder, o->path, o->which, o->k, o->use) != STATUS_OK) {
        note(o, xasprintf("without a layout: %s", error_message()));
        return open_model(o->path, o->k, o->which, o->use, o->m, o->tok, o->context_tokens);
    }
    const status s = open_by_key(o, &key);
    layout_key_free(&key);
    return s;
}

/* A run is its newest checkpoint, which is held until all is read. */
status open_model_laid_out(const char *path, const kernels *k, const char *which, model_use use,
                           const layout_wish *wish, model **m, tokenizer **tok, int *context_tokens, char **line) {
    checkpoint *saved = NULL;
    *line = NULL;
    if (wish->kind == LAYOUT_OFF || !model_use_packs(use))
        return open_model(path, k, which, use, m, tok, context_tokens);
    if (open_is_saved(path)) TRY(checkpoint_open(&saved, path));
    const opening o = {saved ? saved->path : path, which, k, use, wish, m, tok, context_tokens, line};
    const status s = open_resolved(&o);
    checkpoint_close(saved);
    if (s != STATUS_OK) note(&o, NULL); /* why there is no model says more */
    return s;
}

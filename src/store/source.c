#include "store/source.h"

#include "base/file.h"
#include "base/memory.h"
#include "formats/pretrained.h"
#include "formats/safetensors.h"
#include "store/artifact.h"
#include "store/checkpoint.h"
#include "store/checkpoint_folder.h"
#include "store/open.h"
#include <stdlib.h>
#include <string.h>

struct model_source {
    char *path;
    const char *kind;
    char *note;
    weight_source weights;
    tokenizer *tok;
    int context;
    pretrained *foreign; /* one of these three */
    checkpoint *saved;
    model *m;
    safetensors file; /* of the checkpoint */
};

/* ---- a checkpoint ---- */

static status read_saved(void *context, const param_spec *spec, int64_t first, int64_t rows, float *out) {
    const model_source *s = context;
    char name[PARAM_NAME_BYTES];
    param_spec_name(spec, name);
    return safetensors_read_rows(&s->file, name, spec->ndim, spec->shape, first, rows, out);
}

static status open_saved(model_source *s, const char *which) {
    TRY(checkpoint_require(&s->saved, s->path));
    s->note = checkpoint_weights_note(s->saved, which);
    TRY(checkpoint_weights(s->saved, which, &which));
    const char *name = strcmp(which, "ema") == 0 ? AVERAGE_FILE : WEIGHTS_FILE;
    TRY(checkpoint_load_model_config(s->saved, &s->weights.config));
    TRY(checkpoint_verify_file(s->saved, name));
    if (checkpoint_has(s->saved, TOKENIZER_FILE)) TRY(checkpoint_open_tokenizer(s->saved, &s->tok));
    char *path = checkpoint_file(s->saved, name);
    const status opened = safetensors_open(&s->file, path);
    free(path);
    TRY(opened);
    s->kind = "checkpoint";
    s->context = s->saved->context_tokens;
    s->weights.read = read_saved;
    s->weights.context = s;
    return STATUS_OK;
}

/* ---- the others ---- */

static status open_foreign(model_source *s) {
    TRY(pretrained_open(&s->foreign, s->path));
    TRY(pretrained_open_tokenizer(s->foreign, &s->tok));
    s->kind = pretrained_gguf(s->foreign) ? "GGUF file" : "Hugging Face folder";
    s->context = pretrained_context(s->foreign);
    s->weights = pretrained_weights(s->foreign);
    return STATUS_OK;
}

static status open_artifact(model_source *s) {
    const kernels *k;
    TRY(device_open("cpu", "f32", &k));
    TRY(artifact_read(s->path, k, MODEL_RUN, &s->m, &s->tok, &s->context));
    s->kind = "artifact";
    s->weights = weight_source_of(s->m);
    return STATUS_OK;
}

static status open_any(model_source *s, const char *which) {
    path_kind kind;
    TRY(path_look(s->path, &kind));
    if (kind == PATH_ABSENT) return fail("%s: no such file or folder", s->path);
    const bool foreign = pretrained_is(s->path);
    if (kind == PATH_FOLDER && !foreign) return open_saved(s, which);
    TRY(open_check_weights(s->path, which));
    return foreign ? open_foreign(s) : open_artifact(s);
}

status model_source_open(model_source **out, const char *path, const char *which) {
    model_source *s = xcalloc(1, sizeof *s);
    s->path = xstrdup(path);
    const status result = open_any(s, which);
    if (result == STATUS_OK)
        *out = s;
    else
        model_source_close(s);
    return result;
}

void model_source_close(model_source *s) {
    if (!s) return;
    pretrained_close(s->foreign);
    checkpoint_close(s->saved);
    model_destroy(s->m);
    if (s->file.path) safetensors_close(&s->file);
    tokenizer_close(s->tok);
    free(s->note);
    free(s->path);
    free(s);
}

const weight_source *model_source_weights(const model_source *s) {
    return &s->weights;
}
const char *model_source_kind(const model_source *s) {
    return s->kind;
}
const char *model_source_note(const model_source *s) {
    return s->note;
}
int model_source_context(const model_source *s) {
    return s->context;
}
tokenizer *model_source_tokenizer(const model_source *s) {
    return s->tok;
}
status model_source_take_tokenizer(model_source *s, tokenizer **tok) {
    if (!s->tok) return fail("%s: expected a model with a tokenizer, found none in the %s", s->path, s->kind);
    *tok = s->tok;
    s->tok = NULL;
    return STATUS_OK;
}
const char *model_source_path(const model_source *s) {
    return s->path;
}

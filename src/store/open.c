#include "store/open.h"

#include "base/file.h"
#include "base/memory.h"
#include "formats/gguf_tokenizer.h"
#include "formats/pretrained.h"
#include "nn/hot_experts.h"
#include "store/artifact.h"
#include "store/artifact_contents.h"
#include "store/checkpoint.h"
#include "store/source.h"
#include "surgery/kept_experts.h"
#include <stdlib.h>
#include <string.h>

/* Pieces of the tokenizer beyond the model's vocabulary would be ids without an embedding. */
static status check_vocabulary(const char *path, const tokenizer *tok, const model_config *c) {
    if (tokenizer_vocab_size(tok) <= c->vocab_size) return STATUS_OK;
    return fail("%s: expected at most %d pieces in its tokenizer, found %d", path, c->vocab_size,
                tokenizer_vocab_size(tok));
}

static status open_checkpoint(const checkpoint *c, const kernels *k, const char *which, model_use use, model **m,
                              tokenizer **tok, int *context_tokens) {
    if (context_tokens) *context_tokens = c->context_tokens;
    TRY(checkpoint_open_tokenizer(c, tok));
    status s = checkpoint_load_model(c, k, which, use, m);
    if (s == STATUS_OK) {
        s = check_vocabulary(c->path, *tok, &(*m)->config);
        if (s != STATUS_OK) model_destroy(*m);
    }
    if (s != STATUS_OK) tokenizer_close(*tok);
    return s;
}

static status open_weights(const model_source *source, const weight_source *weights, const kernels *k, model_use use,
                           const tokenizer *tok, model **m) {
    TRY(fail_in(model_create(m, &weights->config, k, use), "%s", model_source_path(source)));
    status s = check_vocabulary(model_source_path(source), tok, &(*m)->config);
    if (s == STATUS_OK) s = weight_source_fill(weights, *m);
    if (s == STATUS_OK) s = model_refresh(*m);
    if (s != STATUS_OK) model_destroy(*m);
    return s;
}

/* chosen: NULL: all experts. */
static status open_source(const char *path, const kernels *k, const char *which, model_use use, const bool *chosen,
                          model **m, tokenizer **tok, int *context_tokens) {
    model_source *source;
    kept_experts kept;
    TRY(model_source_open(&source, path, which));
    const weight_source *weights = model_source_weights(source);
    if (context_tokens) *context_tokens = model_source_context(source);
    status s = chosen ? fail_in(keep_experts(&kept, weights, chosen), "%s", path) : STATUS_OK;
    if (s == STATUS_OK) s = model_source_take_tokenizer(source, tok);
    if (s == STATUS_OK) {
        memory_trim(); /* tables that grew: weights are the most that there will be */
        s = open_weights(source, chosen ? &kept.weights : weights, k, use, *tok, m);
        if (s != STATUS_OK) tokenizer_close(*tok);
    }
    model_source_close(source);
    return s;
}

bool open_is_saved(const char *path) {
    return path_is_folder(path) && !pretrained_is(path);
}

status open_check_weights(const char *path, const char *which) {
    if (strcmp(which, "chosen") == 0 || open_is_saved(path)) return STATUS_OK;
    return fail_usage("%s: --%s: expected a run or a checkpoint, whose weights are live and averaged", path, which);
}

static status open_whole(const char *path, const kernels *k, const char *which, model_use use, model **m,
                         tokenizer **tok, int *context_tokens) {
    path_kind kind;
    TRY(path_look(path, &kind));
    if (kind == PATH_ABSENT) return fail("%s: no such file or folder", path);
    TRY(open_check_weights(path, which));
    if (pretrained_is(path)) return open_source(path, k, which, use, NULL, m, tok, context_tokens);
    if (kind != PATH_FOLDER) return artifact_read(path, k, use, m, tok, context_tokens);
    if (model_use_packs(use)) return open_source(path, k, which, use, NULL, m, tok, context_tokens);
    checkpoint *c;
    TRY(checkpoint_require(&c, path));
    status s = open_checkpoint(c, k, which, use, m, tok, context_tokens);
    checkpoint_close(c);
    return s;
}

status open_model(const char *path, const kernels *k, const char *which, model_use use, model **m, tokenizer **tok,
                  int *context_tokens) {
    const status s = open_whole(path, k, which, use, m, tok, context_tokens);
    memory_trim(); /* what was there while it was read */
    return s;
}

static bool is_artifact(const char *path, path_kind kind) {
    return kind != PATH_FOLDER && !pretrained_is(path);
}

status open_model_experts(const char *path, const kernels *k, const char *which, model_use use, const bool *chosen,
                          model **m, tokenizer **tok, int *context_tokens) {
    path_kind kind;
    TRY(path_look(path, &kind));
    if (kind == PATH_ABSENT) return fail("%s: no such file or folder", path);
    TRY(open_check_weights(path, which));
    const status s = is_artifact(path, kind) ? artifact_read_experts(path, k, use, chosen, m, tok, context_tokens)
                                             : open_source(path, k, which, use, chosen, m, tok, context_tokens);
    memory_trim();
    return s;
}

static void close_source(void *source) {
    model_source_close(source);
}

/* The model keeps the source, which its experts come from. */
static status open_hot(model_source *source, const kernels *k, model_use use, int most, model **m, tokenizer **tok) {
    const char *path = model_source_path(source);
    TRY(model_source_take_tokenizer(source, tok));
    status s = fail_in(model_create_hot(m, model_source_weights(source), k, use, most), "%s", path);
    if (s == STATUS_OK) {
        s = check_vocabulary(path, *tok, &(*m)->config);
        if (s == STATUS_OK)
            hot_experts_keep(*m, source, close_source);
        else
            model_destroy(*m);
    }
    if (s != STATUS_OK) tokenizer_close(*tok);
    return s;
}

status open_model_hot(const char *path, const kernels *k, const char *which, model_use use, int most, model **m,
                      tokenizer **tok, int *context_tokens) {
    path_kind kind;
    model_source *source;
    TRY(path_look(path, &kind));
    if (kind != PATH_ABSENT && is_artifact(path, kind))
        return fail(
            "%s: expected a folder, a checkpoint or a GGUF file, whose experts can be read one by one, found an "
            "artifact",
            path);
    TRY(model_source_open(&source, path, which));
    if (context_tokens) *context_tokens = model_source_context(source);
    const status s = open_hot(source, k, use, most, m, tok);
    if (s != STATUS_OK) model_source_close(source);
    memory_trim();
    return s;
}

/* ---- without weights ---- */

static status config_of_artifact(const char *path, model_config *config) {
    artifact_contents *contents = xcalloc(1, sizeof *contents);
    const status s = artifact_examine_config(contents, path);
    if (s == STATUS_OK) *config = contents->model;
    free(contents);
    return s;
}

static status config_of_pretrained(const char *path, model_config *config) {
    pretrained *p;
    TRY(pretrained_open(&p, path));
    *config = *pretrained_config(p);
    pretrained_close(p);
    return STATUS_OK;
}

status open_model_config(const char *path, model_config *config) {
    path_kind kind;
    checkpoint *c;
    TRY(path_look(path, &kind));
    if (kind == PATH_ABSENT) return fail("%s: no such file or folder", path);
    if (pretrained_is(path)) return config_of_pretrained(path, config);
    if (kind != PATH_FOLDER) return config_of_artifact(path, config);
    TRY(checkpoint_require(&c, path));
    const status s = checkpoint_load_model_config(c, config);
    checkpoint_close(c);
    return s;
}

/* context_tokens, here and below: may be NULL. */
static status pretrained_outside(const char *path, model_config *config, tokenizer **tok, int *context_tokens) {
    pretrained *p;
    TRY(pretrained_open(&p, path));
    *config = *pretrained_config(p);
    if (context_tokens) *context_tokens = pretrained_context(p);
    status s = pretrained_open_tokenizer(p, tok);
    pretrained_close(p);
    if (s == STATUS_OK && !*tok) s = fail("%s: expected a model with a tokenizer, found none", path);
    return s;
}

static status checkpoint_outside(const char *path, model_config *config, tokenizer **tok, int *context_tokens) {
    checkpoint *c;
    TRY(checkpoint_require(&c, path));
    if (context_tokens) *context_tokens = c->context_tokens;
    status s = checkpoint_load_model_config(c, config);
    if (s == STATUS_OK) s = checkpoint_open_tokenizer(c, tok);
    checkpoint_close(c);
    return s;
}

status open_model_outside(const char *path, model_config *config, tokenizer **tok, int *context_tokens) {
    path_kind kind;
    TRY(path_look(path, &kind));
    if (kind == PATH_ABSENT) return fail("%s: no such file or folder", path);
    status (*const outside)(const char *, model_config *, tokenizer **, int *) =
        pretrained_is(path)   ? pretrained_outside
        : kind == PATH_FOLDER ? checkpoint_outside
                              : artifact_read_outside;
    TRY(outside(path, config, tok, context_tokens));
    const status s = check_vocabulary(path, *tok, config);
    if (s != STATUS_OK) tokenizer_close(*tok);
    return s;
}

status open_stores_codes(const char *path, bool *codes) {
    path_kind kind;
    pretrained *p;
    *codes = false;
    TRY(path_look(path, &kind));
    if (kind == PATH_ABSENT) return fail("%s: no such file or folder", path);
    if (kind == PATH_FOLDER) return STATUS_OK; /* checkpoints and safetensors are floats */
    *codes = !pretrained_is(path);
    if (*codes) return STATUS_OK;
    TRY(pretrained_open(&p, path));
    *codes = pretrained_has_codes(p);
    pretrained_close(p);
    return STATUS_OK;
}

status open_tokenizer(const char *path, tokenizer **tok) {
    path_kind kind;
    checkpoint *c;
    TRY(path_look(path, &kind));
    if (kind == PATH_ABSENT) return fail("%s: no such file or folder", path);
    if (kind == PATH_FILE && gguf_is(path)) return gguf_open_tokenizer(tok, path); /* it may have no weights */
    if (kind != PATH_FOLDER) return artifact_is(path) ? artifact_read_tokenizer(path, tok) : tokenizer_open(tok, path);
    TRY(checkpoint_open(&c, path));
    if (!c) return tokenizer_open(tok, path);
    status s = checkpoint_open_tokenizer(c, tok);
    checkpoint_close(c);
    return s;
}

#include "pack/open.h"

#include "base/file.h"
#include "base/memory.h"
#include "pack/artifact.h"
#include "train/checkpoint.h"
#include <stdlib.h>
#include <string.h>

static status trained_length(const char *checkpoint, int *context_tokens) {
    run_config config = run_config_default();
    status s = checkpoint_load_config(checkpoint, &config);
    if (s == STATUS_OK) *context_tokens = (int)config.seq;
    run_config_free(&config);
    return s;
}

static status open_checkpoint(const char *checkpoint, const kernels *k, const char *which, model **m, tokenizer **tok,
                              int *context_tokens) {
    bool average;
    TRY(checkpoint_has_average(checkpoint, &average));
    if (context_tokens) TRY(trained_length(checkpoint, context_tokens));
    TRY(checkpoint_open_tokenizer(checkpoint, tok));
    status s = checkpoint_load_model(checkpoint, k, average ? which : "live", m);
    if (s != STATUS_OK) tokenizer_close(*tok);
    return s;
}

status open_model(const char *path, const kernels *k, const char *which, model **m, tokenizer **tok,
                  int *context_tokens) {
    if (!path_exists(path)) return fail("%s: no such file or folder", path);
    if (!path_is_folder(path)) return artifact_read(path, k, m, tok, context_tokens);
    char *checkpoint;
    TRY(checkpoint_find(path, &checkpoint));
    if (!checkpoint) return fail("%s: expected a checkpoint or a run folder with one, found neither", path);
    status s = open_checkpoint(checkpoint, k, which, m, tok, context_tokens);
    free(checkpoint);
    return s;
}

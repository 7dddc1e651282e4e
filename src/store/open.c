#include "store/open.h"

#include "base/file.h"
#include "store/artifact.h"
#include "store/checkpoint.h"

static status open_checkpoint(const checkpoint *c, const kernels *k, const char *which, model_use use, model **m,
                              tokenizer **tok, int *context_tokens) {
    if (context_tokens) *context_tokens = c->context_tokens;
    TRY(checkpoint_open_tokenizer(c, tok));
    status s = checkpoint_load_model(c, k, which, use, m);
    if (s == STATUS_OK && tokenizer_vocab_size(*tok) > (*m)->config.vocab_size) {
        s = fail("%s: expected at most %d pieces in its tokenizer, found %d", c->path, (*m)->config.vocab_size,
                 tokenizer_vocab_size(*tok));
        model_destroy(*m);
    }
    if (s != STATUS_OK) tokenizer_close(*tok);
    return s;
}

status open_model(const char *path, const kernels *k, const char *which, model_use use, model **m, tokenizer **tok,
                  int *context_tokens) {
    path_kind kind;
    TRY(path_look(path, &kind));
    if (kind == PATH_ABSENT) return fail("%s: no such file or folder", path);
    if (kind != PATH_FOLDER) return artifact_read(path, k, use, m, tok, context_tokens);
    checkpoint *c;
    TRY(checkpoint_require(&c, path));
    status s = open_checkpoint(c, k, which, use, m, tok, context_tokens);
    checkpoint_close(c);
    return s;
}

status open_tokenizer(const char *path, tokenizer **tok) {
    path_kind kind;
    checkpoint *c;
    TRY(path_look(path, &kind));
    if (kind == PATH_ABSENT) return fail("%s: no such file or folder", path);
    if (kind != PATH_FOLDER) return artifact_is(path) ? artifact_read_tokenizer(path, tok) : tokenizer_open(tok, path);
    TRY(checkpoint_open(&c, path));
    if (!c) return tokenizer_open(tok, path);
    status s = checkpoint_open_tokenizer(c, tok);
    checkpoint_close(c);
    return s;
}

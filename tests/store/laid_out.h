/* Small models in files, what they write with and without a layout, and what then lies in a folder of layouts. */
#ifndef MOEC_TESTS_STORE_LAID_OUT_H
#define MOEC_TESTS_STORE_LAID_OUT_H

#include "foreign.h"
#include "letters_tokenizer.h"

#include "store/artifact.h"
#include "store/checkpoint_alone.h"
#include "store/layout_cache.h"
#include "store/layout_file.h"
#include "store/layout_head.h"
#include "store/layout_open.h"
#include "store/open.h"

static const model_use eight = MODEL_RUN_8, four = (model_use)(MODEL_RUN_4 | MODEL_RUN_INPUTS_8);
enum { LOGITS = LENGTH * VOCAB };

static inline void write_checkpoint(const char *path, const model_config *c, uint64_t seed) {
    model *values = random_model_by(c, seed);
    tokenizer *tok = letters_tokenizer(VOCAB);
    const weight_source w = weight_source_of(values);
    assert_ok(folder_remove(path));
    assert_ok(checkpoint_write_alone(path, &w, STORAGE_F32, tok, 512, NULL, NULL));
    tokenizer_close(tok);
    model_destroy(values);
}

static inline void write_artifact(const char *path, const model_config *c) {
    model *values = random_model(c);
    tokenizer *tok = letters_tokenizer(VOCAB);
    pack_options pack = pack_options_default();
    pack_report report;
    pack.quant.gptq = false;
    pack.context_tokens = 512;
    assert_ok(artifact_write(path, values, tok, NULL, &pack, &report));
    tokenizer_close(tok);
    model_destroy(values);
}

/* Its logits with that wish; *note as open_model_laid_out gives it (free it), or NULL: there is to be none. */
static inline void open_logits(const char *path, model_use use, layout_wish wish, float *logits, char **note) {
    model *m;
    tokenizer *tok;
    char *line = NULL;
    int context = 0;
    assert_ok(open_model_laid_out(path, kernels_for(DTYPE_F32), "chosen", use, &wish, &m, &tok, &context, &line));
    assert_int_equal(context, 512);
    assert_int_equal(tokenizer_vocab_size(tok), VOCAB);
    logits_of(m, logits);
    model_destroy(m);
    tokenizer_close(tok);
    if (note)
        *note = line;
    else if (line)
        fail_msg("%s: a line that nobody expects: %s", path, line);
}

static inline void open_without(const char *path, model_use use, float *logits) {
    open_logits(path, use, (layout_wish){.kind = LAYOUT_OFF}, logits, NULL);
}

/* A line that has `part` in it. */
static inline void assert_note(char *note, const char *part) {
    if (!note || !strstr(note, part)) fail_msg("expected a line with \"%s\", found %s", part, note ? note : "none");
    free(note);
}

static inline size_t files_in(const char *folder) {
    char **names;
    size_t count;
    assert_ok(folder_list(folder, &names, &count));
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
    return count;
}

/* FOLDER/ the only one that lies there; a new string. */
static inline char *only_file(const char *folder) {
    char **names;
    size_t count;
    assert_ok(folder_list(folder, &names, &count));
    assert_int_equal(count, 1);
    char *path = path_join(folder, names[0]);
    free(names[0]);
    free(names);
    return path;
}

#endif

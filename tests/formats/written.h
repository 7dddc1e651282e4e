/* Models as folders and files of other people's, and what comes back of them. */
#ifndef MOEC_TESTS_FORMATS_WRITTEN_H
#define MOEC_TESTS_FORMATS_WRITTEN_H

#include "foreign.h"

#include "formats/gguf_write.h"
#include "formats/hf_write.h"
#include "formats/pretrained.h"

static inline model *read_model(const char *path, pretrained **source) {
    model *m;
    assert_true(pretrained_is(path));
    assert_ok(pretrained_open(source, path));
    const weight_source w = pretrained_weights(*source);
    assert_ok(model_create(&m, pretrained_config(*source), kernels_for(DTYPE_F32), MODEL_VALUES));
    assert_ok(weight_source_fill(&w, m));
    return m;
}

/* Reading `path` gives a model that computes the same as m, to `tolerance`. */
static inline void assert_same_model(model *m, const char *path, double tolerance) {
    static float ours[LENGTH * VOCAB], theirs[LENGTH * VOCAB];
    pretrained *source;
    model *back = read_model(path, &source);
    logits_of(m, ours);
    logits_of(back, theirs);
    const double found = difference(ours, theirs);
    if (!(found <= tolerance))
        fail_msg("%s: logits of %d layers, %d heads differ by %g", path, m->config.num_layers,
                 m->config.attention.heads, found);
    model_destroy(back);
    pretrained_close(source);
}

static inline void write_hf(const char *folder, const model *m, const char *family, storage type, int64_t shard_bytes) {
    const weight_source w = weight_source_of(m);
    const hf_write_options o = {.family = family_of_type(family),
                                .type = type,
                                .context_tokens = 512,
                                .bos = 1,
                                .eos = -1,
                                .shard_bytes = shard_bytes};
    assert_ok(folder_remove(folder));
    assert_ok(folder_create(folder));
    assert_ok(hf_write(folder, &w, &o));
}

static inline status write_gguf(const char *path, const model *m, const char *family, storage type) {
    const weight_source w = weight_source_of(m);
    const gguf_builder metadata = {0};
    const gguf_write_options o = {
        .family = family_of_type(family), .type = type, .context_tokens = 512, .name = "a test"};
    return gguf_write(path, &w, &metadata, &o);
}

#endif

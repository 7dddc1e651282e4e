/* A tokenizer of all bytes and some longer tokens, and an untrained mixture whose every part matters: it says anything. */
#ifndef MOEC_TESTS_GENERATE_TEXTS_H
#define MOEC_TESTS_GENERATE_TEXTS_H

#include "looking_back.h"

#include "base/random.h"
#include "nn/model.h"
#include "nn/weight_source.h"
#include "text/tokenizer_kind.h"

static const char *const texts_pieces[] = {"{\"",
                                           "\":",
                                           "\": ",
                                           "\"}",
                                           "\",",
                                           "}}",
                                           "]}",
                                           "[[",
                                           "], [",
                                           "\\u",
                                           "\\ud8",
                                           "\\",
                                           "true",
                                           "tr",
                                           "null,",
                                           "-1",
                                           "0.",
                                           "e+",
                                           "\xc3\xa9",
                                           "\xe2\x82",
                                           "\xf0\x9f\x98",
                                           "  ",
                                           "\n\n",
                                           "ab",
                                           "abc",
                                           "the ",
                                           " {",
                                           "\"a\":1",
                                           "12345678901234567890"};
enum {
    TEXTS_BOS,
    TEXTS_END,
    TEXTS_BYTES, /* the id of byte 0 */
    TEXTS_LONGER = TEXTS_BYTES + 256,
    TEXTS_IDS = TEXTS_LONGER + sizeof texts_pieces / sizeof *texts_pieces,
    TEXTS_VOCAB = 304, /* of the model, which is padded */
    TEXTS_EXPERTS = LOOKING_BACK_EXPERTS,
    TEXTS_LAYERS = LOOKING_BACK_LAYERS
};

static inline status texts_encode(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count) {
    (void)t;
    *ids = xmalloc((bytes + 1) * sizeof **ids);
    *count = bytes;
    for (size_t i = 0; i < bytes; i++) (*ids)[i] = TEXTS_BYTES + (unsigned char)text[i];
    return STATUS_OK;
}

static inline void texts_release(void *own) {
    (void)own;
}

static const tokenizer_kind texts_kind = {.name = "texts", .encode = texts_encode, .release = texts_release};

static inline tokenizer *texts_tokenizer(void) {
    tokenizer *t = tokenizer_create(&texts_kind, NULL, "", 0);
    tokenizer_add_boundary(t, "<s>");
    tokenizer_add_boundary(t, "</s>");
    for (int byte = 0; byte < 256; byte++) {
        const char text = (char)byte;
        tokenizer_add_token(t, "byte", &text, 1, false);
    }
    for (int i = 0; i < TEXTS_IDS - TEXTS_LONGER; i++)
        tokenizer_add_token(t, texts_pieces[i], texts_pieces[i], (int)strlen(texts_pieces[i]), false);
    t->bos = TEXTS_BOS;
    tokenizer_add_end(t, TEXTS_END);
    return t;
}

/* noise: of the weights; the more, the surer the model is of what it says */
static inline model *texts_model(dtype type, float noise) {
    const model_config c = looking_back_config(TEXTS_VOCAB);
    return looking_back_model(&c, type, noise);
}

/* The same run from codes of 8 bits. */
static inline model *texts_model_of_codes(const model *m) {
    const weight_source from = weight_source_of(m);
    model *run;
    assert_ok(model_create(&run, &from.config, kernels_for(DTYPE_F32), MODEL_RUN_8));
    assert_ok(weight_source_fill(&from, run));
    assert_ok(model_refresh(run));
    return run;
}

/* Both, for a test's setup and teardown. */
typedef struct texts_fixture {
    model *m;
    tokenizer *t;
} texts_fixture;

static inline int texts_setup(void **state) {
    texts_fixture *f = xmalloc(sizeof *f);
    *f = (texts_fixture){texts_model(DTYPE_F32, 0.3f), texts_tokenizer()};
    *state = f;
    return 0;
}

static inline int texts_teardown(void **state) {
    texts_fixture *f = *state;
    model_destroy(f->m);
    tokenizer_close(f->t);
    free(f);
    return 0;
}

#endif

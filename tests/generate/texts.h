/* A tokenizer of all bytes and some longer tokens, and an untrained mixture whose every part matters: it says anything. */
#ifndef MOEC_TESTS_GENERATE_TEXTS_H
#define MOEC_TESTS_GENERATE_TEXTS_H

#include "disturb.h"

#include "base/random.h"
#include "nn/model.h"
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
    TEXTS_EXPERTS = 4,
    TEXTS_LAYERS = 3
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
    model_config c = model_config_default();
    model *m;
    c.vocab_size = TEXTS_VOCAB;
    c.num_layers = TEXTS_LAYERS;
    c.model_dim = 32;
    c.attention.heads = 4;
    c.attention.kv_heads = 2;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.stem.smear = true;
    c.stem.bigram_buckets = c.stem.trigram_buckets = 40;
    c.stem.bigram_dim = c.stem.trigram_dim = 8;
    c.residual.smear_width = 6;
    c.residual.parallel_start_layer = TEXTS_LAYERS;
    c.loop.on = true;
    c.loop.extra_passes = 1;
    c.loop.first = c.loop.last = 1;
    c.moe.layers[1] = c.moe.layers[2] = true;
    c.moe.experts = TEXTS_EXPERTS;
    c.moe.top_k = 2;
    c.moe.gate = GATE_RENORMALIZED;
    assert_ok(model_create(&m, &c, kernels_for(type), MODEL_VALUES));
    assert_ok(model_init(m, 5));
    disturb(m, 3, noise);
    return m;
}

#endif

/* A model that takes no time: two layers of 32 channels, with the parts that look at neighbouring tokens. */
#ifndef MOEC_TESTS_EVAL_SMALL_MODEL_H
#define MOEC_TESTS_EVAL_SMALL_MODEL_H

#include "nn/config.h"

static inline model_config small_model(int vocab_size) {
    model_config c = model_config_default();
    c.vocab_size = vocab_size;
    c.num_layers = 2;
    c.model_dim = 32;
    c.attention.heads = 2;
    c.attention.kv_heads = 1;
    c.rotary.dims = 8;
    c.residual.smear_width = 4;
    c.residual.parallel_start_layer = 2;
    c.stem.bigram_buckets = 64;
    c.stem.bigram_dim = 16;
    c.loop.first = c.loop.last = 1;
    return c;
}

#endif

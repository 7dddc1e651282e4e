/* The family of #2102 in six small layers, dense and as mixtures: looped layers, U-Net skips, a parallel layer, hashes, SmearGates, the
 * embedding mixed into each block. */
#ifndef MOEC_TESTS_NN_RECORD_FAMILY_H
#define MOEC_TESTS_NN_RECORD_FAMILY_H

#include "nn/config.h"

enum { VOCAB = 80 };

static inline model_config record_family(void) {
    model_config c = model_config_default();
    c.vocab_size = VOCAB;
    c.num_layers = 6;
    c.model_dim = 64;
    c.attention.heads = 4;
    c.attention.kv_heads = 2;
    c.mlp.mult = 2;
    c.rotary.dims = 8;
    c.residual.parallel_start_layer = 5;
    c.stem.bigram_buckets = 32;
    c.stem.bigram_dim = 16;
    c.loop.extra_passes = 2;
    c.loop.first = 1;
    c.loop.last = 3;
    c.loop.on = true;
    return c;
}

/* Every other layer a mixture: of as many experts a token as this gate can have. */
static inline model_config record_mixture(gate_kind gate) {
    model_config c = record_family();
    for (int i = 0; i < c.num_layers; i++) c.moe.layers[i] = i % 2 == 1;
    c.moe.experts = 4;
    c.moe.top_k = gate == GATE_SOFT || gate == GATE_STRAIGHT_THROUGH ? 1 : 2;
    c.moe.gate = gate;
    c.moe.aux_weight = 0.05f;
    return c;
}

#endif

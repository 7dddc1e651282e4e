/* How a model's matrices are quantised. */
#ifndef MOEC_QUANT_OPTIONS_H
#define MOEC_QUANT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct quant_options {
    int bits;       /* of matrices in blocks: 2 … 8 */
    int embed_bits; /* of embeddings and the head; 0: as bits */
    double
        least_step; /* of matrices in blocks: the finest step in a row's σ (quantize.h); 0: the error alone decides */
    double embed_least_step;     /* the same of embeddings and the head */
    double prune_fraction;       /* of each matrix in blocks: its smallest weights become 0 (prune.h) */
    double damp;                 /* of GPTQ's Hessian, relative to its mean diagonal: 0.01 */
    bool gptq;                   /* false: rounding (the baseline) */
    int64_t keep_float_elements; /* matrices up to this size stay floats (65,536 in #2102; here 1024) */
    /* What the script of #2102 does otherwise, each a switch, to find out what it costs (`moec study --gap`): */
    double least_scale; /* no row's step is below it, whatever its weights are: 1/31 there; 0: none */
    bool plain_clip;    /* scales by the error of rounding, each weight for itself, not by what GPTQ leaves */
    bool plain_tables;  /* embeddings and the head are rounded, whatever their inputs were */
    bool pool_experts;  /* an expert's Hessian is that of all tokens, not of those that are routed to it (hessians.h) */
} quant_options;

/* Measured on a looped 4.7 M-parameter MoE (d 192, V 2048, 1.5 M tokens of training; EMA 1.9849 bits/byte), int6 blocks and
 * int8 embedding: step 0: 5.56 bits a weight, +0.0003; 0.2: 4.74, −0.0002; 0.35: 4.05, +0.0013; 0.45: 3.74, +0.0043.
 * With plain rounding and a step of 0.3 everywhere the gap is +0.031, with GPTQ +0.009. */
static const quant_options quant_options_default = {
    .bits = 6, .embed_bits = 8, .least_step = 0.25, .damp = 0.01, .gptq = true, .keep_float_elements = 1024};

/* As #2102's script packs (its suspects 2 and 4 to 6, ../shared/reference.md): int6 everywhere, GPTQ with damping of 1 %.
 * Our search for scales stands for its five clip percentiles, and our coder for its LZMA. */
static inline quant_options quant_options_record(void) {
    return (quant_options){.bits = 6,
                           .embed_bits = 6,
                           .damp = 0.01,
                           .gptq = true,
                           .keep_float_elements = 65536,
                           .least_scale = 1.0 / 31,
                           .plain_clip = true,
                           .plain_tables = true,
                           .pool_experts = true};
}

static inline int quant_embed_bits(const quant_options *o) {
    return o->embed_bits ? o->embed_bits : o->bits;
}

#endif

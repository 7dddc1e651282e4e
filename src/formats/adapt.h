/* A model as a family has it: what the family always has and the model has not is added so that nothing changes (norms'
 * weights of one, biases of zero; a shared MLP without a gate gets one of zero, σ(0) = ½, and twice the projection; a norm's
 * factor by depth goes into its weights). What the family cannot hold is refused with the reason. */
#ifndef MOEC_FORMATS_ADAPT_H
#define MOEC_FORMATS_ADAPT_H

#include "formats/family.h"

typedef struct adapted {
    weight_source weights; /* of the adapted config, in the source's rotary convention */
    const weight_source *from;
    const family *family;
    bool gated;  /* the shared MLP got a gate */
    bool untied; /* the head is a copy of the embedding */
    float gate;  /* the weights of a gate that knows nothing: 0, or next to it */
} adapted;

/* As transformers has the family. *a must stay where it is, and `from` outlive it. */
status adapt_to_hf(adapted *a, const weight_source *from, const family *f);
/* As llama.cpp has it, which can do less: every layer is a mixture or none, Qwen2-MoE's gates are not normalised and its head
 * is its own, Qwen3-MoE's gates are normalised, yarn's ramp is fixed, some biases are not read. It computes σ(x) as
 * silu(x) / x, so a gate of zero is one of 10⁻²⁰ there. */
status adapt_to_gguf(adapted *a, const weight_source *from, const family *f);

#endif

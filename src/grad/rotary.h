/* Rotary position embedding (Su et al. 2021): which angle each pair of a head's channels is turned by at each position. */
#ifndef MOEC_GRAD_ROTARY_H
#define MOEC_GRAD_ROTARY_H

#include "kernel/kernel.h"

/* Which channels form pair i of `dims` rotated ones, and which way it turns by θ = position · frequency_i. */
typedef enum rotary_style {
    ROTARY_RECORD, /* (i, i + dims/2) → (x₁ cos θ + x₂ sin θ, x₂ cos θ − x₁ sin θ): the record scripts */
    ROTARY_HALVES, /* (i, i + dims/2) → (x₁ cos θ − x₂ sin θ, x₂ cos θ + x₁ sin θ): Hugging Face's Llama and Qwen */
    ROTARY_NEIGHBOURS /* (2i, 2i + 1), turned as ROTARY_HALVES: Meta's Llama, and GGUF's after its permutation */
} rotary_style;

/* How frequencies change for contexts beyond the one trained on, as transformers' modeling_rope_utils.py has it. */
typedef enum rotary_scaling {
    ROTARY_UNSCALED, /* frequency_i = base^(−2i/dims) */
    ROTARY_LINEAR,   /* … / factor */
    ROTARY_LLAMA3,   /* long waves / factor, short ones as they are, between them smoothly (Llama 3.1) */
    ROTARY_YARN      /* the same by a ramp over the channels, and cos and sin × attention_factor (Peng et al. 2023) */
} rotary_scaling;

typedef struct rotary_config {
    float base;
    int dims; /* rotated channels of a head; 0: all */
    rotary_style style;
    rotary_scaling scaling;
    float factor;
    int original_context;                    /* llama3, yarn: the context that was trained on */
    float low_freq_factor, high_freq_factor; /* llama3 */
    float beta_fast, beta_slow;              /* yarn: turns within original_context where the ramp begins and ends */
    float attention_factor;                  /* yarn; 0: 0.1 ln(factor) + 1 */
} rotary_config;

/* What pair i of `dims` rotated channels turns by from one position to the next. */
float rotary_frequency(const rotary_config *c, int dims, int i);
/* yarn's attention factor where the configuration does not say it. */
float rotary_yarn_amplitude(float factor);

typedef struct rotary rotary;
status rotary_create(rotary **out, const kernels *k, const rotary_config *config, int head_dim);
void rotary_destroy(rotary *r);
/* The table for positions below `positions`; valid as long as r. Safe from several threads. NULL: no memory. */
const rotary_table *rotary_reserve(rotary *r, int64_t positions);

#endif

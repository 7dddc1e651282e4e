/* The draw itself, for a caller that keeps its memory from token to token. */
#ifndef MOEC_GENERATE_SAMPLE_H
#define MOEC_GENERATE_SAMPLE_H

#include "generate/sampler.h"

typedef struct candidate {
    float logit, weight;
    int32_t id;
} candidate;

/* As sample(); c: [vocab_size], overwritten. Ids whose logit is −∞ are never drawn unless all are. */
int32_t sample_among(const sampler *s, const float *logits, int vocab_size, candidate *c, rng *r);

#endif

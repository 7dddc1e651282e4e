/* What a router knows before it is trained: rows that stand for what its experts are meant for.
 *
 *   hidden       the stream that a layer gets at the last token of each prompt of the expert, mean over prompts, minus the
 *                same of its negative prompts, to unit length (mergekit-moe's gate_mode hidden); hidden_avg: mean over tokens
 *   cheap_embed  the sum of the prompts' token embeddings, to unit length, minus the same of its negative prompts, to unit
 *                length again; the same for every layer (mergekit-moe's)
 *   cluster      k-means (k-means++ seeds, Lloyd's steps) of what the layer's MLP reads on calibration text; each centre
 *                less the mean of all, to unit length */
#ifndef MOEC_SURGERY_ROUTER_INIT_H
#define MOEC_SURGERY_ROUTER_INIT_H

#include "surgery/upcycle.h"
#include "text/batch.h"
#include "text/tokenizer.h"

/* The texts that an expert is meant for, and those that it is not. */
typedef struct expert_prompts {
    char *name;
    char **positive, **negative;
    int positive_count, negative_count;
} expert_prompts;

typedef enum prompt_mode { PROMPTS_HIDDEN, PROMPTS_HIDDEN_AVG, PROMPTS_CHEAP_EMBED } prompt_mode;
/* prompts: one for each expert, and one more where the shared MLP has a gate. parent: whose stream it is. */
status router_rows_from_prompts(router_rows *r, const weight_source *parent, const tokenizer *tok, const kernels *k,
                                const expert_prompts *prompts, prompt_mode mode);
/* batches: calibration text, at least as many tokens as experts. The shared gate, if any, stays 0. */
status router_rows_from_clusters(router_rows *r, const weight_source *parent, const kernels *k, const batch *batches,
                                 int batch_count, uint64_t seed);

#endif

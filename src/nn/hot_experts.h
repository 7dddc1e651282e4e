/* A mixture of which each layer has only some experts in memory. The others' matrices are read from the model's files when a token is sent
 * to them, in the place of the experts that nobody was sent to for the longest time. What is computed is the same to the last bit. Several
 * passes may be under way: one at a time is among the experts. */
#ifndef MOEC_NN_HOT_EXPERTS_H
#define MOEC_NN_HOT_EXPERTS_H

#include "grad/ops.h"
#include "nn/weight_source.h"

typedef struct hot_experts hot_experts;
/* A model to be run (`use`) with all its weights but the experts', of which a layer then has at most `most` (≥ 1). The source outlives it. */
status model_create_hot(model **out, const weight_source *source, const kernels *k, model_use use, int most);
/* close(owner) when the model is destroyed: what the source reads from. */
void hot_experts_keep(model *m, void *owner, void (*close)(void *owner));

typedef struct hot_experts_statistics {
    int most;             /* 0: the model has all its experts always */
    int64_t hits, misses; /* how often an expert that tokens of a pass were sent to was there, and how often not */
} hot_experts_statistics;
void hot_experts_read(const model *m, hot_experts_statistics *out);

/* ---- for nn/ itself ---- */
const expert_residency *hot_experts_of(const model *m, int layer); /* NULL: all are there always */
bool hot_experts_has(const model *m, const param *p);              /* whether p comes and goes */
void hot_experts_destroy(hot_experts *h);                          /* NULL is fine; before the parameters */

#endif

/* Magnitude pruning: the smallest weights of each matrix in blocks become 0, so that the entropy coder spends less on them.
 * Matrices of attention and of MLPs (experts and shared ones too) are pruned; routers, gates, gains, low-rank corrections,
 * embeddings, hash tables with their projections and the head are not: they are small, and routing hangs on them. */
#ifndef MOEC_QUANT_PRUNE_H
#define MOEC_QUANT_PRUNE_H

#include "grad/param.h"
#include "nn/budget.h"

bool prune_concerns_component(component c); /* whether its matrices are pruned */
bool prune_concerns(const param *p);
/* mask[i] = 1 for the ⌊fraction · count⌋ weights of least |w|, the earlier one first where two are equal (malloc'ed); how many
 * they are. */
int64_t prune_smallest(uint8_t **mask, const float *w, int64_t count, double fraction);

#endif

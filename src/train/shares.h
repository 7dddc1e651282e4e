/* Which rank updates which parameter, and so has its running means: a rule that every rank finds the same answer by. */
#ifndef MOEC_TRAIN_SHARES_H
#define MOEC_TRAIN_SHARES_H

#include "train/optimizer.h"

/* owner[i] of the model's parameter i. First the matrices of Muon, by the arithmetic of their Newton-Schulz iterations, then the others
 * by the bytes of their means: each time the costliest one goes to the rank that has least so far (longest processing time first:
 * Graham 1969, at most 4/3 of the best). */
void shares_assign(const optimizer_config *c, const model *m, int ranks, int *owner);

#endif

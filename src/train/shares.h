/* Which rank updates which parameter, and so has its running means: a rule that every rank finds the same answer by. */
#ifndef MOEC_TRAIN_SHARES_H
#define MOEC_TRAIN_SHARES_H

#include "train/optimizer.h"

/* owner[i] of the model's parameter i. Evenly by the bytes of the means: each time the parameter that has most of those left goes to the
 * rank that has least so far (longest processing time first: Graham 1969, at most 4/3 of the best). Bytes and not arithmetic, since
 * memory is what runs out; where one table is large beside a rank's share, that rank has fewer matrices of Muon to update. An expert that is
 * not on all ranks (nn/spread.h) goes to one that has it. */
void shares_assign(const optimizer_config *c, const model *m, int ranks, int *owner);

#endif

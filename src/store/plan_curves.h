/* What each grid of a plan costs at several rates: bytes and error, without a correction and with each rank of one that the plan allows.
 *
 * They are measured by all ranks, a matrix each at a time, and what rank 0 keeps in a file (candidate_file.h) is not measured again:
 * a packing that was killed goes on, and another budget of the same weights costs nothing. */
#ifndef MOEC_STORE_PLAN_CURVES_H
#define MOEC_STORE_PLAN_CURVES_H

#include "quant/allocate.h"
#include "store/artifact.h"
#include "store/pack_plan.h"

typedef struct plan_curves {
    const model *m;
    const pack_plan *plan;
    const pack_allocation *asked;
    hessians *h; /* NULL: none */
    comm *ranks;
    int *index; /* [count] the model's parameters that are grids */
    int count;
    candidate_curve *curves; /* [count, ALLOCATION_WAYS] */
    bool guesses;            /* of some grids nobody knows the bytes until a file was built */
} plan_curves;

/* All that is given is only looked at, and lives longer. */
void plan_curves_open(plan_curves *c, const model *m, const pack_plan *plan, const pack_allocation *asked, hessians *h);
void plan_curves_close(plan_curves *c);
/* All ranks call it, in one mind. Messages name the tensor; STATUS_INTERRUPTED: the file has what was measured. */
status plan_curves_measure(plan_curves *c);

/* Of grid i, 0 ≤ i < count: */
const tensor_plan *plan_curves_tensor(const plan_curves *c, int i);
int64_t plan_curves_elements(const plan_curves *c, int i);
/* the ranks of its corrections; */
candidate_ranks plan_curves_ranks(const plan_curves *c, int i);
/* its curve without a correction (way 0) or with that of the ranks' `way` − 1. */
candidate_curve *plan_curve(const plan_curves *c, int i, int way);

#endif

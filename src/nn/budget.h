/* The parameters of a model counted from its config alone, without allocating any. */
#ifndef MOEC_NN_BUDGET_H
#define MOEC_NN_BUDGET_H

#include "nn/specs.h"

typedef struct model_budget {
    int64_t of[COMPONENTS]; /* elements of what is stored */
    int64_t total;
    int64_t active;  /* what one token's pass uses: all but the experts that it is not sent to */
    int64_t derived; /* frozen random weights: products read them, no file has them, total leaves them out */
} model_budget;
model_budget model_budget_count(const model_config *c);

/* Of one parameter. */
int64_t param_spec_count(const param_spec *spec);
int64_t param_spec_rows(const param_spec *spec); /* vectors and scalars have one */

#endif

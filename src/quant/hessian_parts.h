/* The inside of Hessians, for the files that collect them. */
#ifndef MOEC_QUANT_HESSIAN_PARTS_H
#define MOEC_QUANT_HESSIAN_PARTS_H

#include "comm/reduce.h"
#include "quant/hessians.h"

/* What tells one product's input from another's. */
typedef struct input_key {
    int role, layer, expert; /* role: of the first weight that reads it */
} input_key;

typedef struct input {
    input_key key;
    int64_t cols, rows;
    bool seen;    /* a product reads it */
    float *sum;   /* device [cols, cols] over the batches so far; of several ranks only the owner's */
    float *batch; /* the same of one batch; of several ranks in the end: the sum. NULL: as it comes, in `scratch` */
} input;

struct hessians {
    pass *p;
    const model *m;
    comm *ranks;
    size_t memory;
    batch *batches;
    int batch_count;
    bool pool_experts; /* every expert's are those of all tokens */
    status failed;     /* the first failure of an observation */
    bool parted;       /* a failure that all ranks know: nobody follows any more */

    /* the layers that are held: first … last, where −1 is what is in no layer; first > last: none */
    int first, last;
    input *inputs;
    int input_count;
    float *scratch; /* device [cols, cols] of the widest of those without a batch's own */

    float *host; /* the Hessian that was asked for last */
    input_key shown;
};

/* Which rank has the sum of an input while it is formed. */
static inline int hessians_owner(const hessians *h, int input) {
    return input % h->ranks->ranks;
}
/* Release what is held, and collect from this layer on; for all ranks. */
status hessians_collect(hessians *h, int layer);
/* The batches, in rounds of one for each rank. r: who sums; NULL: nobody else is there. */
status hessians_run(hessians *h, comm_reduction *r);

/* ---- hessian_ranks.c ---- */
/* The same of several ranks, whose inputs have their arrays: everyone has all sums in the batches' place then. */
status hessians_run_together(hessians *h);
/* Of rank 0, which has followers: collect this layer. */
status hessians_ask(hessians *h, int layer);

#endif

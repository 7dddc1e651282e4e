/* The gradients of a step: a sum over its micro-batches, whichever rank made them.
 *
 * Micro-batch i of a step is rank i % ranks's, each starts from zero, and the sum is formed from left to right in the order of the
 * micro-batches (comm/reduce.h): for one rank as for many. A parameter's sum is formed where its optimiser's means are. What backward has
 * finished is on its way while it goes on (nn/stages.h).
 *
 *     TRY(gradients_begin(g, ranks, o, m, rounds));
 *     for (round = 0; round < rounds; round++) {
 *         gradients_expect(g, p, round, rounds);
 *         … model_zero_grad(m); TRY(pass_train(p, …)); …
 *         TRY(gradients_add(g, p));
 *     } */
#ifndef MOEC_TRAIN_GRADIENTS_H
#define MOEC_TRAIN_GRADIENTS_H

#include "nn/pass.h"
#include "train/optimizer.h"

typedef struct gradients {
    comm *ranks;
    float *sum; /* device: the owned parameters' so far, one behind the other; NULL: not needed */
    int64_t count;
    comm_stretch *stretches; /* of this step, by stages */
    int stretch_count;
    comm_reduction *reduction; /* with its buffers, from step to step */
    status failed;             /* what went wrong while backward ran */
} gradients;

/* That every rank has as many micro-batches; else one line that says which numbers would do. */
status gradients_check(const comm *ranks, int64_t micro_batches);
/* Before a step's first round of `rounds`; the optimiser says who owns what. Events may have changed the model since. */
status gradients_begin(gradients *g, comm *ranks, optimizer *o, model *m, int64_t rounds);
/* Before the own micro-batch of a round, the next that p trains on: its gradients are sent as backward finishes them. */
void gradients_expect(gradients *g, pass *p, int64_t round, int64_t rounds);
/* After it: its gradients are in the model. Behind the last round the owned ones have the sum. */
status gradients_add(gradients *g, pass *p);
void gradients_free(gradients *g, const kernels *k);

#endif

/* Sums over ranks in an order that does not depend on how many there are.
 *
 * A step is `rounds` rounds; in each of them every rank has one micro-batch's gradients, in the order of the ranks. What the owner
 * of a stretch has in the end is ((g₀ + g₁) + g₂) + …, from left to right over the micro-batches, in float32: the same bits for
 * any number of ranks that divides the micro-batches. */
#ifndef MOEC_COMM_REDUCE_H
#define MOEC_COMM_REDUCE_H

#include "comm/comm.h"
#include "kernel/kernel.h"

/* Floats on the device that every rank has, and whose sum one of them is to have. */
typedef struct comm_stretch {
    int owner;
    float *data; /* [count] this round's; of the owner in the last round: the sum */
    int64_t count;
    float *sum; /* of the owner: [count] the sum of the rounds so far; not needed where there is one round */
    /* > 1: in a group of so many ranks that follow each other (group.h) the one at the owner's position has the gradients of all of them:
     * those of the group's first rank in `data`, of the next ones in more [group − 1][count]. The others have neither. */
    int group;
    float *more;
} comm_stretch;

/* One round. Buffers of at most REDUCE_BYTES are taken on the way. */
enum { REDUCE_BYTES = 16 << 20 };
status comm_reduce(comm *c, const kernels *k, const comm_stretch *stretches, int count, int64_t round, int64_t rounds);

#endif

/* Sums over ranks in an order that does not depend on how many there are, made while the last of what is summed is still being computed.
 *
 * A step is `rounds` rounds; in each of them every rank has one micro-batch's gradients, in the order of the ranks. What the owner
 * of a stretch has in the end is ((g₀ + g₁) + g₂) + …, from left to right over the micro-batches, in float32: the same bits for
 * any number of ranks that divides the micro-batches.
 *
 * Backward has gradients final stage by stage. What is final goes off in buckets, straight from where it lies to its owner, while
 * backward goes on (as PyTorch's DistributedDataParallel does: Li et al. 2020, VLDB 13(12)). Since the unit of the sum is the
 * micro-batch, and no rank sums any of them beforehand, that is so in every round, not only in the step's last one.
 *
 *     TRY(comm_reduction_plan(r, stretches, count));        // by rising stage
 *     for (round = 0; round < rounds; round++) {
 *         comm_reduction_begin(r, round, rounds);
 *         … TRY(comm_reduction_reach(r, stage)); …          // again and again while it computes: these stages are final
 *         TRY(comm_reduction_finish(r));                    // all are
 *     }
 *
 * Why it is like that:
 * - Buckets are planned from the stretches alone. So all ranks begin the same exchanges in the same order, whatever is ready first where,
 *   and no rank asks another one what is next.
 * - Which messages came first decides nothing: a bucket's sums are formed when all of it is there, bucket after bucket, each from
 *   left to right over the ranks. Hence the bits of a sum that is made at the end.
 * - Messages are helped along by the rank that computes, between any two ops, not by a thread of its own: one that polls would take a core
 *   from products (two ranks on two cores have none to spare), one that sleeps would wait for the same moments, and MPI would have to
 *   be asked for MPI_THREAD_MULTIPLE, which costs each call a lock. Price: a message rests while an op runs.
 * - A rank that hangs is noticed where somebody waits for it: in comm_reduction_finish, or in any exchange before, by the same clock
 *   (MOEC_RANK_TIMEOUT). Others may wait for a rank that itself waits for it; these are told apart by asking (mpi.c). One that only computes
 *   for long is not taken for hung. */
#ifndef MOEC_COMM_REDUCE_H
#define MOEC_COMM_REDUCE_H

#include "comm/comm.h"
#include "kernel/kernel.h"

/* Floats on the device that every rank has, and whose sum one of them is to have. */
typedef struct comm_stretch {
    int owner;
    int stage;   /* of backward, from which on this round's are final */
    float *data; /* [count] this round's; of the owner in the last round: the sum */
    int64_t count;
    float *sum; /* of the owner: [count] the sum of the rounds so far; not needed where there is one round */
    /* > 1: in a group of so many ranks that follow each other (group.h) the one at the owner's position has the gradients of all of them:
     * those of the group's first rank in `data`, of the next ones in more [group − 1][count]. The others have neither. */
    int group;
    float *more;
} comm_stretch;

/* Bytes of one bucket that an owner gets from all ranks together, at most; buckets that are under way at a time, each with a buffer of its
 * own; and bytes for one owner from which on a bucket does not wait for a later stage. */
enum { REDUCE_BYTES = 16 << 20, REDUCE_FLIGHTS = 3, REDUCE_LEAST = 32 << 10 };

typedef struct comm_reduction comm_reduction;
comm_reduction *comm_reduction_create(comm *c, const kernels *k);
void comm_reduction_destroy(comm_reduction *r); /* NULL is fine */
/* From now on these, which stay the caller's. Between rounds; takes the buffers that they need. */
status comm_reduction_plan(comm_reduction *r, const comm_stretch *stretches, int count);
/* A round in which nothing is final yet. */
void comm_reduction_begin(comm_reduction *r, int64_t round, int64_t rounds);
/* Stages up to this one are final, and stay so until the round is finished; a lower one than before changes nothing. */
status comm_reduction_reach(comm_reduction *r, int stage);
/* All are. Afterwards gradients may be changed again, but for the owners' sums of the last round. */
status comm_reduction_finish(comm_reduction *r);

#endif

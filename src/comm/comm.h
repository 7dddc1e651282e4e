/* Ranks: processes that train one model together. What a launcher (mpirun, srun) started side by side finds itself here.
 *
 * A way to send is one function, `exchange`, and the same in two parts, `begin` and `look`; comm/none.c and comm/mpi.c fill them in, and
 * NCCL's grouped sends would be a third filling. What is above is written with it and is the same for all of them (collective.c,
 * reduce.c). Nothing above this folder knows MPI.
 *
 *     comm *ranks;
 *     TRY(comm_open(&ranks));                 // rank 0 of 1 without a launcher
 *     TRY(comm_agree(ranks, load(...)));      // all go on, or all have the failure of the lowest rank that failed
 *     TRY(comm_broadcast(ranks, 0, &seconds, sizeof seconds));
 *
 * All ranks make the same calls in the same order, from one thread. Pointers may be to host or to device memory, as far as
 * the way to send reaches it (MPI on a CPU: both are the same).
 *
 * A rank that is not heard from for MOEC_RANK_TIMEOUT seconds (1800) ends the wait of the others: the call fails with one line that names
 * it, and comm_finish then ends the whole job. So does a rank that fails by itself, anywhere. */
#ifndef MOEC_COMM_COMM_H
#define MOEC_COMM_COMM_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct comm_message {
    int rank; /* whom it goes to or comes from; never the own one */
    void *data;
    size_t bytes; /* the same on both sides; 0 is fine */
} comm_message;

/* An exchange that is under way while its rank does something else. */
typedef struct comm_flight comm_flight;

typedef struct comm comm;
struct comm {
    const char *name; /* "none", "mpi" */
    int rank, ranks;
    int local_rank, local_ranks; /* of those on this machine */
    double timeout;              /* seconds */
    /* All messages to and from other ranks, until the last has come and the data of those that were sent may change. Between two
     * ranks they are matched in the order of the lists. Seconds in here are counted as waiting. */
    status (*exchange)(comm *c, const comm_message *send, int sends, const comm_message *receive, int receives);
    /* The same, begun now and over later. Exchanges that are begun are matched with begun ones alone, in the order in which they began; others
     * may come in between. Until one is over what it sends may only be read, and what it receives not even that. */
    status (*begin)(comm *c, const comm_message *send, int sends, const comm_message *receive, int receives,
                    comm_flight **out);
    /* Whether it is over, and helps it along; often enough, since nobody else does. wait: until it is over, for as long as an exchange may
     * wait. f is gone when it is over. After a failure nothing ends any more: c is lost, and f stays. */
    status (*look)(comm *c, comm_flight *f, bool wait, bool *over);
    void (*end)(comm *c, status s); /* the whole job, with this exit status; does not return. NULL: there is no other */
    double waited;                  /* seconds, so far */
    int64_t sent;                   /* bytes, so far */
    double traded_seconds;          /* of these in groups (group.h) */
    int64_t traded;
    double reducing; /* seconds in which sums were under way (reduce.h) */
    double behind;   /* of these while the rank did not wait, but computed */
    bool agreed;     /* that the failure under way is all ranks' */
    bool lost;       /* a rank was not heard from, or a message failed: nobody is asked for anything any more */
};

/* The ranks that this process is one of; opened by the first call, the same from then on. */
status comm_open(comm **out);
int comm_launched(void); /* how many a launcher says that it started; 1 without one */
comm *comm_alone(void);  /* rank 0 of 1, whoever started the process */
/* From now on comm_open finds one rank: what this process does next is its own part of something, and its ranks know nothing of it. Who
 * has them from before still has them. false: no longer. */
void comm_work_alone(bool alone);
/* Whether this process is the one that says how it ended: rank 0 where all ranks know it, the rank itself where it failed alone. */
bool comm_speaks(status s);
/* Puts "rank N" in front of the message of a failure that is this rank's alone; returns s. */
status comm_sign(status s);
/* At a process's end, behind its last message: where it failed alone, the other ranks end too, with this status. */
void comm_finish(status s);
/* Threads for this rank, of those cores that the ranks of this machine share: MOEC_RANK_CORES where it is set, whose cores the rank
 * then keeps to; else the machine's cores by its ranks, unless OMP_NUM_THREADS says. */
status comm_share_cores(const comm *c);

/* ---- for all ranks ---- */

/* OK where every rank has OK; else the status and the message of the lowest rank that has not, on all. */
status comm_agree(comm *c, status mine);
/* The same without asking, where all ranks have found the same outcome from the same numbers. */
status comm_alike(comm *c, status mine);
/* Of a failure that all ranks agreed on and went on after: the next one is a rank's own again. */
void comm_settled(comm *c);
/* all [ranks][bytes]: what each rank gave. */
status comm_gather(comm *c, const void *mine, void *all, size_t bytes);
status comm_broadcast(comm *c, int root, void *data, size_t bytes);

/* Data that one rank has, and that others have room for. */
typedef struct comm_part {
    int owner;
    void *data;
    size_t bytes;
    int every; /* those others: 0 and 1: all ranks; n: each n-th, counted from the owner on, both ways */
} comm_part;
/* Every rank gets every part that it has room for; of the others it has bytes and owner alone. */
status comm_share(comm *c, const comm_part *parts, int count);

#endif

/* Groups of ranks, and what goes between the ranks of one: all-to-all with sizes that are told first.
 *
 * The ranks 0, 1, 2, … are cut into groups of `count` that follow each other, so that those of one group are on one machine where they
 * can be. Ranks at the same position of their groups have the same part of something (experts, model.h); the product of both is all ranks.
 *
 *     comm_group g = {ranks, 2};                                   // of 4 ranks {0, 1} and {2, 3}
 *     TRY(comm_trade_counts(&g, going, coming, 8));                // [2][8] each
 *     TRY(comm_trade(&g, k, rows, going_bytes, theirs, coming_bytes));
 *
 * Calls are for all ranks of a group, which need not wait for other groups. */
#ifndef MOEC_COMM_GROUP_H
#define MOEC_COMM_GROUP_H

#include "comm/comm.h"
#include "kernel/kernel.h"

typedef struct comm_group {
    comm *ranks; /* NULL: this process alone */
    int count;   /* ranks of a group, a divisor of all; 0 and 1: none are together */
} comm_group;

static inline bool comm_group_is_one(const comm_group *g) {
    return g->count <= 1;
}
/* Of a rank in its group, from 0 on. */
static inline int comm_group_position(const comm_group *g) {
    return comm_group_is_one(g) ? 0 : g->ranks->rank % g->count;
}
/* The rank at a position of this rank's group. */
static inline int comm_group_rank(const comm_group *g, int position) {
    return g->ranks->rank - comm_group_position(g) + position;
}

/* mine [count][each]: row p is for position p; theirs [count][each]: row p is what position p had for this rank. HOST memory. */
status comm_trade_counts(const comm_group *g, const int32_t *mine, int32_t *theirs, int each);
/* The same of bytes on the device, in as many as each said: send is the parts for the positions, one behind the other, receive what came
 * from them. A part for oneself is copied. Bytes [count] are HOST memory; what a rank sends is what the other one receives. */
status comm_trade(const comm_group *g, const kernels *k, const void *send, const int64_t *send_bytes, void *receive,
                  const int64_t *receive_bytes);

#endif

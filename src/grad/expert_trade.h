/* Rows on their way to the ranks that have their experts, and back: one all-to-all of counts and one of rows forward, one of rows for what
 * the experts made, and the same two of gradients backward. */
#ifndef MOEC_GRAD_EXPERT_TRADE_H
#define MOEC_GRAD_EXPERT_TRADE_H

#include "comm/group.h"
#include "grad/expert_groups.h"

typedef struct expert_trade {
    const comm_group *ranks; /* NULL: nothing is sent */
    int64_t *own_rows,
        *at_rows; /* host [X]: this rank's rows with the experts of each rank; each rank's with the experts here */
    int64_t here; /* rows with the experts here, of all ranks */
} expert_trade;

/* From where the own rows' groups begin (device [E + 1]): who sends how many, and where the groups of what comes begin, for g->start and
 * g->most_rows. Returns false where that failed, which tape_status says. */
bool expert_trade_counts(tape *t, expert_trade *trade, const comm_group *ranks, const int32_t *start, int64_t E,
                         expert_groups *g);
/* own [own rows, d], here [rows here, d]: there, and back. False as above. */
bool expert_trade_there(tape *t, const expert_trade *trade, void *here, const void *own, int64_t d);
bool expert_trade_back(tape *t, const expert_trade *trade, void *own, const void *here, int64_t d);

#endif

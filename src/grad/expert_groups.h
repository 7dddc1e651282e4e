/* The experts of a mixture on rows that lie grouped by expert: two grouped products with an activation between them, forward and backward
 * (moe.c has the routing around it).
 *
 * A group is an expert's rows of one micro-batch. Where ranks have the experts between them (moe_args.ranks) the groups here are
 * [X][E / X]: of the micro-batch of each rank of the group the rows for each expert that is here, as that rank had them grouped. One
 * product then has just the rows that it has in a single process, in the same order, and each micro-batch's gradient is by itself. */
#ifndef MOEC_GRAD_EXPERT_GROUPS_H
#define MOEC_GRAD_EXPERT_GROUPS_H

#include "grad/op.h"

typedef struct expert_groups {
    int64_t count;             /* G: groups */
    int64_t each;              /* of them of one micro-batch */
    const mlp **experts;       /* host [G]: whose rows they are */
    const weight **fc, **proj; /* host [G] */
    int32_t *start;            /* device [G + 1]: where they begin */
    int64_t most_rows;         /* of all together, at most */
    void *rows;                /* act [most_rows, d]: what the experts read, */
    void *u;                   /* [most_rows, fc's rows]: before the activation, */
    void *out;                 /* [most_rows, d]: and what they make of it */
} expert_groups;

static inline const int32_t *expert_groups_rows(const expert_groups *g) {
    return g->start + g->count;
}
/* `each` experts from `first` on, for each of `batches` micro-batches. Returns false when memory is out. */
bool expert_groups_take(tape *t, expert_groups *g, const mlp *first, int64_t each, int64_t batches);
/* rows → u, out. Where memory is out tape_status says so. */
void expert_groups_forward(tape *t, const expert_groups *g);
/* From drows, the gradient of out: adds to the experts' gradients, and drows becomes that of rows. */
void expert_groups_backward(tape *t, const expert_groups *g, void *drows);

#endif

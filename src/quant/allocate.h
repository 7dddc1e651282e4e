/* Sharing bytes out among matrices: one Lagrange multiplier λ over all of them. Each takes the rate of least error + λ ·
 * bytes on its curve, or on the best of several (with corrections of several ranks), which is a point of the curve's
 * convex hull (Shoham and Gersho 1988); λ is bisected until the bytes are spent, and what the grid of rates leaves over
 * goes, step by step, to whoever gains most from it. */
#ifndef MOEC_QUANT_ALLOCATE_H
#define MOEC_QUANT_ALLOCATE_H

#include "quant/candidates.h"

#define RATE_STEP 0.03125 /* rates are multiples of it */

/* One way to store a matrix. */
typedef struct allocation_way {
    const candidate_curve *curve;
    double least, most; /* rates that it may have; equal: it is given */
} allocation_way;

enum { ALLOCATION_WAYS = 1 + CANDIDATE_RANKS };
typedef struct allocation_item {
    allocation_way ways[ALLOCATION_WAYS]; /* the first one has the fewest bytes at its least rate */
    int way_count;                        /* ≥ 1 */
    candidate chosen;                     /* by allocate, */
    int way;                              /* of this way */
} allocation_item;

/* Σ bytes where all have their least rates; the least that can be asked for. */
double allocation_least_bytes(const allocation_item *items, int count);
/* Chooses; Σ chosen.bytes ≤ bytes unless even the least rates need more, which are chosen then. Returns λ: the error that the last byte
 * saves, 0 where all have their most. */
double allocate(allocation_item *items, int count, double bytes);

#endif

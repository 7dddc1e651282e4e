/* Sharing bytes out among matrices: one Lagrange multiplier λ over all of them. Each takes the rate of least error + λ · bytes on its
 * curve, which is a point of the curve's convex hull (Shoham and Gersho 1988); λ is bisected until the bytes are spent, and what the
 * grid of rates leaves over goes, step by step, to whoever gains most from it. */
#ifndef MOEC_QUANT_ALLOCATE_H
#define MOEC_QUANT_ALLOCATE_H

#include "quant/candidates.h"

#define RATE_STEP 0.03125 /* rates are multiples of it */

typedef struct allocation_item {
    const candidate_curve *curve;
    double least, most; /* rates that it may have; equal: it is given */
    candidate chosen;   /* by allocate */
} allocation_item;

/* Σ bytes where all have their least rates; the most that can be asked for. */
double allocation_least_bytes(const allocation_item *items, int count);
/* Chooses; Σ chosen.bytes ≤ bytes unless even the least rates need more, which are chosen then. Returns λ: the error that the last byte
 * saves, 0 where all have their most. */
double allocate(allocation_item *items, int count, double bytes);

#endif

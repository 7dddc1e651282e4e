/* A mixture of one expert as an ordinary dense model that computes the same: the shared MLP and the expert become one MLP, side
 * by side,
 *     shared(x) + expert(x) = proj_s f(fc_s x) + proj_e f(fc_e x) = [proj_s proj_e] f([fc_s; fc_e] x)
 * (with SwiGLU the gates of both come first, then what they are multiplied with). All dense layers of a model are of one width:
 * narrower ones get hidden units of zero, which add zero. */
#ifndef MOEC_SURGERY_SIDE_BY_SIDE_H
#define MOEC_SURGERY_SIDE_BY_SIDE_H

#include "nn/weight_source.h"

typedef struct side_by_side {
    weight_source weights;
    const weight_source *from; /* outlives it */
    int64_t hidden;            /* of every layer's MLP */
    int padded;                /* layers that got units of zero */
    int64_t least_hidden;      /* of the narrowest of them before */
    bool halves_shared;        /* the shared MLP has a gate that knows nothing, σ(0) = ½ */
} side_by_side;

/* from: a mixture of one expert (kept_experts.h). *s must stay where it is. Refused with the reason where no dense model computes
 * the same: the shared MLP has a gate that looks at the token; a random up-projection would have to be padded. */
status place_side_by_side(side_by_side *s, const weight_source *from);

#endif

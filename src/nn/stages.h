/* When in backward gradients are final: by stages, the same for every rank and every step of one model.
 *
 *   0                what lies behind the layers: the final norm, a head of its own
 *   1 … num_layers   layer by layer, in the order in which backward comes out of a layer's first pass: the first pass in time is the last
 *                    one in backward, and what a looped layer's other passes add is there by then
 *   num_layers + 1   all else, up to the end of backward: embeddings (a tied one is the head too, and gets its other half last),
 *                    hashes, what skips and the first SmearGate have
 *
 * pass_watch_backward tells a stage when it has come. */
#ifndef MOEC_NN_STAGES_H
#define MOEC_NN_STAGES_H

#include "nn/model.h"
#include "nn/plan.h"

static inline int model_stages(const model *m) {
    return m->config.num_layers + 2;
}
/* From which on the parameter's gradient is final. */
int model_stage_of(const model *m, const param *p);
/* That has come when backward is before entry i of the path; −1: none. */
int path_stage(const forward_path *path, int i);

#endif

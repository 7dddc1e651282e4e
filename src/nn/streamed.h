/* A model larger than the memory: the matrices of a layer are read from the source when the pass comes to it and go behind
 * it. What is in no layer, and vectors, are there always. To be run on a few long batches, forward only, by one pass. */
#ifndef MOEC_NN_STREAMED_H
#define MOEC_NN_STREAMED_H

#include "nn/freeze.h"
#include "nn/weight_source.h"

/* The source must outlive the model. */
status model_create_streamed(model **out, const weight_source *source, const kernels *k);

/* ---- for nn/ itself ---- */
typedef struct model_extras {
    const weight_source *layers; /* not NULL: where the matrices of blocks come from while their layer runs */
    const name_list *frozen;     /* may be NULL; copied */
    comm_group spread;           /* the ranks that share its experts */
} model_extras;
status model_create_with(model **out, const model_config *config, const kernels *k, model_use use, model_extras extras);
status model_enter_layer(model *m, int layer);
void model_leave_layer(model *m, int layer);

#endif

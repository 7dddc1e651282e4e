/* A mixture with only some of its experts, as a weight source: of the others nothing is asked for, so that a reader that maps its
 * files never touches them. It computes what the whole mixture does where only these experts may be chosen (nn/pass.h,
 * pass_allow_experts): p is the softmax over their logits, and a token goes to min(top_k, their number) of them. Of a lone expert
 * p is 1, and so is its gate, whatever kind of gate the mixture was trained with; where gates are probabilities an expert was
 * trained at gates below 1, and speaks up when it is alone. */
#ifndef MOEC_SURGERY_KEPT_EXPERTS_H
#define MOEC_SURGERY_KEPT_EXPERTS_H

#include "nn/weight_source.h"

typedef struct kept_experts {
    weight_source weights;              /* of the smaller mixture */
    const weight_source *from;          /* outlives it */
    int kept[MODEL_MAX_EXPERTS], count; /* their numbers in the whole mixture, ascending */
} kept_experts;

/* chosen: [E]. *k must stay where it is. A dense model, or nothing chosen, is an error. */
status keep_experts(kept_experts *k, const weight_source *from, const bool *chosen);
/* The config alone. */
status keep_experts_config(model_config *out, const model_config *from, const bool *chosen);

#endif

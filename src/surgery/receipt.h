/* What surgery did, measured: how far the mixture's logits are from the parent's on a text, how far its experts are apart, and
 * how large it is. Neither model need fit the memory. */
#ifndef MOEC_SURGERY_RECEIPT_H
#define MOEC_SURGERY_RECEIPT_H

#include "nn/weight_source.h"

typedef struct surgery_receipt {
    int64_t tokens;                                /* that were compared; 0: none were */
    double largest, mean;                          /* |difference of a logit| */
    double scale;                                  /* root mean square of the parent's logits, to compare with */
    int64_t parent_parameters, parameters, active; /* active: that one token meets */
    double expert_cosine; /* mean over layers and pairs of experts of the cosine of their weights; 1: equal */
} surgery_receipt;

/* ids: a text of `count` tokens as one sequence; k: float32. Called again with another text, the receipt is of both. */
status surgery_compare(surgery_receipt *r, const weight_source *parent, const weight_source *mixture, const kernels *k,
                       const int32_t *ids, int64_t count);
/* The rest of the receipt. */
status surgery_measure(surgery_receipt *r, const weight_source *parent, const weight_source *mixture);

#endif

/* Comparing moec with what another program's own model computed, in float32.
 *
 * Of a record script: a folder with config.json (the script's argument names), model.safetensors, io.safetensors (input_ids,
 * target_ids, logits, ce, loss) and grads.safetensors. Of transformers: a folder of a pretrained model (formats/pretrained.h)
 * with io.safetensors (input_ids, logits); logits alone are compared. */
#ifndef MOEC_EVAL_PARITY_H
#define MOEC_EVAL_PARITY_H

#include "nn/pass.h"

typedef struct parity_difference {
    char *name;        /* of the gradient's tensor */
    double difference; /* largest |ours − theirs| */
    double largest;    /* largest |theirs| */
} parity_difference;

/* What counts as the same: logits absolutely, losses absolutely, gradients relative to their tensor's largest. */
typedef struct parity_tolerance {
    double logits, loss, gradient;
} parity_tolerance;
static const parity_tolerance parity_of_records = {.logits = 1e-4, .loss = 1e-5, .gradient = 1e-3};
static const parity_tolerance parity_of_pretrained = {.logits = 2e-5};

typedef struct parity_report {
    parity_tolerance tolerance;   /* of this kind of case */
    bool trained;                 /* it has losses and gradients */
    double logits;                /* largest absolute difference */
    double ce, loss;              /* absolute differences */
    parity_difference *gradients; /* largest relative difference first */
    int gradient_count;
} parity_report;

/* Runs the case with k, which must be a float32 table. References that are not finite, ids beyond the vocabulary and a trained
 * parameter without a gradient are errors: nothing can be compared with them. */
status parity_run(const char *folder, const kernels *k, parity_report *report);
bool parity_holds(const parity_report *report);
void parity_report_free(parity_report *report);

#endif

/* Comparing moec with what a record script's own PyTorch model computed: a folder with config.json (the script's argument
 * names), model.safetensors, io.safetensors (input_ids, target_ids, logits, ce, loss) and grads.safetensors. */
#ifndef MOEC_EVAL_PARITY_H
#define MOEC_EVAL_PARITY_H

#include "nn/pass.h"

typedef struct parity_difference {
    char *name;        /* of the gradient's tensor */
    double difference; /* largest |ours − theirs| */
    double largest;    /* largest |theirs| */
} parity_difference;

typedef struct parity_report {
    double logits;                /* largest absolute difference */
    double ce, loss;              /* absolute differences */
    parity_difference *gradients; /* largest relative difference first */
    int gradient_count;
} parity_report;

/* What counts as the same: logits absolutely, losses absolutely, gradients relative to their tensor's largest. */
typedef struct parity_tolerance {
    double logits, loss, gradient;
} parity_tolerance;
static const parity_tolerance parity_default = {.logits = 1e-4, .loss = 1e-5, .gradient = 1e-3};

/* Runs the case with k, which must be a float32 table. References that are not finite, ids beyond the vocabulary and a trained
 * parameter without a gradient are errors: nothing can be compared with them. */
status parity_run(const char *folder, const kernels *k, parity_report *report);
bool parity_holds(const parity_report *report, const parity_tolerance *tolerance);
void parity_report_free(parity_report *report);

#endif

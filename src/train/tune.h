/* Distillation-aware tuning of an artifact, the strongest of the five fixes that #2102's author left open: what takes no bytes beside the codes
 * (tune_values.h) is trained for some minutes against the float model's probabilities of the run's training text, through the packed model's
 * own errors. The measure is the divergence from the float model (the teacher's most probable tokens, the rest as one class:
 * softcap_distill in kernel_list.h), on rows of the text that the training passes over: what does not come out better there, both in
 * divergence and in cross-entropy, is left out. */
#ifndef MOEC_TRAIN_TUNE_H
#define MOEC_TRAIN_TUNE_H

#include "nn/pass.h"
#include "train/config.h"

typedef struct tune_options {
    double minutes;     /* at most; 0: no bound */
    int64_t steps;      /* at most; 0: as many as the minutes hold. Neither: nothing is tuned */
    int64_t most_bytes; /* the file must not become larger; 0: any size */
} tune_options;

typedef struct tune_report {
    int64_t steps, tokens;      /* of training */
    int64_t check_tokens;       /* that were passed over */
    double kl_before, kl_after; /* nats a token, on those */
    double ce_before, ce_after; /* the same of cross-entropy */
    int64_t bytes_before, bytes_after;
    const char *left_out; /* why the file is as it was; NULL: it is the tuned one */
} tune_report;

/* The artifact at `path` is replaced by a tuned one where that is better. teacher runs the float model, on the device that is used. What Ctrl-C
 * ends leaves the best that was found by then, and returns STATUS_INTERRUPTED; until the end the file is as it was. Shows progress on
 * stderr. */
status tune_artifact(const char *path, pass *teacher, const tokenizer *tok, const run_config *c,
                     const tune_options *options, tune_report *report);

#endif

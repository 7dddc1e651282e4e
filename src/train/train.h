/* The training loop. */
#ifndef MOEC_TRAIN_TRAIN_H
#define MOEC_TRAIN_TRAIN_H

#include "train/checkpoint.h"

typedef struct train_result {
    train_state state;
    double loss;              /* of the last step; NaN when none was made */
    double tokens_per_second; /* over the training time */
} train_result;

/* Train from scratch, or, with resume, from the newest whole checkpoint of config->run. Writes checkpoints and
 * log.jsonl; shows progress on stderr. STATUS_INTERRUPTED after Ctrl-C, when the step was finished and saved. */
status train_run(const run_config *config, bool resume, train_result *result);

#endif

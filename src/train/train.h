/* The training loop. */
#ifndef MOEC_TRAIN_TRAIN_H
#define MOEC_TRAIN_TRAIN_H

#include "train/checkpoint.h"

/* How a training begins. */
typedef enum train_start {
    TRAIN_NEW,    /* from scratch; a run folder that holds checkpoints is refused */
    TRAIN_RESUME, /* from its newest checkpoint, from scratch where there is none yet; what would make another run of it
                       is refused (resume.h) */
    TRAIN_RESUME_CHANGED, /* the same, whatever has changed */
    TRAIN_OVERWRITE       /* from scratch: its checkpoints and its log go */
} train_start;

typedef struct train_result {
    train_state state;
    double loss; /* of the last step; NaN when none was made */
    bool idle;   /* resumed when it had finished already: nothing was done, and nothing has changed on the disk */
    double tokens_per_second; /* over the training time */
} train_result;

/* Train as the configuration says. Holds config->run (a lock that says who it is), writes checkpoints and log.jsonl there and
 * shows progress on stderr. STATUS_INTERRUPTED after Ctrl-C, when the step was finished and saved. */
status train_run(const run_config *config, train_start start, train_result *result);

#endif

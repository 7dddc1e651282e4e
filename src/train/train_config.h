/* A training: the section `train` of a run. */
#ifndef MOEC_TRAIN_TRAIN_CONFIG_H
#define MOEC_TRAIN_TRAIN_CONFIG_H

#include "config/names.h"
#include "config/section.h"

typedef struct train_config {
    char *run;            /* folder of the run: checkpoints, log.jsonl, config.yaml */
    char *init;           /* a model whose weights it begins with (init.h); NULL: random ones */
    int64_t batch;        /* sequences a micro-batch */
    int64_t seq;          /* tokens a sequence */
    int64_t accumulate;   /* micro-batches a step */
    int64_t expert_ranks; /* ranks that have the experts between them (nn/spread.h); 1: each has all */
    int64_t steps;        /* the schedule's length, 0: max_seconds alone decides */
    double max_seconds;   /* > 0: of training; where steps come later, schedules run on the clock and end here */
    uint64_t seed;
    bool shuffle;
    name_list freeze;          /* components, or patterns of names, that are not trained (nn/freeze.h) */
    bool recompute;            /* backward runs blocks again instead of keeping their activations */
    char *device;              /* "cpu" */
    char *dtype;               /* "auto", "smallest", "f32", "bf16" (kernel.h) */
    int64_t checkpoint_every;  /* steps; 0: only at the end */
    double checkpoint_seconds; /* and at least this often; 0: no */
    int64_t keep_checkpoints;
    int64_t val_every;       /* steps between looks at the held-out loss; 0: none */
    int64_t val_tokens;      /* of those */
    bool keep_best;          /* the checkpoint of the best look is kept, and is checkpoints/best */
    int64_t early_stop;      /* looks in a row without a gain that end the training; 0: none do */
    double early_stop_delta; /* bits per byte that are a gain */
    bool tensorboard;        /* events for TensorBoard in the run's folder (tensorboard.h) */
    bool log_csv;            /* the log as a table beside it (log_csv.h) */
    int64_t log_every;       /* console lines; the JSONL log has every step */
} train_config;

extern const config_section train_section;
train_config train_config_default(void); /* #2102's */
status train_config_check(const train_config *c);

#endif

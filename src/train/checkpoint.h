/* What a training keeps in a checkpoint beside the model (store/checkpoint.h), so that it goes on bit for bit:
 *   optimizer.safetensors  states
 *   config.yaml            the run's configuration
 *   checkpoint.json        "training": tokens, seconds, the loader's position and its text, events that have fired, looks */
#ifndef MOEC_TRAIN_CHECKPOINT_H
#define MOEC_TRAIN_CHECKPOINT_H

#include "store/checkpoint.h"
#include "text/loader.h"
#include "train/average.h"
#include "train/config.h"
#include "train/looks.h"
#include "train/optimizer.h"

#define RUN_CONFIG_FILE "config.yaml" /* in a run's folder, and as it was then in each checkpoint */

typedef struct train_state {
    int64_t step;   /* steps done */
    int64_t tokens; /* tokens seen */
    double seconds; /* training time, without evaluation and saving */
    loader_position position;
    uint64_t text;     /* loader_fingerprint of what the position is in; 0: not known */
    uint64_t teachers; /* tells the weights of those that it learns from; 0: there is none, or not known */
    bool fired[MAX_EVENTS];
    looks looks;
} train_state;

/* Save the state as run/checkpoints/step-N and remove all but the newest config->keep_checkpoints and the best, which this
 * one is if its look was and config->keep_best says so. e may be NULL; so may choice: nothing is known. When it fails, the
 * checkpoints that were there are untouched. */
status checkpoint_save(const char *run, const run_config *config, const model *m, average *e, optimizer *o,
                       const tokenizer *tok, const train_state *state, const weights_choice *choice);
/* Whether a training wrote it, and there are a state and a run's configuration; moec upcycle writes a model alone. */
bool checkpoint_is_of_run(const checkpoint *c);
status checkpoint_load_state(const checkpoint *c, train_state *state);
/* config: of run_config_default(), to be freed either way. */
status checkpoint_load_config(const checkpoint *c, run_config *config);
status checkpoint_load_optimizer(const checkpoint *c, optimizer *o, int *lacking); /* optimizer_load */
status checkpoint_load_average(const checkpoint *c, average *e);

#endif

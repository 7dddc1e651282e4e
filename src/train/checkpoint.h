/* A checkpoint is a folder runs/NAME/checkpoints/step-00001200 that is either whole or absent:
 *   config.json            model_config
 *   model.safetensors      live weights, float32
 *   ema.safetensors        averaged weights (EMA or SWA; once the average has begun)
 *   optimizer.safetensors  states
 *   trainer.json           step, seconds, tokens, loader position, events fired, format version, CRC-64 of each file
 *   tokenizer.model
 *   config.yaml            the run's configuration
 */
#ifndef MOEC_TRAIN_CHECKPOINT_H
#define MOEC_TRAIN_CHECKPOINT_H

#include "text/loader.h"
#include "text/tokenizer.h"
#include "train/average.h"
#include "train/optimizer.h"

enum { CHECKPOINT_VERSION = 1 };

typedef struct train_state {
    int64_t step;   /* steps done */
    int64_t tokens; /* tokens seen */
    double seconds; /* training time, without evaluation and saving */
    loader_position position;
    bool fired[MAX_EVENTS];
} train_state;

/* Save the state as run/checkpoints/step-N and remove all but the newest config->keep_checkpoints. e may be NULL. When it
 * fails, the checkpoints that were there are untouched. */
status checkpoint_save(const char *run, const run_config *config, const model *m, average *e, optimizer *o,
                       const tokenizer *tok, const train_state *state);
/* The newest whole checkpoint of a run folder (its path, malloc'ed), or NULL in *path when there is none: a folder has its
 * final name only when everything in it is on the disk. A checkpoint folder itself is accepted too. */
status checkpoint_find(const char *run_or_checkpoint, char **path);
/* Every file's CRC, the version, and that nothing is missing. */
status checkpoint_verify(const char *path);
/* A model as it was saved. which: "live" or "ema". */
status checkpoint_load_model(const char *path, const kernels *k, const char *which, model **out);
status checkpoint_load_state(const char *path, train_state *state);
/* The small files, each checked against its CRC first. config: of run_config_default(), to be freed either way. */
status checkpoint_load_config(const char *path, run_config *config);
status checkpoint_load_model_config(const char *path, model_config *config);
status checkpoint_open_tokenizer(const char *path, tokenizer **tok);
status checkpoint_has_average(const char *path, bool *has);         /* whether it was saved with averaged weights */
status model_save(const model *m, const char *path, uint64_t *crc); /* model.safetensors */
status model_load(model *m, const char *path);                      /* every parameter, by name and shape; refreshes */

#endif

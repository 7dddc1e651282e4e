/* A checkpoint is a folder RUN/checkpoints/step-00001200 that is either whole or absent:
 *   config.json            model_config
 *   model.safetensors      live weights, float32
 *   ema.safetensors        averaged weights (EMA or SWA; once the average has begun)
 *   tokenizer.model
 *   checkpoint.json        format version, step, CRC-64 of each file, what the weights' user has to know; its own CRC-64
 * and whatever else the trainer keeps there (train/checkpoint.h). docs/formats.md has it to the byte.
 *
 * A reader holds the checkpoint while it reads: a training that runs beside it removes old checkpoints, but none that is
 * held (a shared lock on the folder, which ends with the process). */
#ifndef MOEC_STORE_CHECKPOINT_H
#define MOEC_STORE_CHECKPOINT_H

#include "nn/model.h"
#include "text/tokenizer.h"

enum { CHECKPOINT_VERSION = 3 };

/* ---- reading ---- */

typedef struct checkpoint {
    char *path;
    char *manifest_path; /* PATH/checkpoint.json, for messages */
    cJSON *manifest;     /* checked against its own CRC-64 */
    int64_t step;
    int context_tokens; /* the sequence length that the model was trained with */
    int lock;           /* descriptor of the folder */
} checkpoint;

/* Open the newest whole checkpoint of a run folder, or a checkpoint folder itself. *out is NULL where there is none. */
status checkpoint_open(checkpoint **out, const char *run_or_checkpoint);
/* The same, and one line that says what was expected where there is none. */
status checkpoint_require(checkpoint **out, const char *run_or_checkpoint);
void checkpoint_close(checkpoint *c); /* NULL is fine */
bool checkpoint_has(const checkpoint *c, const char *name);
/* PATH/name; a new string. */
char *checkpoint_file(const checkpoint *c, const char *name);
/* Every file's CRC-64, and that nothing is missing. */
status checkpoint_verify(const checkpoint *c);
/* One file's. */
status checkpoint_verify_file(const checkpoint *c, const char *name);
bool checkpoint_has_average(const checkpoint *c); /* whether it was saved with averaged weights */
/* Parts of it, each file checked against its CRC-64 first. which: "live" or "ema". */
status checkpoint_load_model(const checkpoint *c, const kernels *k, const char *which, model_use use, model **out);
status checkpoint_load_model_config(const checkpoint *c, model_config *config);
status checkpoint_open_tokenizer(const checkpoint *c, tokenizer **tok);

/* ---- writing ---- */

/* A checkpoint that is being written beside its place. */
typedef struct checkpoint_writer {
    char *folder, *name; /* RUN/checkpoints, step-00001200 */
    char *partial;       /* the folder under its temporary name */
    cJSON *files;        /* name → CRC-64 */
    int64_t step;
} checkpoint_writer;

status checkpoint_begin(checkpoint_writer *w, const char *run, int64_t step);
/* Where a file goes; a new string. checkpoint_wrote notes that it is there. */
char *checkpoint_place(const checkpoint_writer *w, const char *name);
void checkpoint_wrote(checkpoint_writer *w, const char *name, uint64_t crc);
/* config.json, model.safetensors and tokenizer.model */
status checkpoint_put_model(checkpoint_writer *w, const model *m, const tokenizer *tok);
/* Write checkpoint.json with `training` (taken over) in it, let the folder appear under its name, and remove all but the
 * newest `keep` checkpoints that nobody holds. A failure leaves the checkpoints that were there untouched. */
status checkpoint_commit(checkpoint_writer *w, cJSON *training, int context_tokens, int64_t keep);
/* After a failure in between: what is there of it goes, and the message names the checkpoint. Returns s. */
status checkpoint_abandon(checkpoint_writer *w, status s);

#endif

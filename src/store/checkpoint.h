/* A checkpoint is a folder RUN/checkpoints/step-00001200 that is either whole or absent:
 *   config.json            model_config
 *   model.safetensors      live weights, float32
 *   ema.safetensors        averaged weights (EMA or SWA; once the average has begun)
 *   tokenizer.model
 *   checkpoint.json        format version, step, CRC-64 of each file, what the weights' user has to know (which weights are better,
 *                          where the training found that out); its own CRC-64
 * and whatever else the trainer keeps there (train/checkpoint.h). docs/formats.md has it to the byte.
 *
 * RUN/checkpoints/best, where it is, is a link to the one that was best at a look at held-out text; it's never removed in favour
 * of newer ones.
 *
 * A reader holds the checkpoint while it reads: a training that runs beside it removes old checkpoints, but none that is
 * held (a shared lock on the folder, which ends with the process). */
#ifndef MOEC_STORE_CHECKPOINT_H
#define MOEC_STORE_CHECKPOINT_H

#include "nn/model.h"
#include "text/tokenizer.h"

enum { CHECKPOINT_VERSION = 3 };

/* Which of a training's weights are better: live or averaged ones. Found out when the training ends, on text that it kept aside
 * from its training data (train/choice.h). */
typedef struct weights_choice {
    int64_t tokens;               /* that both were scored on; 0: nothing is known */
    double live_bpb, average_bpb; /* INFINITY: its loss was not finite */
} weights_choice;
/* Of two equal ones the averaged ones. */
static inline bool choice_is_average(const weights_choice *c) {
    return c->average_bpb <= c->live_bpb;
}

/* ---- reading ---- */

typedef struct checkpoint {
    char *path;
    char *manifest_path; /* PATH/checkpoint.json, for messages */
    cJSON *manifest;     /* checked against its own CRC-64 */
    int64_t step;
    int context_tokens; /* the sequence length that the model was trained with */
    weights_choice choice;
    int lock; /* descriptor of the folder */
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
/* What to load for `which`, "live", "ema" or "chosen", as "live" or "ema". Chosen are those that the training found better; where it
 * did not compare them, the averaged ones, and live ones where there are no others. */
status checkpoint_weights(const checkpoint *c, const char *which, const char **out);
/* Which weights these are, and why: "live weights: better on …"; a new string. `which` has passed checkpoint_weights. */
char *checkpoint_weights_note(const checkpoint *c, const char *which);
/* Parts of it, each file checked against its CRC-64 first. which: as for checkpoint_weights. */
status checkpoint_load_model(const checkpoint *c, const kernels *k, const char *which, model_use use, model **out);
/* The same weights into a model that is there, where they have the shapes for it. */
status checkpoint_fill_model(const checkpoint *c, const char *which, model *m);
status checkpoint_load_model_config(const checkpoint *c, model_config *config);
status checkpoint_open_tokenizer(const checkpoint *c, tokenizer **tok);

/* ---- writing ---- */

/* A checkpoint that is being written beside its place. */
typedef struct checkpoint_writer {
    char *folder, *name; /* RUN/checkpoints, step-00001200 */
    char *partial;       /* the folder under its temporary name */
    cJSON *files;        /* name → CRC-64 */
    weights_choice choice;
    int64_t step;
    bool best; /* RUN/checkpoints/best is to lead to it: false after checkpoint_begin */
} checkpoint_writer;

status checkpoint_begin(checkpoint_writer *w, const char *run, int64_t step);
/* Where a file goes; a new string. checkpoint_wrote notes that it is there. */
char *checkpoint_place(const checkpoint_writer *w, const char *name);
void checkpoint_wrote(checkpoint_writer *w, const char *name, uint64_t crc);
/* config.json, model.safetensors and tokenizer.model */
status checkpoint_put_model(checkpoint_writer *w, const model *m, const tokenizer *tok);
/* What checkpoint.json says of the weights; not called: nothing. */
void checkpoint_put_choice(checkpoint_writer *w, const weights_choice *choice);
/* Write checkpoint.json with `training` (taken over) in it, let the folder appear under its name, and remove all but the
 * newest `keep` and the best of the checkpoints that nobody holds. A failure leaves the checkpoints that were there untouched. */
status checkpoint_commit(checkpoint_writer *w, cJSON *training, int context_tokens, int64_t keep);
/* After a failure in between: what is there of it goes, and the message names the checkpoint. Returns s. */
status checkpoint_abandon(checkpoint_writer *w, status s);

#endif

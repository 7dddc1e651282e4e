/* Going on with a run: where its configuration is, what of it is changed, and whether that may be. Which keys may change is
 * in the tables of the sections (config_change, config/field.h). */
#ifndef MOEC_TRAIN_RESUME_H
#define MOEC_TRAIN_RESUME_H

#include "config/compare.h"
#include "train/checkpoint.h"

/* What is not as it was when the checkpoint was saved. */
typedef struct run_changes {
    config_differences keys;
    bool text;      /* the data folder holds another text, */
    bool tokenizer; /* or another tokenizer */
    bool teachers;  /* where the teachers lay there are others */
} run_changes;

/* The configuration of the run that lies in a folder, config.yaml or that of its newest checkpoint, with overrides. Its key
 * `run` becomes the folder. *c: of run_config_default(), to be freed either way. */
status resume_config(run_config *c, const char *folder, char *const *overrides, int override_count);
/* Whether a training lies there: checkpoints or a config.yaml. */
bool resume_is_run(const char *folder);

/* Compares the run's own configuration, which lies in the checkpoint, and its data with what is given. `fired`: of the
 * checkpoint's state; an event that has happened must still be there. `text`: loader_fingerprint; `teachers`:
 * as in train_state. */
status resume_compare(run_changes *out, const checkpoint *c, const train_state *state, const run_config *given,
                      uint64_t text, uint64_t teachers, const tokenizer *tok);
void run_changes_free(run_changes *r);
bool run_changes_make_another(const run_changes *r);
/* "batch 8 -> 4, the text of data/mine": those that make another run of it, or the harmless ones; a new string. */
char *run_changes_text(const run_changes *r, bool harmless);
/* {"batch": {"from": "8", "to": "4"}, …} */
cJSON *run_changes_json(const run_changes *r);
/* The model of a checkpoint, as events made it, with the keys of the section `model` that were changed. */
model_config run_changes_model(const run_changes *r, const model_config *saved, const run_config *given);

#endif

/* Learning from a teacher while a training runs: the section `distill` as the passes want it at each step, and the model whose hidden
 * states are compared. What a teacher says of the text comes with the loader's batches. */
#ifndef MOEC_TRAIN_DISTILL_H
#define MOEC_TRAIN_DISTILL_H

#include "nn/pass.h"
#include "store/source.h"
#include "train/distill_config.h"

/* A model that is run forward only; all NULL where hidden_weight is 0. */
typedef struct hidden_teacher {
    model_source *source; /* until it is loaded */
    uint64_t weights;     /* weight_source_fingerprint */
    model *m;
    pass *p;
} hidden_teacher;

/* That c->teacher_model fits: layers and channels, and the data's tokenizer. Its weights are not read yet. */
status hidden_teacher_find(hidden_teacher *t, const distill_config *c, const model_config *student,
                           const tokenizer *tok);
const model_config *hidden_teacher_config(const hidden_teacher *t); /* once it is found; NULL: none */
status hidden_teacher_load(hidden_teacher *t, const kernels *k);
void hidden_teacher_close(hidden_teacher *t); /* fine after a failure */

/* Whether the loader's batches need what a teacher says of them. */
bool distill_needs_cache(const distill_config *c);
/* What counts at a fraction of the training. t may be NULL. */
distill_args distill_at(const distill_config *c, int num_layers, const hidden_teacher *t, double fraction);
/* "the teacher in FOLDER: weight 0.5, temperature 2, forward"; a new string, NULL where there is none. */
char *distill_describe(const distill_config *c);

#endif

/* Beginning with weights of another model: the key `init` of a run, whatever opens as a model (store/source.h). The optimiser,
 * the schedule and the data begin anew. Of a run the better ones of the live and the averaged weights are taken (checkpoint_weights). */
#ifndef MOEC_TRAIN_INIT_H
#define MOEC_TRAIN_INIT_H

#include "nn/model.h"
#include "text/tokenizer.h"

typedef enum key_given { KEY_NOT_GIVEN, KEY_IN_FILE, KEY_OVERRIDDEN } key_given;

/* The architecture as it is there now, with what events made of it. What the configuration gives stays in *config: a preset may
 * be another model's, so a file's key has to have the value that it has there, unless it is only about training
 * (CHANGE_TRAINING); an override is a change that is meant. `given`: by key, in model_section's order. */
status init_model_config(const char *path, const key_given *given, model_config *config);

/* What weights know of a tokenizer: which token each id is. How it is written down, and what belongs to it besides, may differ. */
bool init_same_tokens(const tokenizer *a, const tokenizer *b);

typedef struct init_report {
    const char *kind; /* what opened: "checkpoint" */
    char *note;       /* which of its weights, and why; NULL: it has no others */
    char *changed;    /* "moe_top_k 2 -> 1": what m does otherwise; empty: nothing */
    bool tokenizer;   /* there is one, and it is the data's */
    int context;      /* the longest context that the model there is made for */
} init_report;

void init_report_free(init_report *r);

/* All weights of m. Each has to be there with m's shape, and no other may be there; the first that is not so is named with both
 * shapes. A tokenizer other than tok is an error: the weights know its tokens. */
status init_weights(const char *path, model *m, const tokenizer *tok, init_report *report);

#endif

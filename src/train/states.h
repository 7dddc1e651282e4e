/* Float32 arrays on the device that accompany a model's parameters: an optimiser's moments, an average. They follow their
 * parameter through events that replace it, and travel to files under the parameter's name (store/tensor_file.h). */
#ifndef MOEC_TRAIN_STATES_H
#define MOEC_TRAIN_STATES_H

#include "grad/param.h"

enum { PARAM_STATE_ARRAYS = 2 };

typedef struct param_state {
    const param *p;
    int arrays;                       /* how many of array[] there are */
    float *array[PARAM_STATE_ARRAYS]; /* device, each of p's shape */
    int64_t steps;                    /* updates so far, for Adam's bias correction */
    bool fresh;                       /* all zero: inherited from nobody and not written yet */
} param_state;

typedef struct param_states {
    const kernels *k;
    int (*arrays_of)(const param *p); /* how many arrays a parameter needs */
    param_state *items;               /* in the model's order after param_states_settle */
    int count;
    bool failed; /* there was no memory to follow an event; param_states_settle reports it */
} param_states;

/* Bring the states into the order of `params`: new ones start from zero, those of parameters that are gone are freed. */
status param_states_settle(param_states *s, param *const *params, int count);
/* new_param takes old_param's place in the model: it starts with a copy of its state, or with zeros. */
void param_states_replaced(param_states *s, const param *new_param, const param *old_param);
void param_states_free(param_states *s);

#endif

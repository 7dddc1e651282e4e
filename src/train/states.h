/* Arrays on the device that accompany a model's parameters: an optimiser's moments, an average. They follow their
 * parameter through events that replace it, and travel to files under the parameter's name (store/tensor_file.h).
 *
 * The first array of a parameter lies where its value lies, in an arena like that of the values; so one call averages or
 * saves all of them. The second one, which fewer have, lies in an arena of its own.
 *
 * Or each parameter's arrays belong to one rank (`assign`), which alone has them, one behind the other. Then every rank has the
 * same list of states, and settling is for all ranks: what an event gives another owner moves there. Without owners the arrays of an
 * expert are on the ranks that have it (nn/spread.h), the list is the same on all. */
#ifndef MOEC_TRAIN_STATES_H
#define MOEC_TRAIN_STATES_H

#include "comm/comm.h"
#include "nn/model.h"

enum { PARAM_STATE_ARRAYS = 2 };

typedef struct param_state {
    const param *p;
    int arrays;                         /* how many it has; 0: nothing accompanies it */
    int owner;                          /* the rank that has them */
    int64_t offset[PARAM_STATE_ARRAYS]; /* in the owner's arenas, in elements */
    int64_t steps;                      /* updates so far, for Adam's bias correction */
    bool fresh;                         /* all zero: inherited from nobody and not written yet */
} param_state;

typedef struct param_states {
    const model *m;
    dtype type; /* of the arrays: DTYPE_F32 or DTYPE_BF16 */
    /* How many arrays a parameter needs; 0 for what is in no arena. */
    int (*arrays_of)(const void *context, const param *p);
    const void *context;
    comm *ranks; /* NULL: this rank has everything of the parameters that are here */
    /* owner[i]: the rank that is to have those of parameter i; the same on all ranks. Only with `ranks`. */
    void (*assign)(const void *context, const model *m, int ranks, int *owner);
    param_state *items; /* in the model's order after param_states_settle */
    int count;
    arena arrays[PARAM_STATE_ARRAYS];
} param_states;

/* Follow the model's parameters: new ones start from zero, what belonged to those that are gone goes. */
status param_states_settle(param_states *s);
/* new_param takes old_param's place in the model: it will start with a copy of its state, or (NULL) with zeros. */
void param_states_replaced(param_states *s, const param *new_param, const param *old_param);
void param_states_free(param_states *s);
/* Whether this rank has the arrays. */
bool param_state_is_here(const param_states *s, const param_state *state);
/* For all ranks: the same states, all of them at rank `root`; param_states_free *whole. */
status param_states_collect(const param_states *s, int root, param_states *whole);
/* One of a settled state's arrays that are here, of its parameter's shape. */
void *param_state_array(const param_states *s, const param_state *state, int array);

#endif

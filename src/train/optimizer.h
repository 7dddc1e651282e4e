/* Muon or AdamW for the matrices of blocks, AdamW for embeddings, Adam for the rest (#2102's groups). Which parameter goes where is a
 * table over the parameters' roles (optimizer.c). States are kept by parameter, so that an upcycled expert inherits the
 * state of the MLP that it is a copy of.
 *
 * With several ranks each parameter belongs to one of them (shares.h): that one has its means, gets its gradients' sum, makes its
 * update, and gives everyone the new value. Creating, stepping, settling and gathering are then for all ranks. */
#ifndef MOEC_TRAIN_OPTIMIZER_H
#define MOEC_TRAIN_OPTIMIZER_H

#include "comm/reduce.h"
#include "nn/model.h"
#include "nn/roles.h"
#include "train/optimizer_config.h"

typedef enum param_group {
    GROUP_MATRIX,
    GROUP_EMBED,
    GROUP_HEAD,
    GROUP_SCALAR,
    GROUP_ROUTER,
    GROUP_FROZEN
} param_group;
param_group optimizer_group(const param *p);     /* GROUP_FROZEN where it is not trained */
param_group optimizer_group_of(param_role role); /* where it has one */
const char *param_group_name(param_group g);
/* How many running means a parameter of the group has: Muon's momentum, or Adam's mean and mean of squares. */
int optimizer_arrays(const optimizer_config *c, param_group group);

typedef struct optimizer optimizer;
status optimizer_create(optimizer **out, const optimizer_config *config, model *m);
status optimizer_create_shared(optimizer **out, const optimizer_config *config, model *m, comm *ranks);
void optimizer_destroy(optimizer *o);
/* Follow the model after an event changed it; a step does it by itself. */
status optimizer_settle(optimizer *o);
int optimizer_owner(const optimizer *o, int param); /* of the model's parameter; settled */
int64_t optimizer_state_bytes(const optimizer *o);  /* that this rank holds */
/* Clip to the global norm, update every parameter with gradients, refresh the model's products. lr_factor scales every
 * group's rate. step counts from 0 (momentum warm-up). *grad_norm: before clipping. A norm that is not finite is an
 * error that names the first such tensor; nothing is changed then. */
status optimizer_step(optimizer *o, int64_t step, double lr_factor, double *grad_norm);
/* For model_upcycle: give new_param old_param's state (or none). */
void optimizer_replaced(void *optimizer, const param *new_param, const param *old_param);

/* Rank 0 gets all states, until optimizer_save has written them or the next gathering; nothing to do where there is one rank. */
status optimizer_gather(optimizer *o);
/* State as named tensors ("muon.NAME", "adam_m.NAME", "adam_v.NAME", "adam_steps.NAME"), for checkpoints. */
status optimizer_save(optimizer *o, const char *path, uint64_t *crc);
/* lacking NULL: every state must be there. Else those that are not, of another optimiser or of what was frozen, begin anew, and
 * *lacking is the number of their parameters. */
status optimizer_load(optimizer *o, const char *path, int *lacking);

#endif

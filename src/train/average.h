/* A mean of the weights beside the live ones, in float32: in bf16 the updates of a decay of 0.9965 are below the resolution
 * and are lost. What is kept, from schedule_average_start on:
 *   ema  a ← d a + (1 − d) w after every step, beginning as a copy of the weights; from the start (ema_start 0) it begins as
 *        the initial weights, with d = min(ema_decay, (s+1)/(s+10)) at step s (#2102)
 *   swa  the uniform mean of the weights after every step whose number is a multiple of swa_every (#480)
 * A parameter that an event brings in takes its predecessor's average over, or begins with its own value; under SWA it
 * counts its own checkpoints. */
#ifndef MOEC_TRAIN_AVERAGE_H
#define MOEC_TRAIN_AVERAGE_H

#include "nn/model.h"
#include "train/average_config.h"

typedef struct average average;
/* *out is NULL where the configuration keeps none. start: the fraction of the training where it begins
 * (schedule_average_start). */
status average_create(average **out, const average_config *config, double start, const model *m);
void average_destroy(average *a);
/* After the update of step `step` (from 0), which began when `fraction` of the training was done. */
status average_update(average *a, int64_t step, double fraction);
/* Whether there is an average yet; a may be NULL. Before, saving and swapping have no meaning. */
bool average_begun(const average *a);
/* For model_upcycle: new_param takes old_param's average over. */
void average_replaced(void *average, const param *new_param, const param *old_param);
/* Swap the model's values with the average (and back by calling again); refreshes the products. */
status average_swap(average *a, model *m);

/* For all ranks before rank 0 saves: it gets those of experts that it does not have, until average_save has written them. a may be NULL. */
status average_gather(average *a);
/* The averages under the parameters' names; under SWA "average_steps.NAME" too, the checkpoints that went into each.
 * Loading a file of the other kind is an error. */
status average_save(average *a, const char *path, uint64_t *crc);
status average_load(average *a, const char *path);

#endif

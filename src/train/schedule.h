/* Where training stands, and what that means for rates and events. */
#ifndef MOEC_TRAIN_SCHEDULE_H
#define MOEC_TRAIN_SCHEDULE_H

#include "train/average_config.h"
#include "train/event_config.h"
#include "train/optimizer_config.h"
#include "train/train_config.h"

/* Fraction of the training that is done: the larger of step / steps and seconds / max_seconds, of those that are set; at most
 * 1. So the schedule ends with whichever comes first, and as long as the steps are ahead the clock changes nothing. */
double schedule_fraction(const train_config *c, int64_t step, double seconds);
/* The warm-down alone: 1, then over the last warmdown_frac of the training max(1 − progress, min_lr) (#2102), or min_lr +
 * (1 − min_lr) · ½(1 + cos(π · progress)) (Loshchilov & Hutter 2017, without restarts). */
double schedule_warmdown(const optimizer_config *c, double fraction);
/* The factor on every rate: the warm-down, and before it a linear warm-up from 0 over warmup_frac. */
double schedule_lr_factor(const train_config *t, const optimizer_config *o, double fraction);
/* (1 − f)·start + f·momentum, f = min(step / warmup_steps, 1) */
double schedule_momentum(const optimizer_config *c, int64_t step);
/* Whether an event is due: by its `below_lr` where that is set, else by its `at`. `warmdown` is schedule_warmdown, so that
 * the small rates of the warm-up do not count. */
bool schedule_due(const event *e, double fraction, double warmdown);

/* The fraction of the training where the run's average begins. */
double schedule_average_start(const average_config *a, const optimizer_config *o);

#endif

/* Where training stands, and what that means for rates and events. */
#ifndef MOEC_TRAIN_SCHEDULE_H
#define MOEC_TRAIN_SCHEDULE_H

#include "train/config.h"

/* Fraction of the training that is done: seconds / max_seconds where that is set, else step / steps; at most 1. */
double schedule_fraction(const run_config *c, int64_t step, double seconds);
/* 1, with a linear warm-up over warmup_frac and a linear warm-down over the last warmdown_frac to min_lr (#2102). */
double schedule_lr_factor(const run_config *c, double fraction);
/* (1 − f)·start + f·momentum, f = min(step / warmup_steps, 1) */
double schedule_momentum(const run_config *c, int64_t step);
/* Whether an event is due, by its `at` or its `below_lr`. */
bool schedule_due(const event *e, double fraction, double lr_factor);

#endif

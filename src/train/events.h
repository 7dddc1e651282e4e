/* What an event of training does. The loop fires events from a list and knows none of them by name: events.c holds the
 * table from event_kind to functions, and a new event is a row of it. */
#ifndef MOEC_TRAIN_EVENTS_H
#define MOEC_TRAIN_EVENTS_H

#include "train/average.h"
#include "train/event_config.h"
#include "train/optimizer.h"

/* What events may change. */
typedef struct event_target {
    model *m;
    optimizer *o;
    average *e; /* NULL: no average is kept */
    uint64_t seed;
} event_target;

/* *description (malloc'ed; NULL after a failure): what happened, in a few words. Errors name the event. */
status event_fire(const event *e, const event_target *target, char **description);
/* After loading a checkpoint: bring back what a fired event changed and config.json does not hold. */
status event_restore(const event *e, const event_target *target);

#endif

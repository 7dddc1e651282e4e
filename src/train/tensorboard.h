/* A run's log as TensorBoard shows it: RUN/events.out.tfevents.SECONDS.moec, made from the records of log.jsonl.
 *
 * A number of a step's record is the scalar train/KEY or, where KEY is val_X, val/X; the numbers of an object are KEY/NAME (val_bpb_domains/code);
 * what a router does is experts/layer4_pass1_expert0 (share of the tokens) and router_entropy/layer4_pass1. */
#ifndef MOEC_TRAIN_TENSORBOARD_H
#define MOEC_TRAIN_TENSORBOARD_H

#include "base/status.h"
#include <cjson/cJSON.h>

typedef struct tensorboard tensorboard;

/* A new file in place of the older ones of that run. Its name has the time, since a TensorBoard that is running looks for new
 * files and does not see that one was replaced. */
status tensorboard_create(tensorboard **out, const char *run);
status tensorboard_record(void *tensorboard, const cJSON *record); /* a run_log_listener */
void tensorboard_close(tensorboard *t);
/* The files that moec made there. */
status tensorboard_remove(const char *run);

#endif

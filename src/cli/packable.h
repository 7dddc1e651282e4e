/* What can be packed: a run, a checkpoint, or other people's model, with the configuration of its run. */
#ifndef MOEC_CLI_PACKABLE_H
#define MOEC_CLI_PACKABLE_H

#include "store/checkpoint.h"
#include "train/config.h"

/* *saved: held and its sums checked; NULL: a pretrained model. *found: where its weights are (`path`, or the run's checkpoint). *run: of the
 * run; of what no training of moec made the defaults, without data. */
status packable_read(const char *path, const char **found, checkpoint **saved, run_config *run);

#endif

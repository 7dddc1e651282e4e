/* Other forms of a run's log, as the configuration asks for them: for TensorBoard and as a table. They hold nothing that
 * log.jsonl does not have, so each training that begins or goes on makes them anew from it. */
#ifndef MOEC_TRAIN_MIRRORS_H
#define MOEC_TRAIN_MIRRORS_H

#include "text/loader.h"
#include "train/config.h"
#include "train/log.h"
#include "train/log_csv.h"
#include "train/tensorboard.h"

typedef struct log_mirrors {
    tensorboard *board; /* NULL: not asked for */
    log_csv *table;
} log_mirrors;

/* From all that is in the log, whose last record is complete, and from now on with it. looked_at: the held-out documents,
 * whose domains have columns. */
status mirrors_open(log_mirrors *m, const run_config *c, run_log *l, const document_table *looked_at,
                    const loader *data);
void mirrors_close(log_mirrors *m);
/* Those of an older run in that folder. */
status mirrors_remove(const char *run);

#endif

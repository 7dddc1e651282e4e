/* The run that a model belongs to, as commands that score text need it. */
#ifndef MOEC_CLI_EVAL_RUN_H
#define MOEC_CLI_EVAL_RUN_H

#include "cli/eval_table.h"
#include "store/checkpoint.h"

typedef struct eval_run {
    char *folder;             /* of a run; NULL: the model is a checkpoint or an artifact on its own */
    checkpoint *saved;        /* held: all that is scored is of one step; NULL: an artifact on its own */
    char *data;               /* its data folder; NULL: not known */
    int64_t stride;           /* new tokens a window; 0: not known */
    const char *average_name; /* "EMA" or "SWA" */
} eval_run;

/* Of a run folder, a checkpoint, or an artifact that lies in a run's folder. */
status eval_run_find(eval_run *r, const char *model);
void eval_run_free(eval_run *r);
/* Whether the text at `path` was held out from this run's training: the val shard of its own data. */
bool eval_run_held_out(const eval_run *r, const char *path);
/* Windows for a model that was trained with sequences of `context`: window, stride and windows a pass. seq and stride 0: as trained (of
 * pretrained models at most 2048), and as the run's text was scored, else half a window. */
status eval_run_windows(const eval_run *r, const char *model, int64_t context, int64_t seq, int64_t stride,
                        bpb_options *o);
/* RUN/summary.json: the run's figures over the whole of its held-out text; say: also what there is to say of them on stdout. */
status eval_run_summarize(const eval_run *r, const eval_table *t, bool say);

#endif

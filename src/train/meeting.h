/* What ranks tell each other: at the start that they train the same, and after each step what only one of them knows. */
#ifndef MOEC_TRAIN_MEETING_H
#define MOEC_TRAIN_MEETING_H

#include "comm/comm.h"
#include "train/config.h"

/* What has to be the same on all ranks, each fact a number (most of them a CRC-64). */
typedef enum rank_fact {
    FACT_BUILD,        /* of the program's file */
    FACT_INSTRUCTIONS, /* kernels_isa and the type of activations */
    FACT_START,        /* train_start */
    FACT_TEXT,         /* loader_fingerprint */
    FACT_TOKENIZER,    /* of its bytes */
    FACT_TEACHERS,
    RANK_FACTS
} rank_fact;
uint64_t fact_of_build(void);

/* For all ranks: each one's facts and configuration are rank 0's; else one line that names the lowest rank whose are not, and what
 * differs. */
status ranks_compare(comm *ranks, const run_config *config, const uint64_t facts[RANK_FACTS]);
/* That all opened the same checkpoint: its step, −1 for none, and a number that tells its state from others. */
status ranks_compare_checkpoints(comm *ranks, int64_t step, uint64_t state);

/* After a step. In: what this rank knows; out: what holds for all. */
typedef struct step_meeting {
    bool interrupted;    /* by a signal; any rank's */
    bool checkpoint_due; /* rank 0's clock says so */
    double seconds;      /* that the step took; rank 0's */
} step_meeting;
status ranks_meet(comm *ranks, step_meeting *m);

#endif

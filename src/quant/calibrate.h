/* Calibration batches from a run's own training data. */
#ifndef MOEC_QUANT_CALIBRATE_H
#define MOEC_QUANT_CALIBRATE_H

#include "quant/hessians.h"
#include "quant/sensitivity.h"
#include "text/data_config.h"
#include "text/tokenizer.h"

typedef struct calibration_text {
    const data_config *data;
    int64_t batches, batch_rows,
        seq; /* rows of seq tokens in a random order, so that all domains are among them; with a mix in its shares */
    uint64_t seed;
    comm *ranks; /* who have the same and run it in turn, with the outcome of one; NULL: this process alone */
} calibration_text;

/* Give the batches to h and, where it is not NULL, to s, which runs each of them forward and backward. For all ranks. *key (may be NULL): what stands
 * for their tokens. Progress on stderr; STATUS_INTERRUPTED after Ctrl-C. */
status calibrate(hessians *h, sensitivities *s, const model *m, const tokenizer *tok, const calibration_text *text,
                 uint64_t *key);

#endif

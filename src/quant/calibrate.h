/* Hessians from a run's own training data. */
#ifndef MOEC_QUANT_CALIBRATE_H
#define MOEC_QUANT_CALIBRATE_H

#include "quant/hessians.h"
#include "text/tokenizer.h"

/* `batches` batches of rows of the shards `data` in a random order, so that all domains are among them. Shows progress on
 * stderr; STATUS_INTERRUPTED after Ctrl-C. */
status hessians_calibrate(hessians *h, model *m, const tokenizer *tok, const char *data, int64_t batch_rows,
                          int64_t seq, uint64_t seed, int64_t batches);

#endif

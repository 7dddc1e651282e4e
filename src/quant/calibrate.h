/* Calibration batches from a run's own training data. */
#ifndef MOEC_QUANT_CALIBRATE_H
#define MOEC_QUANT_CALIBRATE_H

#include "quant/hessians.h"
#include "text/data_config.h"
#include "text/tokenizer.h"

/* Give h `batches` batches of rows of the data in a random order, so that all domains are among them; with a mix in its shares. */
status hessians_calibrate(hessians *h, const model *m, const tokenizer *tok, const data_config *data,
                          int64_t batch_rows, int64_t seq, uint64_t seed, int64_t batches);

#endif

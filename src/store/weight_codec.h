/* The entropy coder of quantised matrices: binary decisions (quant/weight_model.h) through a range coder. docs/formats.md has the
 * stream to the byte, docs/quantisation.md what it is measured against. */
#ifndef MOEC_STORE_WEIGHT_CODEC_H
#define MOEC_STORE_WEIGHT_CODEC_H

#include "base/status.h"
#include "quant/weight_model.h"
#include <stddef.h>

/* A stream begins with the prediction and the mean of |k − prediction| in 1/256 steps, little-endian; then the range coder's bytes. */
enum { WEIGHTS_HEADER = 3 };

/* Rows whose scales are all 0 are not coded. Where q's rows are paths of a trellis, their codes are what is stored. twin: a matrix
 * of the same shape and with the same groups that a reader will have, or NULL; it is used where that pays. Of the predictions the one that takes the
 * fewest bytes is taken, at the cost of coding as often. *bytes is malloc'ed. Fails where q is no path of its trellis. */
status weights_encode(const quantized *q, const quantized *twin, uint8_t **bytes, size_t *count);
/* Whether a stream needs the twin that it was written with. */
bool weights_need_twin(const uint8_t *bytes, size_t count);
/* Fills q->q (allocated by the caller, as scales, rows, cols, group, levels and trellis are given). Never reads or writes outside for any
 * bytes, and takes time in proportion to the weights; fails where they are not a stream of weights_encode. */
status weights_decode(quantized *q, const quantized *twin, const uint8_t *bytes, size_t count);
/* What an ideal coder without contexts would need: −Σ log2 p(q) over the rows that are coded, in bits. */
double weights_entropy(const quantized *q);

#endif

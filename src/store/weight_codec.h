/* The entropy coder of quantised matrices: a range coder whose probabilities depend on how large the neighbours are.
 * A row and a column of a trained matrix each have their own spread; what was coded so far estimates both. */
#ifndef MOEC_STORE_WEIGHT_CODEC_H
#define MOEC_STORE_WEIGHT_CODEC_H

#include "quant/quantize.h"
#include <stddef.h>

/* Rows whose scale is 0 are not coded. *bytes is malloc'ed. */
void weights_encode(const quantized *q, uint8_t **bytes, size_t *count);
/* Fills q->q (allocated by the caller, as scale, rows, cols and levels are given). Never reads or writes outside for any
 * bytes; fails where they are not a stream of weights_encode. */
status weights_decode(quantized *q, const uint8_t *bytes, size_t count);
/* What an ideal coder without contexts would need: −Σ log2 p(q) over the rows that are coded, in bits. */
double weights_entropy(const quantized *q);

#endif

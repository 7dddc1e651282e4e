/* Second moments of the inputs of every product, H = Σ x xᵀ over the rows that the product really saw: a looped layer's
 * over all its passes, an expert's over its own tokens, the tied embedding's over what the head reads. */
#ifndef MOEC_QUANT_HESSIANS_H
#define MOEC_QUANT_HESSIANS_H

#include "nn/model.h"

typedef struct hessians hessians;
status hessians_create(hessians **out, const kernels *k);
void hessians_destroy(hessians *h);
/* Run a calibration batch through the model and add what its products read. */
status hessians_add(hessians *h, model *m, const batch *b);
/* H / rows of the weight of that name as a host array [cols, cols] (free() it), or NULL where no product with it was seen
 * (a table that is only looked up). *rows (may be NULL): how many inputs were seen; 0 for an expert without tokens. */
float *hessians_read(const hessians *h, const char *name, int64_t cols, int64_t *rows);

#endif

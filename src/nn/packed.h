/* Matrices of a model that is run in integers (model_use_packs): from codes as they are stored, or from floats that are rounded as
 * they come. */
#ifndef MOEC_NN_PACKED_H
#define MOEC_NN_PACKED_H

#include "nn/weight_source.h"

/* A matrix's codes; where the use wants fewer bits than they have they are rounded anew. */
status packed_set_codes(param *p, const kernels *k, model_use use, const quantized *q);
/* A matrix's values [rows, cols], rounded where the use wants that; else they stay floats. */
status packed_set_values(param *p, const kernels *k, model_use use, const float *values);
/* What the source has of it. */
status packed_fill(const weight_source *s, param *p, const kernels *k, model_use use);

#endif

/* Second moments of the inputs of every product, H = Σ x xᵀ over the rows that the product really saw: a looped layer's
 * over all its passes, an expert's over its own tokens, the tied embedding's over what the head reads. Products that read one
 * input (queries, keys and values) share it.
 *
 * They are made when they are asked for: the calibration batches run through the model, and the Hessians of as many layers
 * as fit the memory are collected at a time; asking layer by layer runs them once for each of these groups. */
#ifndef MOEC_QUANT_HESSIANS_H
#define MOEC_QUANT_HESSIANS_H

#include "nn/pass.h"

/* Bytes of Hessians that are held at a time, unless one layer's are more. */
#define HESSIANS_MEMORY ((size_t)2 << 30)

typedef struct hessians hessians;
/* p runs the batches, and belongs to the Hessians until they are destroyed. */
hessians *hessians_create(pass *p, size_t memory);
void hessians_destroy(hessians *h); /* NULL is fine */
/* From now on every expert's Hessians are those of all tokens, whoever they were routed to: each expert multiplies the
 * others' tokens too, for the observation alone, and the model goes on as it would. As #2102's script has it, whose
 * experts all run on all tokens; false: as said above. */
void hessians_pool_experts(hessians *h, bool pool);
/* One more calibration batch, whose ids and document starts are copied; before the first Hessian is asked for. */
void hessians_add(hessians *h, const batch *b);
/* H / rows of what the weight's product reads, host [cols, cols], valid until the next call; NULL where there is no such
 * product (a table that is only looked up). *rows (may be NULL): how many inputs were seen; 0 for an expert without tokens,
 * whose H is 0. Runs the batches, with progress on stderr, where the weight's layer is not among those that are held;
 * STATUS_INTERRUPTED after Ctrl-C. */
status hessians_of(hessians *h, const param *weight, const float **hessian, int64_t *rows);

#endif

/* Second moments of the inputs of every product, H = Σ x xᵀ over the rows that the product really saw: a looped layer's
 * over all its passes, an expert's over its own tokens, the tied embedding's over what the head reads. Products that read one
 * input (queries, keys and values) share it.
 *
 * They are made when they are asked for: the calibration batches run through the model, and the Hessians of as many layers
 * as fit the memory are collected at a time; asking layer by layer runs them once for each of these groups.
 *
 * Each batch's moments are formed from zero, in float32, and the sum over batches is ((G₀ + G₁) + G₂) + … from left to right. So several
 * ranks that run the batches in turn (batch i is rank i % ranks's) have the Hessians of one process, to the bit (comm/reduce.h), all of them
 * on every rank. Collecting is for all ranks at once; what ranks do with Hessians is not. Hence two ways to ask:
 *
 *     hessians_share(h, ranks);
 *     TRY(hessians_hold(h, layer)); … hessians_of(h, weight, …) …      // on all ranks, of the layers up to hessians_last(h, layer)
 *
 *     if (ranks->rank == 0) s = hessians_dismiss(h, work(h));          // rank 0 asks for whatever it wants, and the others
 *     else s = hessians_follow(h);                                     // run their batches when it does */
#ifndef MOEC_QUANT_HESSIANS_H
#define MOEC_QUANT_HESSIANS_H

#include "comm/comm.h"
#include "nn/pass.h"

/* Bytes of Hessians that are held at a time, unless one layer's are more. Several ranks take up to twice as many while they collect, and
 * so does a looped layer. */
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
/* Before the first is asked for: these ranks have added the same batches, and run them in turn. */
void hessians_share(hessians *h, comm *ranks);
/* For all ranks: the Hessians of this layer (−1: of what is in none) and of those up to hessians_last are held. */
status hessians_hold(hessians *h, int layer);
int hessians_last(const hessians *h, int layer);
/* Of all ranks but 0: run batches until rank 0's work with the Hessians is over. What failed there is rank 0's to tell. */
status hessians_follow(hessians *h);
/* Of rank 0: it is, and ended with s, which is returned. Nothing to do for one process, or where a failure is all ranks' already. */
status hessians_dismiss(hessians *h, status s);
/* H / rows of what the weight's product reads, host [cols, cols], valid until the next call; NULL where there is no such
 * product (a table that is only looked up). Of several ranks only rank 0 may ask for what is not held, while the others follow. *rows (may be NULL): how many inputs were seen; 0 for an expert without tokens,
 * whose H is 0. Runs the batches, with progress on stderr, where the weight's layer is not among those that are held;
 * STATUS_INTERRUPTED after Ctrl-C. */
status hessians_of(hessians *h, const param *weight, const float **hessian, int64_t *rows);

#endif

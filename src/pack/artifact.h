/* The artifact: one self-contained file with config, tokenizer and quantised, entropy-coded weights.
 * docs/formats.md has it to the byte. */
#ifndef MOEC_PACK_ARTIFACT_H
#define MOEC_PACK_ARTIFACT_H

#include "nn/budget.h"
#include "nn/model.h"
#include "pack/hessians.h"
#include "text/tokenizer.h"

enum { ARTIFACT_VERSION = 1 };

typedef struct pack_options {
    int bits;             /* of matrices in blocks: 2 … 8 */
    int embed_bits;       /* of embeddings and the head; 0: as bits */
    int64_t budget_bytes; /* fail when the file is larger; 0: any size */
    bool fit;             /* and before failing try coarser steps */
    double
        least_step; /* of matrices in blocks: the finest step in a row's σ (quantize.h); 0: the error alone decides */
    double embed_least_step;     /* the same of embeddings and the head */
    double prune_fraction;       /* of each matrix in blocks: its smallest weights become 0 (prune.h) */
    double damp;                 /* of GPTQ's Hessian, relative to its mean diagonal: 0.01 */
    bool gptq;                   /* false: rounding (the baseline) */
    int64_t keep_float_elements; /* matrices up to this size stay floats (65,536 in #2102; here 1024) */
    int context_tokens;          /* stored for the reader: the sequence length that it was trained with */
} pack_options;
pack_options pack_options_default(void);

/* What became of the tensors of a component (nn/budget.h). */
typedef struct pack_component {
    int tensors;
    int64_t elements;
    int64_t bytes;        /* in the file, with its share of what is packed together (scales, floats) */
    double error, weight; /* Σ tr(ΔW H ΔWᵀ) and Σ tr(W H Wᵀ) of its grids; H is the identity where no input was seen */
} pack_component;

typedef struct pack_report {
    int64_t artifact_bytes, weight_bytes, tokenizer_bytes, config_bytes;
    int64_t raw_bytes;      /* the same tensors as float32 */
    double bits_per_weight; /* after entropy coding */
    double relative_error;  /* Σ error / Σ weight over what has a Hessian (over all when there is none) */
    double entropy_bits;    /* a weight of the grids, without contexts: what the coder is measured against */
    int64_t pruned;         /* weights that were made 0 */
    double least_step;      /* that were used: with `fit` they may be larger than asked for */
    double embed_least_step;
    pack_component components[COMPONENTS];
} pack_report;

/* Quantise m's values (the model is not changed) and write the artifact. h may be NULL when options->gptq is false; tok may
 * be NULL for a file without a tokenizer. A weight that is not finite is an error that names its tensor. The report is
 * filled even when the file would be larger than the budget and is not written. */
status artifact_write(const char *path, const model *m, const tokenizer *tok, const hessians *h,
                      const pack_options *options, pack_report *report);
/* Checks the checksum, version and every length before use. m and tok may be NULL where they are not wanted. */
status artifact_read(const char *path, const kernels *k, model **m, tokenizer **tok, int *context_tokens);
/* The same from memory; `where` names it in messages. With k NULL only the container and the codes are checked. */
status artifact_parse(const uint8_t *bytes, size_t count, const char *where, const kernels *k, model **m,
                      tokenizer **tok, int *context_tokens);
/* That every weight is finite; else an error that names tensor, row and column. To ask before calibrating. */
status artifact_check_weights(const model *m);
bool artifact_is(const char *path); /* the magic is there */

#endif

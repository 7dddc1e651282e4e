/* The artifact: one self-contained file with config, tokenizer and quantised, entropy-coded weights.
 * docs/formats.md has it to the byte. */
#ifndef MOEC_PACK_ARTIFACT_H
#define MOEC_PACK_ARTIFACT_H

#include "nn/model.h"
#include "text/tokenizer.h"

enum { ARTIFACT_VERSION = 1 };

typedef struct pack_options {
    int bits;                    /* of matrices in blocks: 2 … 8 */
    int embed_bits;              /* of embeddings and the head; 0: as bits */
    int64_t budget_bytes;        /* fail when the file is larger; 0: any size */
    double damp;                 /* of GPTQ's Hessian, relative to its mean diagonal: 0.01 */
    bool gptq;                   /* false: rounding (the baseline) */
    int64_t keep_float_elements; /* tensors up to this size stay float16: 65,536 in #2102 */
    int context_tokens;          /* stored for the reader: the sequence length that it was trained with */
} pack_options;
pack_options pack_options_default(void);

typedef struct pack_report {
    int64_t artifact_bytes, weight_bytes, tokenizer_bytes, config_bytes;
    int64_t raw_bytes;      /* the same tensors as float32 */
    double bits_per_weight; /* after entropy coding */
    double relative_error;  /* Σ Hessian-weighted error / Σ Hessian-weighted weight */
} pack_report;

/* Hessians of the inputs of every product, XᵀX / N, collected over calibration batches (for an expert only its tokens). */
typedef struct hessians hessians;
status hessians_create(hessians **out, const kernels *k);
void hessians_destroy(hessians *h);
status hessians_add(hessians *h, model *m, const batch *b);

/* Quantise m's values (the model is not changed) and write the artifact. h may be NULL when options->gptq is false. */
status artifact_write(const char *path, const model *m, const tokenizer *tok, hessians *h, const pack_options *options,
                      pack_report *report);
/* Checks the checksum, version and every length before use. */
status artifact_read(const char *path, const kernels *k, model **m, tokenizer **tok, int *context_tokens);
/* The same from memory; `where` names it in messages. With k NULL only the container and the codes are checked. */
status artifact_parse(const uint8_t *bytes, size_t count, const char *where, const kernels *k, model **m,
                      tokenizer **tok, int *context_tokens);
bool artifact_is(const char *path); /* the magic is there */

#endif

/* The artifact: one self-contained file with config, tokenizer and quantised, entropy-coded weights.
 * docs/formats.md has it to the byte. */
#ifndef MOEC_STORE_ARTIFACT_H
#define MOEC_STORE_ARTIFACT_H

#include "comm/comm.h"
#include "nn/budget.h"
#include "nn/model.h"
#include "quant/hessians.h"
#include "quant/options.h"
#include "quant/sensitivity.h"
#include "text/tokenizer.h"

/* What is read, from the oldest on. Written is 2, 3 where a grid has offsets or rotated columns, 4 where one has a
 * correction of low rank. */
enum { ARTIFACT_VERSION = 4, ARTIFACT_CENTRED_VERSION = 3, ARTIFACT_USUAL_VERSION = 2, ARTIFACT_OLDEST_VERSION = 1 };

struct pack_plan;

/* Each tensor at its own rate, so that all bytes together are worth most (quant/allocate.h). */
typedef struct pack_allocation {
    bool on;     /* false: the same grids everywhere, as quant says */
    double bits; /* a matrix weight, all in: codes and scales of all grids by their weights; 0: as the budget allows */
    quantizer quantizer;                /* of what no rule of the recipe names */
    const char *recipe_path;            /* pack_recipe.h; NULL: none */
    const char *candidates;             /* path of what was measured (candidate_file.h); NULL: nothing is kept */
    int64_t sample;                     /* weights of a matrix that are measured at each rate; 0: CANDIDATE_ELEMENTS */
    int low_rank;                       /* of corrections that matrices may have, at most (quant/low_rank.h); 0: none */
    bool spare;                         /* leave a bit a row, which tuning adds to the scales (train/tune.h) */
    uint64_t calibration;               /* what stands for the calibration's text in the candidates' keys */
    const sensitivities *sensitivities; /* NULL: an error counts by itself, whatever it does to the loss */
    /* Who pack together, with an equal model each: they share out the Hessians' batches (hessians_share) and the matrices that are measured;
     * rank 0 alone builds and writes, with any options, and only its report is filled. NULL: this process alone. */
    comm *ranks;
} pack_allocation;

typedef struct pack_options {
    quant_options quant;
    pack_allocation allocation;
    struct pack_plan *plan; /* pack_plan.h: exactly this; NULL: as quant and allocation say */
    int64_t budget_bytes;   /* fail when the file is larger; 0: any size */
    int context_tokens;     /* stored for the reader: the sequence length that it was trained with */
    const char *weights;    /* the same: which of a training's weights these are, "live" or "ema"; NULL: not known */
} pack_options;
pack_options pack_options_default(void);

/* Rows of grids, and those of them whose step is the least one that was asked for (quantize.h): of the others the bits decided. */
typedef struct pack_rows {
    int64_t count, at_step;
} pack_rows;
/* What has options of its own: matrices in blocks; and embeddings, hash tables, the head. */
enum { PACK_BLOCKS, PACK_TABLES, PACK_GRIDS };

/* One tensor that was packed by a plan. */
typedef struct pack_tensor {
    const param *of;
    const char *coding; /* a quantiser's name, or "float16" */
    double rate;        /* nominal, of grids */
    int rank;           /* of its correction; 0: none */
    double bytes;
    double error, weight; /* as in pack_component, rows weighted by what they do to the loss: nats a token */
} pack_tensor;

/* What became of the tensors of a component (nn/budget.h). */
typedef struct pack_component {
    int tensors;
    int64_t elements;
    int64_t bytes; /* in the file, with its share of what is packed together (scales, floats) */
    pack_rows rows[PACK_GRIDS];
    double error, weight; /* Σ tr(ΔW H ΔWᵀ) and Σ tr(W H Wᵀ) of its grids; H is the identity where no input was seen */
} pack_component;

typedef struct pack_report {
    int64_t artifact_bytes, weight_bytes, tokenizer_bytes, config_bytes;
    int64_t raw_bytes;      /* the same tensors as float32 */
    double bits_per_weight; /* after entropy coding */
    double relative_error;  /* Σ error / Σ weight over what has a Hessian (over all when there is none) */
    double entropy_bits;    /* a weight of the grids, without contexts: what the coder is measured against */
    int64_t pruned;         /* weights that were made 0 */
    double least_step;      /* that were used */
    double embed_least_step;
    pack_component components[COMPONENTS];
    /* of an allocation */
    double grid_bits;     /* a matrix weight, all in */
    double bpb_of_nat;    /* bits per byte that a nat a token is, where somebody knows */
    double loss;          /* expected increase of the loss, nats a token; 0 without sensitivities */
    double loss_a_byte;   /* what one more byte would take off it */
    pack_tensor *tensors; /* in the model's order; pack_report_free frees them */
    int tensor_count;
} pack_report;
void pack_report_free(pack_report *r);

/* Quantise m's values (the model is not changed) and write the artifact. h may be NULL when options->quant.gptq is false; tok may
 * be NULL for a file without a tokenizer. A weight that is not finite is an error that names its tensor. The report is
 * filled even when the file would be larger than the budget and is not written. */
status artifact_write(const char *path, const model *m, const tokenizer *tok, hessians *h, const pack_options *options,
                      pack_report *report);
/* That every weight is finite; else an error that names tensor, row and column. Asked before anything is calibrated. */
status artifact_check_weights(const model *m);
/* Checks the checksum, version and every length before use. m and tok may be NULL where they are not wanted. */
status artifact_read(const char *path, const kernels *k, model_use use, model **m, tokenizer **tok,
                     int *context_tokens);
/* The same with the chosen experts [E] alone (surgery/kept_experts.h): the codes of the others are passed over, not decoded. NULL:
 * all of them. */
status artifact_read_experts(const char *path, const kernels *k, model_use use, const bool *chosen, model **m,
                             tokenizer **tok, int *context_tokens);
/* The same from memory; `where` names it in messages. With k NULL only the container and the codes are checked: *m is NULL. A model
 * that is only run keeps its grids as they are stored. */
status artifact_parse(const uint8_t *bytes, size_t count, const char *where, const kernels *k, model_use use, model **m,
                      tokenizer **tok, int *context_tokens);
/* The tokenizer alone: the weights are not looked at. */
/* All but the weights, whose bytes are read for the checksum alone. context_tokens may be NULL. */
status artifact_read_outside(const char *path, model_config *config, tokenizer **tok, int *context_tokens);
status artifact_read_tokenizer(const char *path, tokenizer **tok);
bool artifact_is(const char *path); /* the magic is there */

#endif

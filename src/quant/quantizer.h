/* The quantisers of one matrix behind one call, each with the same dial.
 *
 * The dial is a nominal rate in bits a weight, fractional: what the quantiser aims at when the rows are Gaussian and an ideal entropy
 * coder follows. Each quantiser maps it to its own grid; what a matrix really costs is measured by the coder afterwards (candidates.h).
 *
 * A new quantiser is a row of the table in quantizer.c. */
#ifndef MOEC_QUANT_QUANTIZER_H
#define MOEC_QUANT_QUANTIZER_H

#include "base/status.h"
#include "tensor/quantized.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum quantizer {
    QUANTIZER_ROUND,   /* to the nearest point of the grid, each weight for itself */
    QUANTIZER_GPTQ,    /* column by column, the others make up for the error (quantize.h) */
    QUANTIZER_RATE,    /* with steps by column, and rounding that knows what codes cost (dependent.h) */
    QUANTIZER_TRELLIS, /* the same on a trellis */
    QUANTIZERS
} quantizer;

/* Rates that mean something: below, nearly all weights are 0; above, int8 has no finer grid. */
#define RATE_LEAST 0.25
#define RATE_MOST 8.0

/* A matrix W and what its errors weigh: Σ_r row_weight[r] · (w_r − q_r) H (w_r − q_r)ᵀ. Host memory; nothing is kept. */
typedef struct matrix_problem {
    const float *w;       /* [rows, cols] */
    const float *hessian; /* [cols, cols], XᵀX by any positive factor; NULL: the identity */
    int64_t rows, cols;
    const double *
        row_weight; /* [rows] ≥ 0, what the error of a row counts: the square of its output's gradient (sensitivity.h); NULL: 1 */
    const uint8_t *pruned;           /* [rows, cols], 1: exactly 0 (prune.h); NULL: none */
    double damp;                     /* of the Hessian's diagonal, relative to its mean */
    const struct ldl_factor *factor; /* what quantizer_factor made of both; NULL: made each time */
    int64_t group; /* columns that share a scale: divides cols; 0: all. Of QUANTIZER_ROUND and QUANTIZER_GPTQ */
    bool
        asymmetric; /* a group's grid is centred on its mean, in quarters of a step. Of the same two; nothing is pruned then */
    uint32_t
        rotation; /* of the columns, before anything else (tensor/rotation.h), by this seed; 0: none. Nothing is pruned then */
    int rank;      /* of a correction of what is left (low_rank.h); 0: none. Nothing is pruned then */
    int rank_bits; /* of its factors, 2 … 8; 0: LOW_RANK_BITS */
} matrix_problem;

/* Quantises at `rate` (RATE_LEAST … RATE_MOST); out is to be freed with quantized_free. Weights that are not finite, and a Hessian that
 * is none, are refused; callers add the tensor's name. A quantiser that reads a Hessian takes the identity where there is none. */
status quantize_matrix(quantizer q, quantized *out, const matrix_problem *p, double rate);
/* For who quantises a matrix at many rates: what of the Hessian is the same each time, to be freed with ldl_factor_free; *made is false
 * where q has no use for it. It belongs into p->factor. */
status quantizer_factor(quantizer q, struct ldl_factor *out, const matrix_problem *p, bool *made);
/* Σ_r row_weight[r] · (w_r − q_r) H (w_r − q_r)ᵀ; quantised NULL: of W itself. */
double matrix_error(const matrix_problem *p, const quantized *quantised);

/* Whether it has grids for groups of columns, and asymmetric ones. */
bool quantizer_has_groups(quantizer q);
const char *quantizer_name(quantizer q);
/* false: there is none of this name */
bool quantizer_find(const char *name, quantizer *q);
const char *quantizer_list(void); /* "round, gptq", for messages */

#endif

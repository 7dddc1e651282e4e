/* A correction of low rank: W ≈ Q + A B, where Q is what a quantiser made of W and A B the best that r columns and rows
 * can do about what it left (LQER: Zhang, Cheng, Constantinides and Zhao 2024, arXiv:2402.02446, with the inputs' whole
 * second moments instead of their diagonal).
 *
 * With H + damp = L Lᵀ and D the rows' weights an error E = W − Q costs |D^½ E L|², so of M = D^½ E L ≈ U S Vᵀ, cut to
 * its r largest singular values (Eckart and Young 1936),
 *     A = D^−½ U S^½,   B = S^½ Vᵀ L⁻¹
 * Column k of A and row k of B are stretched until their numbers are of one size, and rounded together on one grid: a
 * number of either then errs by as much, and one scale does. The singular vectors come from iterating a subspace that is
 * a little larger (Halko, Martinsson and Tropp 2011).
 *
 * GPTQ leaves an M that is nearly white, of which no few singular values are much; rounding leaves one whose spectrum is
 * that of the inputs. docs/quantisation.md says where it pays. */
#ifndef MOEC_QUANT_LOW_RANK_H
#define MOEC_QUANT_LOW_RANK_H

#include "quant/quantizer.h"

enum { LOW_RANK_BITS = 8 /* of the factors, where nobody says otherwise */ };

typedef struct low_rank {
    int rank;
    int64_t rows, cols;
    float *factors; /* [rank, rows + cols]: column k of A, row k of B, of one size; by falling share of the error */
} low_rank;

/* Up to QUANTIZED_MOST_RANK, with factors that have no more numbers than the matrix. */
int low_rank_most(int64_t rows, int64_t cols);
/* Of what q, without a correction, leaves of p's matrix; up to `rank`, at most low_rank_most. */
status low_rank_find(low_rank *out, const matrix_problem *p, const quantized *q, int rank);
void low_rank_free(low_rank *l);
/* The first `rank` of them, on grids of `bits`, become q's correction in the place of the one that it has. */
status low_rank_attach(quantized *q, const low_rank *l, int rank, int bits);
/* All of that as p asks (rank, rank_bits). On failure q is freed. */
status low_rank_correct(quantized *q, const matrix_problem *p);

#endif

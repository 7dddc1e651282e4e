/* A randomised Hadamard transform of the columns of a matrix, block by block: w → w D H / √b, with signs D from a seed and H the Hadamard
 * matrix of b columns, b the largest power of two that divides their number, at most ROTATION_MOST. What was an outlier in one column is then
 * a little in all of a block (incoherence processing: Chee, Cai, Kuleshov and De Sa 2023, QuIP; Tseng et al. 2024, QuIP#, whose
 * transforms are these; Ashkboos et al. 2024, QuaRot). The sign of column c is the highest bit of splitmix64's output for seed + c: files hold
 * nothing but the seed, so it is the same for good. */
#ifndef MOEC_TENSOR_ROTATION_H
#define MOEC_TENSOR_ROTATION_H

#include <stdint.h>

enum { ROTATION_MOST = 4096 };

int64_t rotation_block(int64_t cols); /* b; 1: only signs change */
/* One row, in place, and back. */
void rotate_row(float *row, int64_t cols, uint32_t seed);
void rotate_row_back(float *row, int64_t cols, uint32_t seed);
/* H of the inputs to that of the inputs as the rotated matrix would read them: Rᵀ H R; [cols, cols], symmetric, in place. */
void rotate_hessian(float *hessian, int64_t cols, uint32_t seed);

#endif

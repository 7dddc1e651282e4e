/* The factorisation that a Hessian needs, blocked so that nearly all of it is products of small matrices. LAPACK has it too;
 * but Debian's OpenBLAS runs on kernels of 2004 wherever it does not know the CPU (0.3.21 on a Sapphire Rapids of model 207). */
#ifndef MOEC_QUANT_CHOLESKY_H
#define MOEC_QUANT_CHOLESKY_H

#include <stdbool.h>
#include <stdint.h>

/* a [n, n], of which the lower triangle is read, becomes L with a = L Lᵀ; what is above the diagonal is of no use afterwards. Sums of products
 * are float32's: a pivot is off by about √n · 10⁻⁷ of what stood on the diagonal. false: not positive definite, and all of a is of no use any more. */
bool cholesky_lower(float *a, int64_t n);

#endif

/* The two factorisations that a Hessian needs, in double, blocked so that nearly all of it is products of small matrices. LAPACK has them too;
 * but Debian's OpenBLAS runs on kernels of 2004 wherever it does not know the CPU (0.3.21 on a Sapphire Rapids of model 207: a fifth of
 * these loops' speed), and GPTQ of wide matrices is mostly this. */
#ifndef MOEC_QUANT_TRIANGULAR_H
#define MOEC_QUANT_TRIANGULAR_H

#include <stdbool.h>
#include <stdint.h>

/* a [n, n], of which the lower triangle is read, becomes L with a = L Lᵀ; what is above the diagonal is of no use afterwards. false: not positive
 * definite, and all of a is of no use any more. */
bool cholesky_lower(double *a, int64_t n);
/* L, lower triangular with a diagonal that is not 0, becomes its inverse; what is above is not looked at. */
void invert_lower(double *l, int64_t n);

#endif

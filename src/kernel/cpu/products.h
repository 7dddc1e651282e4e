/* The products of dense weights, for kernels in isa/ that put their own beside them. */
#ifndef MOEC_KERNEL_CPU_PRODUCTS_H
#define MOEC_KERNEL_CPU_PRODUCTS_H

#include "kernel/kernel.h"

/* kernels.linear for a weight that is not quantised */
void dense_linear(void *y, dtype y_type, const void *x, const weight *w, int64_t N);
/* kernels.grouped_linear for weights that are not quantised */
void dense_grouped_linear(void *y, const void *x, const weight *const *w, const int32_t *start, int64_t E,
                          int64_t most_rows);

#endif

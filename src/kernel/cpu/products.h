/* The matrix product, for kernels in isa/ that need one (Muon). */
#ifndef MOEC_KERNEL_CPU_PRODUCTS_H
#define MOEC_KERNEL_CPU_PRODUCTS_H

#include "kernel/kernel.h"

void cpu_matmul(const matmul_args *args);

#endif

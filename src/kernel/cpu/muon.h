/* Muon of one variant (isa/muon.c). */
#ifndef MOEC_KERNEL_CPU_MUON_H
#define MOEC_KERNEL_CPU_MUON_H

#include "kernel/cpu/variant.h"

/* As kernels.muon. */
void KERNEL(muon)(float *w, void *buffer, const float *grad, const float *clip, int64_t rows, int64_t cols,
                  const muon_args *args);

#endif

/* The parts of fill_stream, one a file. */
#ifndef MOEC_KERNEL_CPU_ISA_STREAM_H
#define MOEC_KERNEL_CPU_ISA_STREAM_H

#include "kernel/cpu/variant.h"

void KERNEL(fill_embed)(kernels *table);
void KERNEL(fill_rms_norm)(kernels *table);
void KERNEL(fill_blend)(kernels *table);
void KERNEL(fill_smear)(kernels *table);
void KERNEL(fill_activate)(kernels *table);
void KERNEL(fill_bias)(kernels *table);

#endif

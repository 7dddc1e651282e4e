/* The parts of fill_routing, one a file. */
#ifndef MOEC_KERNEL_CPU_ISA_ROUTING_H
#define MOEC_KERNEL_CPU_ISA_ROUTING_H

#include "kernel/cpu/variant.h"

void KERNEL(fill_router)(kernels *table);
void KERNEL(fill_dispatch)(kernels *table);
void KERNEL(fill_label)(kernels *table);
void KERNEL(fill_gain)(kernels *table);
void KERNEL(fill_sigmoid_gate)(kernels *table);

#endif

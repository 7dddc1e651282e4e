/* cos and sin of every position, as rotary embedding wants them. */
#ifndef MOEC_KERNEL_CPU_ISA_ROPE_TABLE_H
#define MOEC_KERNEL_CPU_ISA_ROPE_TABLE_H

#include "kernel/cpu/variant.h"

/* values[position][2][half]: cos, then sin, of position · base^(−2i / (2·half)), for positions below `positions` at least.
 * Tables are kept between calls and grow; the pointer is valid until the next call. To be called from one thread. */
const float *KERNEL(rope_table)(int64_t positions, int64_t half, float base);

#endif

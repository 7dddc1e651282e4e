/* What happens to the residual stream between matrix products: everything here runs at the speed of memory. */
#include "kernel/cpu/isa/stream.h"

void KERNEL(fill_stream)(kernels *table) {
    KERNEL(fill_embed)(table);
    KERNEL(fill_rms_norm)(table);
    KERNEL(fill_blend)(table);
    KERNEL(fill_smear)(table);
    KERNEL(fill_activate)(table);
    KERNEL(fill_bias)(table);
}

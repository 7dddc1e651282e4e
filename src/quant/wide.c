#include "quant/wide.h"

#include "kernel/kernel.h"
#include <string.h>

const wide_loops *wide_loops_taken(void) {
    const char *isa = kernels_isa();
    const bool wide = strncmp(isa, "avx512", 6) == 0 || strcmp(isa, "amx") == 0;
    return wide ? &wide_loops_avx512 : &wide_loops_avx2;
}

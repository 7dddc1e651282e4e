#include "quant/wide/vectors.h"

const wide_loops KERNEL(wide_loops) = {.subtract_product = KERNEL(subtract_product),
                                       .make_up = KERNEL(make_up),
                                       .round_block = KERNEL(round_block),
                                       .rounding_error = KERNEL(rounding_error)};

#include "quant/wide/vectors.h"

const wide_loops KERNEL(wide_loops) = {.subtract_product = KERNEL(subtract_product),
                                       .round_block = KERNEL(round_block),
                                       .side_by_side = KERNEL(side_by_side),
                                       .row_by_row = KERNEL(row_by_row),
                                       .rounding_error = KERNEL(rounding_error)};

/* One tile of a packed weight times some rows of an input. */
#ifndef MOEC_KERNEL_CPU_INTEGER_TILE_H
#define MOEC_KERNEL_CPU_INTEGER_TILE_H

#include "kernel/cpu/integer/input.h"

/* y[n, TILE tile …] of y's rows of w->rows elements, for the rows n = first … first + count − 1 of x, which lie
 * in one chunk. y begins at row 0. */
void KERNEL(tile_rows)(const packed_weight *w, int64_t tile, const packed_input *x, int64_t first, int64_t count,
                       void *y, dtype type);

#endif

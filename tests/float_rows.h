/* Whether a row of a product of floats has the same sum by itself as beside others. With AVX2 alone it has not: oneDNN takes other kernels for
 * other counts of rows. Products of codes do not depend on them anywhere. */
#ifndef MOEC_TESTS_FLOAT_ROWS_H
#define MOEC_TESTS_FLOAT_ROWS_H

#include "kernel/kernel.h"
#include <string.h>

static inline bool float_rows_are_equal(void) {
    return strcmp(kernels_isa(), "avx2") != 0;
}

#endif

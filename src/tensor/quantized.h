/* A matrix on a grid: w = q · scale, with integers |q| ≤ levels and a scale for each row or each group of a row's columns; where
 * columns have their own steps (quant/trellis.h), times a scale for each column, so that y = (q · scale) (input_scale ⊙ x).
 * Host memory, or device memory where a weight has it (kernel/kernel.h). */
#ifndef MOEC_TENSOR_QUANTIZED_H
#define MOEC_TENSOR_QUANTIZED_H

#include <stddef.h>
#include <stdint.h>

typedef struct quantized {
    int64_t rows, cols;
    int64_t group;      /* columns that share a scale: cols for one a row; divides cols */
    int levels;         /* 31 for int6 */
    int8_t *q;          /* [rows, cols] */
    float *scale;       /* [rows, cols / group]; 0 where all of the group is 0 */
    float *input_scale; /* [cols], > 0; NULL: 1 */
} quantized;

static inline int64_t quantized_groups(const quantized *q) {
    return q->cols / q->group;
}
void quantized_free(quantized *q);                     /* of host memory */
void quantized_expand(const quantized *q, float *out); /* out[rows, cols] = q · scale */
void quantized_expand_row(const quantized *q, int64_t row, float *out);

#endif

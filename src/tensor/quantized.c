#include "tensor/quantized.h"

#include <stdlib.h>

void quantized_free(quantized *q) {
    free(q->q);
    free(q->scale);
    free(q->input_scale);
    *q = (quantized){0};
}

void quantized_expand_row(const quantized *q, int64_t row, float *out) {
    const int8_t *codes = q->q + row * q->cols;
    const float *scale = q->scale + row * quantized_groups(q);
    for (int64_t c = 0; c < q->cols; c++) out[c] = (float)codes[c] * scale[c / q->group];
    for (int64_t c = 0; c < q->cols && q->input_scale; c++) out[c] *= q->input_scale[c];
}

void quantized_expand(const quantized *q, float *out) {
    for (int64_t r = 0; r < q->rows; r++) quantized_expand_row(q, r, out + r * q->cols);
}

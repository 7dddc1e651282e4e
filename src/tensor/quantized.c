#include "tensor/quantized.h"

#include "base/memory.h"
#include "tensor/rotation.h"
#include <stdlib.h>

quantized quantized_alloc(int64_t rows, int64_t cols, int64_t group, bool has_offset) {
    quantized q = {.rows = rows, .cols = cols, .group = group, .levels = 127};
    const size_t scales = (size_t)(rows * quantized_groups(&q)) * sizeof(float);
    q.q = xmalloc((size_t)(rows * cols));
    q.scale = xmalloc(scales);
    q.offset = has_offset ? xmalloc(scales) : NULL;
    return q;
}

void quantized_free(quantized *q) {
    free(q->q);
    free(q->scale);
    free(q->offset);
    free(q->input_scale);
    *q = (quantized){0};
}

void quantized_expand_row(const quantized *q, int64_t row, float *out) {
    const int8_t *codes = q->q + row * q->cols;
    const float *scale = q->scale + row * quantized_groups(q);
    const float *offset = q->offset ? q->offset + row * quantized_groups(q) : NULL;
    for (int64_t c = 0; c < q->cols; c++)
        out[c] = (float)codes[c] * scale[c / q->group] + (offset ? offset[c / q->group] : 0);
    for (int64_t c = 0; c < q->cols && q->input_scale; c++) out[c] *= q->input_scale[c];
    if (q->rotation) rotate_row_back(out, q->cols, q->rotation);
}

void quantized_expand(const quantized *q, float *out) {
    for (int64_t r = 0; r < q->rows; r++) quantized_expand_row(q, r, out + r * q->cols);
}

bool quantized_is_nibbles(const quantized *q, int *least) {
    int8_t low = 0, high = 0;
    for (int64_t i = 0; i < q->rows * q->cols; i++) {
        low = q->q[i] < low ? q->q[i] : low;
        high = q->q[i] > high ? q->q[i] : high;
    }
    *least = low < 0 ? -8 : 0;
    return low >= *least && high <= *least + 15;
}

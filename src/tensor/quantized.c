#include "tensor/quantized.h"

#include "base/memory.h"
#include "tensor/rotation.h"
#include <stdlib.h>
#include <string.h>

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
    if (q->correction) quantized_free(q->correction);
    free(q->correction);
    *q = (quantized){0};
}

static void *copy_of(const void *from, size_t bytes) {
    return from ? memcpy(xmalloc(bytes), from, bytes) : NULL;
}

quantized quantized_copy(const quantized *q) {
    const size_t scales = (size_t)(q->rows * quantized_groups(q)) * sizeof(float);
    quantized copy = *q;
    copy.q = copy_of(q->q, (size_t)(q->rows * q->cols));
    copy.scale = copy_of(q->scale, scales);
    copy.offset = copy_of(q->offset, scales);
    copy.input_scale = copy_of(q->input_scale, (size_t)q->cols * sizeof(float));
    if (!q->correction) return copy;
    copy.correction = xmalloc(sizeof *copy.correction);
    *copy.correction = quantized_copy(q->correction);
    return copy;
}

/* out += row `row` of A B; one order of sums for all, so that a file is the same matrix wherever it is read. */
static void add_correction(const quantized *q, int64_t row, float *out) {
    const quantized *f = q->correction;
    for (int64_t k = 0; k < f->rows; k++) {
        const int8_t *codes = f->q + k * f->cols, *b = codes + q->rows;
        const float a = (float)codes[row] * f->scale[k] * f->scale[k];
        if (a == 0) continue;
        for (int64_t c = 0; c < q->cols; c++) out[c] += a * (float)b[c];
    }
}

void quantized_expand_row(const quantized *q, int64_t row, float *out) {
    const int8_t *codes = q->q + row * q->cols;
    const float *scale = q->scale + row * quantized_groups(q);
    const float *offset = q->offset ? q->offset + row * quantized_groups(q) : NULL;
    for (int64_t c = 0; c < q->cols; c++)
        out[c] = (float)codes[c] * scale[c / q->group] + (offset ? offset[c / q->group] : 0);
    for (int64_t c = 0; c < q->cols && q->input_scale; c++) out[c] *= q->input_scale[c];
    if (q->rotation) rotate_row_back(out, q->cols, q->rotation);
    if (q->correction) add_correction(q, row, out);
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

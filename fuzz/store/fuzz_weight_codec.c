/* Any bytes as the codes and the scales of matrices, with and without a trellis, groups, scales of columns and a twin: what comes out
 * is within its levels, what is refused says why, and what came out is coded again to the same. */
#include "quant/quantize.h"
#include "store/scale_codec.h"
#include "store/weight_codec.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

enum { HEADER = 6, MOST_SIDE = 40 };

static float power_of_two(int exponent) {
    const uint32_t bits = (uint32_t)(127 + exponent) << 23;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A matrix by what the first bytes say; its scales are powers of two, some rows 0. */
static quantized shaped(const uint8_t *by, int seed) {
    quantized q = {.rows = 1 + by[0] % MOST_SIDE, .cols = 1 + by[1] % MOST_SIDE, .levels = (1 << (1 + by[2] % 7)) - 1};
    q.group = by[3] & 1 ? 1 : q.cols;
    q.q = calloc((size_t)(q.rows * q.cols), 1);
    q.scale = calloc((size_t)(q.rows * (q.cols / q.group)), sizeof(float));
    for (int64_t i = 0; i < q.rows * (q.cols / q.group); i++)
        q.scale[i] = (i + seed) % 5 ? power_of_two((int)((i * 7 + seed) % 60) - 30) : 0;
    if (by[3] & 2) q.input_scale = malloc((size_t)q.cols * sizeof(float));
    for (int64_t c = 0; c < q.cols && q.input_scale; c++) q.input_scale[c] = power_of_two((int)(c * 5 % 40) - 20);
    return q;
}

static void again(const quantized *q, const quantized *twin) {
    uint8_t *bytes;
    size_t count;
    if (weights_encode(q, twin, &bytes, &count) != STATUS_OK) abort();
    quantized back = *q;
    back.q = malloc((size_t)(q->rows * q->cols));
    if (weights_decode(&back, twin, bytes, count) != STATUS_OK) abort();
    if (memcmp(back.q, q->q, (size_t)(q->rows * q->cols)) != 0) abort();
    free(back.q), free(bytes);
}

static void as_weights(const uint8_t *bytes, size_t count) {
    const int states = 2 << bytes[4] % 8;
    quantized q = shaped(bytes, 1), twin = shaped(bytes, bytes[5]);
    for (int64_t i = 0; i < twin.rows * twin.cols; i++)
        twin.q[i] = (int8_t)((i * 37 + bytes[5]) % (2 * twin.levels + 1) - twin.levels);
    q.trellis = trellis_of(states) ? states : 0;
    const quantized *given = bytes[3] & 4 ? &twin : NULL;
    if (weights_decode(&q, given, bytes + HEADER, count - HEADER) == STATUS_OK) {
        for (int64_t i = 0; i < q.rows * q.cols; i++)
            if (q.q[i] < -q.levels || q.q[i] > q.levels) abort();
        again(&q, given);
    } else if (!*error_message()) {
        abort();
    }
    free(q.q), free(q.scale), free(q.input_scale);
    free(twin.q), free(twin.scale), free(twin.input_scale);
}

static void as_scales(const uint8_t *bytes, size_t count) {
    uint16_t scales[4 * MOST_SIDE], back[4 * MOST_SIDE];
    const size_t rows = 1 + bytes[0] % MOST_SIDE, cols = 1 + bytes[1] % MOST_SIDE;
    const scale_run runs[] = {{0, rows, SCALES_OF_ROWS, false, 0},
                              {rows, cols, SCALES_OF_COLUMNS, false, 0},
                              {rows + cols, rows, SCALES_OF_ROWS, true, 0},
                              {2 * rows + cols, cols, SCALES_OF_COLUMNS, true, rows}};
    if (scales_decode(scales, runs, 4, bytes + HEADER, count - HEADER) != STATUS_OK) return;
    uint8_t *coded;
    size_t coded_count;
    scales_encode(scales, runs, 4, &coded, &coded_count);
    if (scales_decode(back, runs, 4, coded, coded_count) != STATUS_OK) abort();
    if (memcmp(back, scales, 2 * (rows + cols) * sizeof *scales) != 0) abort();
    free(coded);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    if (count < HEADER) return 0;
    as_weights(bytes, count);
    as_scales(bytes, count);
    return 0;
}

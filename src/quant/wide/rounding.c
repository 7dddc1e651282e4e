/* Weights to the nearest codes of a grid: a block with GPTQ's feedback, and what a row's error is. */
#include "quant/quantize.h"
#include "quant/wide/vectors.h"

/* One column's rounding waits for the one before, and a vector of rows waits no longer than a row. */
ALWAYS_INLINE void round_column(panel_block *b, int64_t j, float inverse_u, float levels) {
    const float *w = b->w[j];
    float *q = b->q[j], *e = b->e[j];
    for (int r = 0; r < PANEL; r++) {
        const float scale = b->scale[j][r], offset = b->offset[j][r], inverse = scale > 0 ? 1 / scale : 0;
        q[r] = b->keep[j][r] * grid_nearest(w[r] - offset, inverse, levels);
        e[r] = (w[r] - (q[r] * scale + offset)) * inverse_u;
        b->error[r] += e[r] * e[r];
    }
}

void KERNEL(round_block)(panel_block *b, const float *u, int64_t n, int64_t width, float levels) {
    for (int64_t j = 0; j < width; j++, u += n) {
        round_column(b, j, 1 / u[j], levels);
        for (int part = 0; part < PANEL; part += FLOATS) {
            const floats error = *(const floats *)(b->e[j] + part);
            for (int64_t k = j + 1; k < width; k++) *(floats *)(b->w[k] + part) -= error * u[k];
        }
    }
}

/* In partial sums, so that it vectorises. */
double KERNEL(rounding_error)(const float *w, const float *importance, int64_t cols, float scale, float levels) {
    const float inverse = 1.0f / scale;
    float sum[16] = {0};
    int64_t c = 0;
    for (; c + 16 <= cols; c += 16)
        for (int i = 0; i < 16; i++) {
            float e = w[c + i] - grid_nearest(w[c + i], inverse, levels) * scale;
            sum[i] += importance ? importance[c + i] * e * e : e * e;
        }
    double total = 0;
    for (; c < cols; c++) {
        float e = w[c] - grid_nearest(w[c], inverse, levels) * scale;
        total += importance ? importance[c] * e * e : e * e;
    }
    for (int i = 0; i < 16; i++) total += sum[i];
    return total;
}

/* Weights to the nearest codes of a grid: a block with GPTQ's feedback, and what a row's error is. */
#include "quant/quantize.h"
#include "quant/wide/vectors.h"

enum {
    NEAR = 8, /* columns that hear of each other at once; the block's others hear of all of them together, */
    TOGETHER = 12 * FLOATS / PANEL /* so many at a time: of 16 registers */
};

/* One column's rounding waits for the one before, and a vector of rows waits no longer than a row. */
ALWAYS_INLINE void round_column(panel_block *b, const panel_grids *grids, int64_t j, float root, float levels) {
    const float *w = b->w[j], *origin = b->origin[j], *keep = b->keep[j];
    const float *scale = grids->scale + grids->group[j] * PANEL, *offset = grids->offset + grids->group[j] * PANEL,
                *inverse = grids->inverse + grids->group[j] * PANEL;
    float *e = b->e[j];
    for (int r = 0; r < PANEL; r++) {
        const float value = keep[r] * grid_nearest(w[r] - offset[r], inverse[r], levels) * scale[r] + offset[r];
        const float left = (w[r] - value) * root;
        e[r] = value - origin[r];
        b->error[r] += left * left;
    }
}

/* `count` columns from k on hear of the columns first … last − 1; a known number of them stays in registers meanwhile. */
ALWAYS_INLINE void hear(panel_block *b, const float *f, int64_t n, int64_t k, int64_t first, int64_t last,
                        const int count) {
    enum { PARTS = PANEL / FLOATS };
    floats w[TOGETHER][PARTS];
    for (int i = 0; i < count; i++)
        for (int part = 0; part < PARTS; part++) w[i][part] = *(const floats *)(b->w[k + i] + part * FLOATS);
    for (int64_t j = first; j < last; j++)
        for (int part = 0; part < PARTS; part++) {
            const floats e = *(const floats *)(b->e[j] + part * FLOATS);
            for (int i = 0; i < count; i++) w[i][part] -= e * f[j * n + k + i];
        }
    for (int i = 0; i < count; i++)
        for (int part = 0; part < PARTS; part++) *(floats *)(b->w[k + i] + part * FLOATS) = w[i][part];
}

void KERNEL(round_block)(panel_block *b, const panel_grids *grids, const float *f, const float *root, int64_t n,
                         int64_t width, float levels) {
    for (int64_t first = 0; first < width; first += NEAR) {
        const int64_t last = first + NEAR < width ? first + NEAR : width;
        for (int64_t j = first; j < last; j++) {
            round_column(b, grids, j, root[j], levels);
            for (int64_t k = j + 1; k < last; k++) hear(b, f, n, k, j, j + 1, 1);
        }
        int64_t k = last;
        for (; k + TOGETHER <= width; k += TOGETHER) hear(b, f, n, k, first, last, TOGETHER);
        for (; k < width; k++) hear(b, f, n, k, first, last, 1);
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

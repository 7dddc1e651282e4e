#include "tensor/rotation.h"

#include <math.h>

int64_t rotation_block(int64_t cols) {
    int64_t block = 1;
    while (block < ROTATION_MOST && cols % (2 * block) == 0) block *= 2;
    return block;
}

static float sign_of(uint32_t seed, int64_t column) {
    uint64_t z = ((uint64_t)seed + (uint64_t)column + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) >> 63 ? -1.0f : 1.0f;
}

static void change_signs(float *row, int64_t cols, uint32_t seed) {
    for (int64_t c = 0; c < cols; c++) row[c] *= sign_of(seed, c);
}

/* The fast transform, which is its own inverse with the factor 1/√b. */
static void transform(float *row, int64_t block) {
    const float factor = (float)(1 / sqrt((double)block));
    for (int64_t half = 1; half < block; half *= 2)
        for (int64_t first = 0; first < block; first += 2 * half)
            for (int64_t i = first; i < first + half; i++) {
                const float a = row[i], b = row[i + half];
                row[i] = a + b;
                row[i + half] = a - b;
            }
    for (int64_t i = 0; i < block; i++) row[i] *= factor;
}

static void transform_all(float *row, int64_t cols) {
    const int64_t block = rotation_block(cols);
    for (int64_t first = 0; first < cols; first += block) transform(row + first, block);
}

void rotate_row(float *row, int64_t cols, uint32_t seed) {
    change_signs(row, cols, seed);
    transform_all(row, cols);
}

void rotate_row_back(float *row, int64_t cols, uint32_t seed) {
    transform_all(row, cols);
    change_signs(row, cols, seed);
}

void rotate_hessian(float *hessian, int64_t cols, uint32_t seed) {
    for (int side = 0; side < 2; side++) {
        for (int64_t r = 0; r < cols; r++) rotate_row(hessian + r * cols, cols, seed);
        for (int64_t r = 0; r < cols; r++)
            for (int64_t c = 0; c < r; c++) {
                const float above = hessian[c * cols + r];
                hessian[c * cols + r] = hessian[r * cols + c];
                hessian[r * cols + c] = above;
            }
    }
}

/* Biases of products. */
#include "kernel/cpu/isa/lanes.h"
#include "kernel/cpu/isa/rows.h"
#include "kernel/cpu/isa/stream.h"

static void bias_add(void *y, const float *bias, int64_t N, int64_t cols) {
#pragma omp parallel for schedule(static) if (N * cols > PARALLEL_ELEMENTS)
    for (int64_t n = 0; n < N; n++) {
        act *out = (act *)y + n * cols;
        for (int64_t c = 0; c < cols; c += LANES)
            act_put(out + c, act_get(out + c, cols - c) + lanes_get(bias + c, cols - c), cols - c);
    }
}

static void bias_add_backward(float *dbias, const void *dy, int64_t N, int64_t cols) {
    for (int64_t from = 0; from < cols; from += ROW_BLOCK) {
        int64_t count = least(cols - from, ROW_BLOCK);
#pragma omp parallel if (N * count > PARALLEL_ELEMENTS)
        {
            float sums[ROW_BLOCK] = {0};
            int thread = omp_get_thread_num();
            int64_t end = chunk_start(N, thread + 1);
            for (int64_t n = chunk_start(N, thread); n < end; n++) {
                const act *given = (const act *)dy + n * cols + from;
                for (int64_t c = 0; c < count; c += LANES)
                    lanes_put(sums + c, lanes_get(sums + c, count - c) + act_get(given + c, count - c), count - c);
            }
            add_partials(dbias + from, sums, count);
        }
    }
}

static void add_column_squares(float *sums, const void *y, int64_t N, int64_t cols) {
    for (int64_t from = 0; from < cols; from += ROW_BLOCK) {
        int64_t count = least(cols - from, ROW_BLOCK);
#pragma omp parallel if (N * count > PARALLEL_ELEMENTS)
        {
            float own[ROW_BLOCK] = {0};
            int thread = omp_get_thread_num();
            int64_t end = chunk_start(N, thread + 1);
            for (int64_t n = chunk_start(N, thread); n < end; n++) {
                const act *row = (const act *)y + n * cols + from;
                for (int64_t c = 0; c < count; c += LANES) {
                    const lanes value = act_get(row + c, count - c);
                    lanes_put(own + c, lanes_multiply_add(value, value, lanes_get(own + c, count - c)), count - c);
                }
            }
            add_partials(sums + from, own, count);
        }
    }
}

void KERNEL(fill_bias)(kernels *table) {
    table->bias_add = bias_add;
    table->bias_add_backward = bias_add_backward;
    table->add_column_squares = add_column_squares;
}

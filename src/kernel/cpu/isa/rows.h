/* How row kernels share their work between threads.
 *
 * A thread owns a contiguous chunk of rows. A sum over all rows (a parameter's gradient) is formed as one partial sum a
 * thread, on its stack, which are added in the order of the threads: the same bits in every run. Channels are taken in
 * blocks of ROW_BLOCK, so that partial sums and coefficients have a fixed size and no kernel here needs memory that it
 * might not get. */
#ifndef MOEC_KERNEL_CPU_ISA_ROWS_H
#define MOEC_KERNEL_CPU_ISA_ROWS_H

#include "kernel/cpu/variant.h"
#include <omp.h>

enum { ROW_BLOCK = 1024 };          /* channels */
enum { PARALLEL_ELEMENTS = 16384 }; /* fewer are done sooner than other threads wake up */

static inline int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* In a parallel region: where this thread's chunk of `count` things begins; it ends where the next thread's begins. */
static inline int64_t chunk_start(int64_t count, int thread) {
    return count * thread / omp_get_num_threads();
}

/* In a parallel region, called by every thread: total[count] += Σ over the threads, in their order, of partial[count].
 * total is complete when the region ends. */
static inline void add_partials(float *total, const float *partial, int64_t count) {
#pragma omp for ordered schedule(static, 1) nowait
    for (int thread = 0; thread < omp_get_num_threads(); thread++) {
#pragma omp ordered
        for (int64_t c = 0; c < count; c++) total[c] += partial[c];
    }
}

static inline grad_out grad_from(grad_out gradient, int64_t at) {
    return (grad_out){gradient.data ? (act *)gradient.data + at : NULL, gradient.add};
}

#endif

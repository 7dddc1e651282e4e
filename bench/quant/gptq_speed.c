/* Times quantize_gptq on matrices that gptq_compare.py wrote: gptq_speed FOLDER ROWS COLS BITS prints seconds, of the clock and of the process on all
 * its CPUs, and the error that is left, tr((W - Q) H (W - Q)^T) / tr(W H W^T). Reading is not counted, nor is a first go at some rows. */
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "quant/quantize.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WARM_ROWS = 32 };

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *read_floats(const char *folder, const char *name, size_t count) {
    char *path = path_join(folder, name);
    FILE *file = fopen(path, "rb");
    float *values = xmalloc(count * sizeof *values);
    if (!file || fread(values, sizeof *values, count, file) != count) {
        fprintf(stderr, "%s: expected %zu floats\n", path, count);
        exit(1);
    }
    fclose(file);
    free(path);
    return values;
}

int main(int count, char **arguments) {
    if (count != 5) return fprintf(stderr, "usage: gptq_speed FOLDER ROWS COLS BITS\n"), 2;
    const int64_t rows = atoll(arguments[2]), cols = atoll(arguments[3]);
    float *w = read_floats(arguments[1], "w", (size_t)(rows * cols));
    float *hessian = read_floats(arguments[1], "h", (size_t)(cols * cols));
    const grid_options grid = {.bits = atoi(arguments[4])};
    quantized q;
    if (quantize_gptq(&q, w, hessian, rows < WARM_ROWS ? rows : WARM_ROWS, cols, &grid, 0.01) == STATUS_OK)
        quantized_free(&q);
    const double start = clock_seconds(), cpu_start = cpu_seconds();
    if (quantize_gptq(&q, w, hessian, rows, cols, &grid, 0.01) != STATUS_OK)
        return fprintf(stderr, "%s\n", error_message()), 1;
    const double seconds = clock_seconds() - start, cpu = cpu_seconds() - cpu_start;
    float *values = xmalloc((size_t)(rows * cols) * sizeof *values);
    quantized_expand(&q, values);
    printf("%.6f %.6f %.9g\n", seconds, cpu,
           hessian_error(w, values, hessian, rows, cols) / hessian_error(w, NULL, hessian, rows, cols));
    quantized_free(&q);
    free(values), free(w), free(hessian);
    return 0;
}

#include "train/shares.h"
#include "base/memory.h"
#include <stdlib.h>

typedef struct job {
    int index;
    double cost;
} job;

static int costliest_first(const void *a, const void *b) {
    const job *x = a, *y = b;
    return x->cost != y->cost ? (x->cost < y->cost) - (x->cost > y->cost) : x->index - y->index;
}

static int least_loaded(const double *load, int ranks) {
    int least = 0;
    for (int r = 1; r < ranks; r++)
        if (load[r] < load[least]) least = r;
    return least;
}

/* Multiply-adds of an iteration of Newton-Schulz on [r, c], r ≤ c: X Xᵀ and its product with X, r² c each, and the square, r³. */
static double iteration_cost(const param *p) {
    const double rows = (double)tensor_rows(&p->value), cols = (double)tensor_cols(&p->value);
    const double short_side = rows < cols ? rows : cols, long_side = rows < cols ? cols : rows;
    return short_side * short_side * (2 * long_side + short_side);
}

void shares_assign(const optimizer_config *c, const model *m, int ranks, int *owner) {
    job *jobs = xcalloc((size_t)m->param_count + 1, sizeof *jobs);
    double *load = xcalloc((size_t)ranks, sizeof *load), *bytes = xcalloc((size_t)ranks, sizeof *bytes);
    for (int arrays = 1; arrays <= 2; arrays++) {
        int count = 0;
        double *loads = arrays == 1 ? load : bytes;
        for (int i = 0; i < m->param_count; i++) {
            const param *p = m->params[i];
            if (arrays == 1) owner[i] = 0;
            if (optimizer_arrays(c, optimizer_group(p)) != arrays) continue;
            jobs[count++] = (job){i, arrays == 1 ? iteration_cost(p) : (double)(arrays * param_count(p))};
        }
        qsort(jobs, (size_t)count, sizeof *jobs, costliest_first);
        for (int i = 0; i < count; i++) {
            const int rank = least_loaded(loads, ranks);
            owner[jobs[i].index] = rank;
            loads[rank] += jobs[i].cost;
            if (arrays == 1) bytes[rank] += (double)param_count(m->params[jobs[i].index]);
        }
    }
    free(jobs);
    free(load);
    free(bytes);
}

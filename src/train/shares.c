#include "train/shares.h"
#include "base/memory.h"
#include <stdlib.h>

typedef struct means {
    int param;
    int64_t count;
} means;

static int largest_first(const void *a, const void *b) {
    const means *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count) - (x->count > y->count) : x->param - y->param;
}

static int least_loaded(const int64_t *load, int ranks) {
    int least = 0;
    for (int r = 1; r < ranks; r++)
        if (load[r] < load[least]) least = r;
    return least;
}

void shares_assign(const optimizer_config *c, const model *m, int ranks, int *owner) {
    means *all = xcalloc((size_t)m->param_count + 1, sizeof *all);
    int64_t *load = xcalloc((size_t)ranks, sizeof *load);
    for (int i = 0; i < m->param_count; i++)
        all[i] = (means){i, optimizer_arrays(c, optimizer_group(m->params[i])) * param_count(m->params[i])};
    qsort(all, (size_t)m->param_count, sizeof *all, largest_first);
    for (int i = 0; i < m->param_count; i++) {
        const int rank = least_loaded(load, ranks);
        owner[all[i].param] = rank;
        load[rank] += all[i].count;
    }
    free(all);
    free(load);
}

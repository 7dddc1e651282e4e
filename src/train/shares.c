#include "train/shares.h"
#include "base/memory.h"
#include "nn/spread.h"
#include <stdlib.h>

typedef struct means {
    int param;
    int64_t count;
} means;

static int largest_first(const void *a, const void *b) {
    const means *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count) - (x->count > y->count) : x->param - y->param;
}

/* Of the ranks first, first + every, … */
static int least_loaded(const int64_t *load, int ranks, int first, int every) {
    int least = first;
    for (int r = first + every; r < ranks; r += every)
        if (load[r] < load[least]) least = r;
    return least;
}

/* Of those that have the parameter: an expert's are at one position of each group. */
static int choose_rank(const model *m, const param *p, const int64_t *load, int ranks) {
    const int position = spread_position(&m->spread, &m->config, p->expert);
    return position < 0 ? least_loaded(load, ranks, 0, 1) : least_loaded(load, ranks, position, m->spread.count);
}

void shares_assign(const optimizer_config *c, const model *m, int ranks, int *owner) {
    means *all = xcalloc((size_t)m->param_count + 1, sizeof *all);
    int64_t *load = xcalloc((size_t)ranks, sizeof *load);
    for (int i = 0; i < m->param_count; i++)
        all[i] = (means){i, optimizer_arrays(c, optimizer_group(m->params[i])) * param_count(m->params[i])};
    qsort(all, (size_t)m->param_count, sizeof *all, largest_first);
    for (int i = 0; i < m->param_count; i++) {
        const int rank = choose_rank(m, m->params[all[i].param], load, ranks);
        owner[all[i].param] = rank;
        load[rank] += all[i].count;
    }
    free(all);
    free(load);
}

#include "train/gradients.h"
#include "base/memory.h"
#include <inttypes.h>
#include <stdlib.h>

status gradients_check(const comm *ranks, int64_t micro_batches) {
    if (micro_batches % ranks->ranks == 0) return STATUS_OK;
    return fail_usage(
        "accumulate: expected a multiple of the %d ranks, who share the step's micro-batches, found %" PRId64,
        ranks->ranks, micro_batches);
}

enum { ALIGNMENT = 16 }; /* floats: a cache line */

static int64_t place_of(const param *p) {
    return (param_count(p) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int64_t owned_floats(const optimizer *o, const model *m, int rank) {
    int64_t count = 0;
    for (int i = 0; i < m->param_count; i++)
        if (param_is_trained(m->params[i]) && optimizer_owner(o, i) == rank) count += place_of(m->params[i]);
    return count;
}

/* A place for the sum of what this rank owns, where more than one round adds to it. */
static status settle(gradients *g, const optimizer *o, const model *m, int64_t rounds) {
    const int64_t count = rounds > 1 ? owned_floats(o, m, g->ranks->rank) : 0;
    if (count == g->count) return STATUS_OK;
    m->k->release(g->sum);
    g->sum = NULL;
    g->count = 0;
    if (count > 0) TRY(m->k->alloc((void **)&g->sum, (size_t)count * sizeof *g->sum));
    g->count = count;
    return STATUS_OK;
}

status gradients_begin(gradients *g, comm *ranks, optimizer *o, model *m, int64_t rounds) {
    g->ranks = ranks;
    TRY(optimizer_settle(o));
    TRY(settle(g, o, m, rounds));
    g->stretches = xrealloc(g->stretches, (size_t)(m->param_count + 1) * sizeof *g->stretches);
    g->stretch_count = 0;
    int64_t at = 0;
    for (int i = 0; i < m->param_count; i++) {
        const param *p = m->params[i];
        if (!param_is_trained(p)) continue;
        comm_stretch *s = &g->stretches[g->stretch_count++];
        *s = (comm_stretch){.owner = optimizer_owner(o, i),
                            .data = p->grad,
                            .count = param_count(p),
                            .group = p->expert >= 0 ? m->spread.count : 1,
                            .more = p->more_grads};
        if (s->owner != ranks->rank || !g->sum) continue;
        s->sum = g->sum + at;
        at += place_of(p);
    }
    return STATUS_OK;
}

status gradients_add(gradients *g, const model *m, int64_t round, int64_t rounds) {
    return comm_reduce(g->ranks, m->k, g->stretches, g->stretch_count, round, rounds);
}

void gradients_free(gradients *g, const kernels *k) {
    if (g->sum) k->release(g->sum);
    free(g->stretches);
    *g = (gradients){0};
}

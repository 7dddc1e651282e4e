#include "train/gradients.h"
#include "base/memory.h"
#include "nn/stages.h"
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

/* The parameter's stretch, whose sum lies at `at` of the sums where it is this rank's. */
static comm_stretch stretch_of(const gradients *g, const optimizer *o, const model *m, int i, int stage, int64_t *at) {
    const param *p = m->params[i];
    comm_stretch s = {.owner = optimizer_owner(o, i),
                      .stage = stage,
                      .data = p->grad,
                      .count = param_count(p),
                      .group = p->expert >= 0 ? m->spread.count : 1,
                      .more = p->more_grads};
    if (s.owner != g->ranks->rank || !g->sum) return s;
    s.sum = g->sum + *at;
    *at += place_of(p);
    return s;
}

/* What is final first comes first. */
static void list_stretches(gradients *g, const optimizer *o, const model *m) {
    int *stage = xcalloc((size_t)m->param_count + 1, sizeof *stage);
    int64_t at = 0;
    for (int i = 0; i < m->param_count; i++) stage[i] = model_stage_of(m, m->params[i]);
    g->stretches = xrealloc(g->stretches, (size_t)(m->param_count + 1) * sizeof *g->stretches);
    g->stretch_count = 0;
    for (int now = 0; now < model_stages(m); now++)
        for (int i = 0; i < m->param_count; i++)
            if (stage[i] == now && param_is_trained(m->params[i]))
                g->stretches[g->stretch_count++] = stretch_of(g, o, m, i, now, &at);
    free(stage);
}

status gradients_begin(gradients *g, comm *ranks, optimizer *o, model *m, int64_t rounds) {
    g->ranks = ranks;
    g->failed = STATUS_OK;
    TRY(optimizer_settle(o));
    TRY(settle(g, o, m, rounds));
    list_stretches(g, o, m);
    if (!g->reduction) g->reduction = comm_reduction_create(ranks, m->k);
    return comm_reduction_plan(g->reduction, g->stretches, g->stretch_count);
}

static void send_what_is_final(void *context, int stage) {
    gradients *g = context;
    if (g->failed == STATUS_OK) g->failed = comm_reduction_reach(g->reduction, stage);
}

void gradients_expect(gradients *g, pass *p, int64_t round, int64_t rounds) {
    comm_reduction_begin(g->reduction, round, rounds);
    if (g->ranks->ranks > 1) pass_watch_backward(p, send_what_is_final, g);
}

status gradients_add(gradients *g, pass *p) {
    pass_watch_backward(p, NULL, NULL);
    TRY(g->failed);
    return comm_reduction_finish(g->reduction);
}

void gradients_free(gradients *g, const kernels *k) {
    comm_reduction_destroy(g->reduction);
    if (g->sum) k->release(g->sum);
    free(g->stretches);
    *g = (gradients){0};
}

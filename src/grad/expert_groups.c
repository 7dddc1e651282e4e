#include "grad/expert_groups.h"

#include "base/memory.h"
#include <stdlib.h>

bool expert_groups_take(tape *t, expert_groups *g, const mlp *first, int64_t each, int64_t batches) {
    g->count = each * batches;
    g->each = each;
    g->experts = tape_host_alloc(t, (size_t)g->count * sizeof *g->experts);
    g->fc = tape_host_alloc(t, (size_t)g->count * sizeof *g->fc);
    g->proj = tape_host_alloc(t, (size_t)g->count * sizeof *g->proj);
    if (!g->experts || !g->fc || !g->proj) return false;
    for (int64_t i = 0; i < g->count; i++) {
        g->experts[i] = &first[i % each];
        g->fc[i] = &g->experts[i]->fc.weight->matrix;
        g->proj[i] = &g->experts[i]->proj.weight->matrix;
    }
    return true;
}

/* ---- observers, who need the groups on the host ---- */

static int32_t *host_starts(tape *t, const expert_groups *g) {
    const size_t bytes = (size_t)(g->count + 1) * sizeof(int32_t);
    int32_t *start = xmalloc(bytes);
    tape_kernels(t)->download(start, g->start, bytes);
    return start;
}

static const linear *linear_of(const expert_groups *g, int64_t group, bool of_proj) {
    return of_proj ? &g->experts[group]->proj : &g->experts[group]->fc;
}

/* What the experts' products read. */
static void notify_inputs(tape *t, const expert_groups *g, void *rows, bool of_proj) {
    if (!tape_is_observed(t)) return;
    int32_t *start = host_starts(t, g);
    for (int64_t i = 0; i < g->count; i++) {
        const linear *l = linear_of(g, i, of_proj);
        const int64_t cols = linear_in(l);
        tape_notify(t, l->weight, act_at(t, rows, start[i] * cols), start[i + 1] - start[i], cols);
    }
    free(start);
}

/* The gradients of what they made, dy [rows, out] from x [rows, in]. */
static void notify_gradients(tape *t, const expert_groups *g, void *dy, void *x, bool of_proj) {
    if (!tape_gradients_are_observed(t)) return;
    int32_t *start = host_starts(t, g);
    for (int64_t i = 0; i < g->count; i++) {
        const linear *l = linear_of(g, i, of_proj);
        tape_notify_gradient(t, &(product_gradient){.weight = l->weight,
                                                    .dy = act_at(t, dy, start[i] * linear_out(l)),
                                                    .x = act_at(t, x, start[i] * linear_in(l)),
                                                    .N = start[i + 1] - start[i]});
    }
    free(start);
}

/* ---- the products ---- */

void expert_groups_forward(tape *t, const expert_groups *g) {
    const kernels *k = tape_kernels(t);
    const int64_t hidden = linear_in(&g->experts[0]->proj);
    void *h = tape_alloc(t, act_bytes(t, g->most_rows * hidden));
    if (!h) return;
    notify_inputs(t, g, g->rows, false);
    k->grouped_linear(g->u, g->rows, g->fc, g->start, g->count, g->most_rows);
    k->activate(h, g->u, g->experts[0]->f, expert_groups_rows(g), g->most_rows, hidden);
    notify_inputs(t, g, h, true);
    k->grouped_linear(g->out, h, g->proj, g->start, g->count, g->most_rows);
    tape_free(t, h);
}

/* Where the gradients of one kind of the experts' weights go, [G]. */
static float **weight_gradients(tape *t, const expert_groups *g, bool of_proj) {
    float **gradients = tape_host_alloc(t, (size_t)g->count * sizeof *gradients);
    for (int64_t i = 0; gradients && i < g->count; i++)
        gradients[i] = param_grad_of(linear_of(g, i, of_proj)->weight, (int)(i / g->each));
    return gradients;
}

void expert_groups_backward(tape *t, const expert_groups *g, void *drows) {
    const kernels *k = tape_kernels(t);
    const activation f = g->experts[0]->f;
    const int64_t hidden = linear_in(&g->experts[0]->proj), wide = linear_out(&g->experts[0]->fc);
    void *h = tape_alloc(t, act_bytes(t, g->most_rows * hidden));
    void *dh = tape_alloc(t, act_bytes(t, g->most_rows * hidden));
    void *du = tape_alloc(t, act_bytes(t, g->most_rows * wide));
    float **dfc = weight_gradients(t, g, false), **dproj = weight_gradients(t, g, true);
    if (!h || !dh || !du || !dfc || !dproj) return;
    k->activate(h, g->u, f, expert_groups_rows(g), g->most_rows, hidden);
    notify_gradients(t, g, drows, h, true);
    k->grouped_linear_backward_weight(dproj, drows, h, g->proj, g->start, g->count, g->most_rows);
    k->grouped_linear_backward_input(dh, drows, g->proj, g->start, g->count, g->most_rows);
    k->activate_backward(du, dh, g->u, f, expert_groups_rows(g), g->most_rows, hidden);
    notify_gradients(t, g, du, g->rows, false);
    k->grouped_linear_backward_weight(dfc, du, g->rows, g->fc, g->start, g->count, g->most_rows);
    k->grouped_linear_backward_input(drows, du, g->fc, g->start, g->count, g->most_rows);
    tape_free(t, h);
    tape_free(t, dh);
    tape_free(t, du);
}

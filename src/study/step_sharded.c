/* A step whose messages go while it computes, and the same with experts apart. */
#include "study/step_parts.h"

#include "base/memory.h"
#include <stdlib.h>

/* Gradients' bytes of a layer's parameters at a rank: of experts, and of the rest. */
static double layer_bytes(const step *s, int layer, bool experts) {
    double count = 0;
    for (int i = 0; i < s->w->param_count; i++) {
        const work_param *p = &s->w->params[i];
        if (p->layer == layer && p->expert == experts) count += (double)p->count;
    }
    return FLOAT_BYTES * count / (experts ? s->expert_ranks : 1);
}

static double add_seconds_per_byte(const step *s) {
    return machine_memory_seconds(s->m, s->c->local, 3);
}

/* Behind what was computed so far, and what was sent. */
static void begin_sending(step *s) {
    for (int r = 0; r < s->o->ranks; r++) s->sending[r] = simulation_join(s->s, s->at[r], s->sending[r]);
}

/* Experts' gradients are summed over the ranks that have the same ones. */
static void move_layers(step *s, double bytes, double expert_bytes, bool gathers) {
    const double add = add_seconds_per_byte(s);
    const rank_group all = everyone(s);
    if (s->expert_ranks == 1) bytes += expert_bytes;
    if (bytes > 0 && gathers) collective_all_gather(s->c, all, bytes, s->sending);
    if (bytes > 0 && !gathers) collective_reduce_scatter(s->c, all, bytes, add, s->sending);
    for (int i = 0; i < s->expert_ranks && s->expert_ranks > 1 && expert_bytes > 0; i++) {
        const rank_group alike = {i, s->expert_ranks, s->o->ranks / s->expert_ranks};
        if (gathers)
            collective_all_gather(s->c, alike, expert_bytes, s->sending);
        else
            collective_reduce_scatter(s->c, alike, expert_bytes, add, s->sending);
    }
}

/* The last micro-batch's backward: what is final goes while the rest is computed. */
static void run_backward_sending(step *s) {
    double bytes = 0, expert_bytes = 0;
    step_run_ends(s, 3);
    for (int i = s->w->block_count - 1; i >= 0; i--) {
        const int layer = s->w->blocks[i].layer;
        step_run_block(s, &s->w->blocks[i], 2);
        if (step_first_use(s->w, layer) != i) continue;
        bytes += layer_bytes(s, layer, false);
        expert_bytes += layer_bytes(s, layer, true);
        if (bytes + expert_bytes < BUCKET_BYTES) continue;
        begin_sending(s);
        move_layers(s, bytes, expert_bytes, false);
        bytes = expert_bytes = 0;
    }
    begin_sending(s);
    move_layers(s, bytes + layer_bytes(s, -1, false), expert_bytes, false);
    begin_sending(s);
    for (int r = 0; r < s->o->ranks; r++) s->at[r] = s->sending[r];
}

/* Values of the step before, as they are needed: forward waits for those of each layer where it first runs. */
static void run_forward_receiving(step *s) {
    double bytes = layer_bytes(s, -1, false), expert_bytes = 0;
    for (int i = 0; i < s->w->block_count; i++) {
        const int layer = s->w->blocks[i].layer;
        if (step_first_use(s->w, layer) == i) {
            bytes += layer_bytes(s, layer, false);
            expert_bytes += layer_bytes(s, layer, true);
            move_layers(s, bytes, expert_bytes, true);
            bytes = expert_bytes = 0;
            for (int r = 0; r < s->o->ranks; r++) step_compute(s, r, 0, s->busy);
            for (int r = 0; r < s->o->ranks; r++) simulation_after(s->s, s->at[r], s->sending[r]);
        }
        step_run_block(s, &s->w->blocks[i], 1);
    }
    step_run_ends(s, 1);
}

/* Matrices that Muon updates, whole at their owner from equal parts everywhere, or back. */
static void move_matrices(step *s, exchange_direction to) {
    const int ranks = s->o->ranks;
    double *bytes = xcalloc((size_t)ranks, sizeof *bytes), *pieces = xcalloc((size_t)ranks, sizeof *pieces);
    for (int i = 0; i < s->w->param_count; i++) {
        if (!s->w->params[i].muon) continue;
        bytes[s->owner[i]] += FLOAT_BYTES * (double)s->w->params[i].count / ranks;
        pieces[s->owner[i]] = 1;
    }
    collective_exchange(s->c, to, bytes, pieces, s->at);
    free(bytes);
    free(pieces);
}

void step_sharded(step *s) {
    const double values = s->w->values - s->w->expert_values * (1 - 1.0 / s->expert_ranks);
    step_pass_over(s, values, 1, s->busy);
    run_forward_receiving(s);
    for (int64_t round = 1; round < s->rounds; round++) {
        step_run_ends(s, 3);
        for (int i = s->w->block_count - 1; i >= 0; i--) step_run_block(s, &s->w->blocks[i], 2);
        step_run_forward(s);
    }
    run_backward_sending(s);
    collective_all_gather(s->c, everyone(s), 8.0 * s->o->ranks, s->at); /* the norm */
    move_matrices(s, EXCHANGE_TO_OWNERS);
    step_update(s, true);
    move_matrices(s, EXCHANGE_FROM_OWNERS);
    step_refresh(s, values);
}

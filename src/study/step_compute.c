#include "study/step_parts.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

void step_compute_behind(step *s, int rank, double seconds, double *account, int *task) {
    const double taken = seconds * s->slow[rank];
    const int t = simulation_task(s->s, taken, 0, &s->c->compute[rank], 1);
    simulation_after(s->s, t, *task);
    *task = t;
    account[rank] += taken;
}

void step_compute(step *s, int rank, double seconds, double *account) {
    step_compute_behind(s, rank, seconds, account, &s->at[rank]);
}

/* passes: 1 forward, 2 backward. */
static double products_seconds(const step *s, double flops, double numbers, double tokens, double passes) {
    const machine *m = s->m;
    return machine_product_seconds(m, s->c->local, passes * flops * tokens, tokens, (double)s->w->dim) +
           machine_memory_seconds(m, s->c->local, passes * 2 * numbers * m->act_bytes * tokens);
}

static double block_seconds(const step *s, const work_block *b, double tokens, double passes) {
    return products_seconds(s, b->flops, b->numbers, tokens, passes) +
           machine_kernel_seconds(s->m, passes * s->m->block_kernels);
}

static double expert_seconds(const step *s, const work_block *b, double tokens, double passes) {
    return products_seconds(s, b->expert_flops, b->expert_numbers, tokens, passes);
}

static rank_group experts_of(const step *s, int rank) {
    return (rank_group){rank / s->expert_ranks * s->expert_ranks, 1, s->expert_ranks};
}

static void exchange_tokens(step *s, const work_block *b, double times) {
    const double bytes = s->micro_tokens * b->routed * s->m->act_bytes * times;
    for (int first = 0; first < s->o->ranks; first += s->expert_ranks)
        collective_all_to_all(s->c, experts_of(s, first), bytes, s->at);
}

void step_run_block(step *s, const work_block *b, double passes) {
    const int ranks = s->o->ranks;
    const double own = block_seconds(s, b, s->micro_tokens, passes);
    const double experts = expert_seconds(s, b, s->micro_tokens, passes);
    if (s->expert_ranks == 1 || b->routed == 0) {
        for (int r = 0; r < ranks; r++) step_compute(s, r, own + experts, s->busy);
        return;
    }
    for (int r = 0; r < ranks; r++) step_compute(s, r, own, s->busy);
    exchange_tokens(s, b, 1);
    for (int r = 0; r < ranks; r++)
        step_compute(s, r, experts * (r % s->expert_ranks == 0 ? s->o->imbalance : 1), s->busy);
    exchange_tokens(s, b, 1);
}

void step_run_ends(step *s, double passes) {
    const double tokens = s->micro_tokens, flops = passes * s->w->ends_flops * tokens;
    const double seconds = machine_product_seconds(s->m, s->c->local, flops, tokens, (double)s->w->dim);
    for (int r = 0; r < s->o->ranks; r++) step_compute(s, r, seconds, s->busy);
}

void step_run_forward(step *s) {
    for (int i = 0; i < s->w->block_count; i++) step_run_block(s, &s->w->blocks[i], 1);
    step_run_ends(s, 1);
}

void step_pass_over(step *s, double values, double arrays, double *account) {
    const double seconds = machine_memory_seconds(s->m, s->c->local, arrays * values * FLOAT_BYTES);
    for (int r = 0; r < s->o->ranks; r++) step_compute(s, r, seconds, account);
}

int step_first_use(const step_work *w, int layer) {
    for (int i = 0; i < w->block_count; i++)
        if (w->blocks[i].layer == layer) return i;
    return 0;
}

/* ---- owners ---- */

static int least_loaded(const double *load, int ranks) {
    int least = 0;
    for (int r = 1; r < ranks; r++)
        if (load[r] < load[least]) least = r;
    return least;
}

/* The rule of train/shares.c. Experts' parameters, where ranks have them in parts, belong to the ranks that have them. */
void step_assign_owners(step *s) {
    const step_work *w = s->w;
    double *load = xcalloc((size_t)s->o->ranks, sizeof *load);
    bool *given = xcalloc((size_t)w->param_count + 1, sizeof *given);
    for (int done = 0; done < w->param_count; done++) {
        int most = -1;
        for (int i = 0; i < w->param_count; i++)
            if (!given[i] && (most < 0 || means_of(&w->params[i]) > means_of(&w->params[most]))) most = i;
        const int rank = least_loaded(load, s->o->ranks);
        given[most] = true;
        s->owner[most] = rank;
        load[rank] += means_of(&w->params[most]);
    }
    free(load);
    free(given);
}

void step_update(step *s, bool shared) {
    const step_work *w = s->w;
    double *seconds = xcalloc((size_t)s->o->ranks, sizeof *seconds);
    for (int i = 0; i < w->param_count; i++) {
        const work_param *p = &w->params[i];
        const double moved = (double)p->count * FLOAT_BYTES * (2 * p->means + 3);
        const double side = sqrt((double)p->count);
        if (shared && !p->muon)
            for (int r = 0; r < s->o->ranks; r++)
                seconds[r] += machine_memory_seconds(s->m, s->c->local, moved / s->o->ranks);
        else
            seconds[s->owner[i]] += machine_memory_seconds(s->m, s->c->local, moved) +
                                    machine_update_seconds(s->m, s->c->local, p->update_flops, side, side);
    }
    for (int r = 0; r < s->o->ranks; r++) step_compute(s, r, seconds[r], s->update);
    free(seconds);
}

void step_refresh(step *s, double values) {
    step_pass_over(s, values, 2 + (s->w->average ? 3 : 0), s->update);
}

#include "study/step_sim.h"

#include "base/memory.h"
#include "base/random.h"
#include "comm/reduce.h"
#include "study/step_parts.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const char *step_method_name(step_method m) {
    static const char *const names[] = {"as built", "sharded", "experts"};
    return names[m];
}

/* Bytes: values, gradients, average, products' form of the values, means; activations of a micro-batch. */
static double memory_of(const step *s) {
    const step_work *w = s->w;
    const double values = w->values - w->expert_values * (1 - 1.0 / s->expert_ranks);
    double means = 0, numbers = 0, all = 0;
    double *owned = xcalloc((size_t)s->o->ranks, sizeof *owned);
    for (int i = 0; i < w->param_count; i++) {
        owned[s->owner[i]] += means_of(&w->params[i]);
        all += means_of(&w->params[i]);
    }
    for (int r = 0; r < s->o->ranks; r++) means = fmax(means, owned[r]);
    free(owned);
    if (s->o->method != STEP_AS_BUILT) means = fmax(all / s->o->ranks, 0);
    for (int i = 0; i < w->block_count; i++) numbers += w->blocks[i].numbers + w->blocks[i].expert_numbers;
    return FLOAT_BYTES * (values * (2 + w->average) + means) + values * s->m->act_bytes +
           numbers * s->micro_tokens * s->m->act_bytes;
}

static int count_expert_ranks(const step_work *w, const machine *m, const step_options *o) {
    const int most = o->ranks < m->node_ranks ? o->ranks : m->node_ranks;
    int ranks = 1;
    while (o->method == STEP_EXPERTS && 2 * ranks <= most && 2 * ranks <= w->experts && w->experts % (2 * ranks) == 0 &&
           o->ranks % (2 * ranks) == 0 && most % (2 * ranks) == 0)
        ranks *= 2;
    return ranks;
}

static bool share_rows(step *s, step_result *result) {
    const int64_t ranks = s->o->ranks, rows = s->o->grows ? ranks * s->w->micro_rows : s->w->rows;
    if (rows % ranks != 0) {
        snprintf(result->why, sizeof result->why, "%" PRId64 " rows of a step are no multiple of %" PRId64 " ranks",
                 rows, ranks);
        return false;
    }
    s->rows = rows / ranks;
    s->rounds = (s->rows + s->w->micro_rows - 1) / s->w->micro_rows;
    s->micro_tokens = (double)s->rows / (double)s->rounds * (double)s->w->seq;
    result->tokens = (double)(rows * s->w->seq);
    return true;
}

/* About as many as the most talkative part of a step has. */
static double count_messages(const step *s) {
    const double ranks = s->o->ranks, pairs = ranks * (ranks - 1);
    const double full = FLOAT_BYTES * s->w->values / REDUCE_BYTES, pieces = s->w->param_count;
    if (s->o->method == STEP_AS_BUILT) return (pairs * full + (ranks - 1) * pieces) * (double)s->rounds;
    const double buckets = FLOAT_BYTES * s->w->values / BUCKET_BYTES + 2 * s->w->layers + 2;
    const double tokens = 4.0 * (double)s->rounds * s->w->block_count * ranks * s->expert_ranks;
    return buckets * collective_messages(s->c, everyone(s)) + 2 * pairs + (s->expert_ranks > 1 ? tokens : 0);
}

static void open_step(step *s) {
    const size_t ranks = (size_t)s->o->ranks;
    s->s = simulation_create();
    s->c = cluster_create(s->m, s->s, s->o->ranks, true);
    s->at = simulation_nothing(s->o->ranks);
    s->sending = simulation_nothing(s->o->ranks);
    s->slow = xcalloc(ranks, sizeof *s->slow);
    s->busy = xcalloc(ranks, sizeof *s->busy);
    s->update = xcalloc(ranks, sizeof *s->update);
    s->owner = xcalloc((size_t)s->w->param_count + 1, sizeof *s->owner);
    rng r = rng_named(s->o->seed, "slow ranks");
    for (size_t i = 0; i < ranks; i++) {
        float normal;
        rng_normal(&r, &normal, 1, 1);
        s->slow[i] = fmax(0.5, 1 + s->m->jitter * (double)normal);
    }
    step_assign_owners(s);
}

static void close_step(step *s) {
    cluster_destroy(s->c);
    simulation_destroy(s->s);
    free(s->at);
    free(s->sending);
    free(s->slow);
    free(s->busy);
    free(s->update);
    free(s->owner);
}

static void read_result(const step *s, step_result *result) {
    const int ranks = s->o->ranks;
    result->seconds = simulation_end(s->s);
    for (int r = 0; r < ranks; r++) {
        result->computing += s->busy[r] / ranks;
        result->updating += s->update[r] / ranks;
        result->sent = fmax(result->sent, s->c->sent[r]);
        result->sent_apart = fmax(result->sent_apart, s->c->sent_apart[r]);
    }
    result->waiting = fmax(0, result->seconds - result->computing - result->updating);
    result->memory = memory_of(s);
    result->expert_ranks = s->expert_ranks;
    result->by_message = s->c->messages;
    result->tasks = simulation_tasks(s->s);
}

status step_simulate(const step_work *w, const machine *m, const step_options *o, step_result *result) {
    step s = {.w = w, .m = m, .o = o};
    *result = (step_result){0};
    if (o->ranks < 1 || (o->ranks > m->node_ranks && o->ranks % m->node_ranks != 0))
        return fail_usage("expected ranks within one node of %d or whole nodes of them, found %d ranks", m->node_ranks,
                          o->ranks);
    s.expert_ranks = count_expert_ranks(w, m, o);
    if (!share_rows(&s, result)) return STATUS_OK;
    open_step(&s);
    s.c->messages = count_messages(&s) <= o->messages;
    if (o->method == STEP_AS_BUILT)
        step_as_built(&s);
    else
        step_sharded(&s);
    const status done = simulation_run(s.s);
    if (done == STATUS_OK) read_result(&s, result);
    result->possible = done == STATUS_OK;
    close_step(&s);
    return done;
}

#include "study/step_sim.h"

#include "base/memory.h"
#include "base/random.h"
#include "comm/reduce.h"
#include "study/collectives.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLOAT_BYTES = 4, BUCKET_BYTES = 25000000 };

const char *step_method_name(step_method m) {
    static const char *const names[] = {"as built", "sharded", "experts"};
    return names[m];
}

typedef struct step {
    const step_work *w;
    const machine *m;
    const step_options *o;
    simulation *s;
    cluster *c;
    int expert_ranks;
    int64_t rows, rounds; /* of a rank; the micro-batches that they are */
    double micro_tokens;
    int *at;        /* [ranks] the last task of a rank's computing */
    int *sending;   /* [ranks] of what goes on beside it */
    double *slow;   /* [ranks] how long a rank takes for what others take 1 for */
    double *busy;   /* [ranks] seconds of computing */
    double *update; /* [ranks] seconds of updating */
    int *owner;     /* [param_count] */
} step;

/* ---- computing ---- */

static void compute(step *s, int rank, double seconds, double *account) {
    const double taken = seconds * s->slow[rank];
    const int t = simulation_task(s->s, taken, 0, &s->c->compute[rank], 1);
    simulation_after(s->s, t, s->at[rank]);
    s->at[rank] = t;
    account[rank] += taken;
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

static void run_block(step *s, const work_block *b, double passes) {
    const int ranks = s->o->ranks;
    const double own = block_seconds(s, b, s->micro_tokens, passes);
    const double experts = expert_seconds(s, b, s->micro_tokens, passes);
    if (s->expert_ranks == 1 || b->routed == 0) {
        for (int r = 0; r < ranks; r++) compute(s, r, own + experts, s->busy);
        return;
    }
    for (int r = 0; r < ranks; r++) compute(s, r, own, s->busy);
    exchange_tokens(s, b, 1);
    for (int r = 0; r < ranks; r++) compute(s, r, experts * (r % s->expert_ranks == 0 ? s->o->imbalance : 1), s->busy);
    exchange_tokens(s, b, 1);
}

static void run_ends(step *s, double passes) {
    const double tokens = s->micro_tokens, flops = passes * s->w->ends_flops * tokens;
    const double seconds = machine_product_seconds(s->m, s->c->local, flops, tokens, (double)s->w->dim);
    for (int r = 0; r < s->o->ranks; r++) compute(s, r, seconds, s->busy);
}

static void run_forward(step *s) {
    for (int i = 0; i < s->w->block_count; i++) run_block(s, &s->w->blocks[i], 1);
    run_ends(s, 1);
}

/* Every array of `values` numbers that is read or written once. */
static void pass_over(step *s, double values, double arrays, double *account) {
    const double seconds = machine_memory_seconds(s->m, s->c->local, arrays * values * FLOAT_BYTES);
    for (int r = 0; r < s->o->ranks; r++) compute(s, r, seconds, account);
}

/* ---- owners ---- */

static double means_of(const work_param *p) {
    return (double)p->count * p->means;
}

static int least_loaded(const double *load, int ranks) {
    int least = 0;
    for (int r = 1; r < ranks; r++)
        if (load[r] < load[least]) least = r;
    return least;
}

/* The rule of train/shares.c. Experts' parameters, where ranks have them in parts, belong to the ranks that have them. */
static void assign(step *s) {
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

/* An owner's update; shared: Adam's parameters are in equal parts everywhere. */
static void update(step *s, bool shared) {
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
    for (int r = 0; r < s->o->ranks; r++) compute(s, r, seconds[r], s->update);
    free(seconds);
}

/* ---- as built ---- */

/* Where an owner's parameters are continued in the next exchange (comm/reduce.c). */
typedef struct cursor {
    int param;
    double from;
} cursor;

/* A bucket's floats of an owner, in how many messages. */
static double fill_bucket(const step *s, int owner, cursor *at, double bucket, double *pieces) {
    double filled = 0;
    *pieces = 0;
    while (at->param < s->w->param_count && filled < bucket) {
        const double left = s->owner[at->param] == owner ? (double)s->w->params[at->param].count - at->from : 0;
        const double taken = fmin(left, bucket - filled);
        *pieces += taken > 0;
        filled += taken;
        if (taken < left)
            at->from += taken;
        else
            *at = (cursor){.param = at->param + 1};
    }
    return filled;
}

static void reduce_to_owners(step *s) {
    const int ranks = s->o->ranks;
    const double bucket = (double)REDUCE_BYTES / FLOAT_BYTES / ranks;
    double *bytes = xcalloc((size_t)ranks, sizeof *bytes), *pieces = xcalloc((size_t)ranks, sizeof *pieces);
    cursor *next = xcalloc((size_t)ranks, sizeof *next);
    for (;;) {
        double all = 0;
        for (int r = 0; r < ranks; r++) {
            bytes[r] = FLOAT_BYTES * fill_bucket(s, r, &next[r], bucket, &pieces[r]);
            all += bytes[r];
        }
        if (all == 0) break;
        collective_exchange(s->c, EXCHANGE_TO_OWNERS, bytes, pieces, s->at);
        for (int r = 0; r < ranks; r++)
            compute(s, r, machine_memory_seconds(s->m, s->c->local, 3 * ranks * bytes[r]), s->update);
    }
    free(bytes);
    free(pieces);
    free(next);
}

/* Each rank says so many bytes to each other one. */
static void tell_all(step *s, double each) {
    double *bytes = xcalloc((size_t)s->o->ranks, sizeof *bytes), *pieces = xcalloc((size_t)s->o->ranks, sizeof *pieces);
    for (int r = 0; r < s->o->ranks; r++) bytes[r] = each, pieces[r] = 1;
    collective_exchange(s->c, EXCHANGE_FROM_OWNERS, bytes, pieces, s->at);
    free(bytes);
    free(pieces);
}

static void share_values(step *s) {
    const int ranks = s->o->ranks;
    double *bytes = xcalloc((size_t)ranks, sizeof *bytes), *pieces = xcalloc((size_t)ranks, sizeof *pieces);
    for (int i = 0; i < s->w->param_count; i++) {
        bytes[s->owner[i]] += FLOAT_BYTES * (double)s->w->params[i].count;
        pieces[s->owner[i]]++;
    }
    collective_exchange(s->c, EXCHANGE_FROM_OWNERS, bytes, pieces, s->at);
    free(bytes);
    free(pieces);
}

/* What every rank does with all values behind an update: products' form of them, the average. */
static void refresh(step *s, double values) {
    pass_over(s, values, 2 + (s->w->average ? 3 : 0), s->update);
}

static void step_as_built(step *s) {
    for (int64_t round = 0; round < s->rounds; round++) {
        pass_over(s, s->w->values, 1, s->busy); /* gradients begin from zero */
        run_forward(s);
        run_ends(s, 3);
        for (int i = s->w->block_count - 1; i >= 0; i--) run_block(s, &s->w->blocks[i], 2);
        reduce_to_owners(s);
    }
    tell_all(s, 8.0 * s->w->param_count); /* squares for the norm */
    update(s, false);
    share_values(s);
    refresh(s, s->w->values);
    tell_all(s, 24); /* the meeting behind a step */
}

/* ---- sharded, and with experts apart ---- */

static rank_group everyone(const step *s) {
    return (rank_group){0, 1, s->o->ranks};
}

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
    for (int r = 0; r < s->o->ranks; r++) {
        const int t = simulation_task(s->s, 0, 0, NULL, 0);
        simulation_after(s->s, t, s->at[r]);
        simulation_after(s->s, t, s->sending[r]);
        s->sending[r] = t;
    }
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

static int first_use(const step_work *w, int layer) {
    for (int i = 0; i < w->block_count; i++)
        if (w->blocks[i].layer == layer) return i;
    return 0;
}

/* The last micro-batch's backward: what is final goes while the rest is computed. A layer that runs several times is final behind the
 * first of its runs. */
static void run_backward_sending(step *s) {
    double bytes = 0, expert_bytes = 0;
    run_ends(s, 3);
    for (int i = s->w->block_count - 1; i >= 0; i--) {
        const int layer = s->w->blocks[i].layer;
        run_block(s, &s->w->blocks[i], 2);
        if (first_use(s->w, layer) != i) continue;
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
        if (first_use(s->w, layer) == i) {
            bytes += layer_bytes(s, layer, false);
            expert_bytes += layer_bytes(s, layer, true);
            move_layers(s, bytes, expert_bytes, true);
            bytes = expert_bytes = 0;
            for (int r = 0; r < s->o->ranks; r++) compute(s, r, 0, s->busy);
            for (int r = 0; r < s->o->ranks; r++) simulation_after(s->s, s->at[r], s->sending[r]);
        }
        run_block(s, &s->w->blocks[i], 1);
    }
    run_ends(s, 1);
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

static void step_sharded(step *s) {
    const double values = s->w->values - s->w->expert_values * (1 - 1.0 / s->expert_ranks);
    pass_over(s, values, 1, s->busy);
    run_forward_receiving(s);
    for (int64_t round = 1; round < s->rounds; round++) {
        run_ends(s, 3);
        for (int i = s->w->block_count - 1; i >= 0; i--) run_block(s, &s->w->blocks[i], 2);
        run_forward(s);
    }
    run_backward_sending(s);
    collective_all_gather(s->c, everyone(s), 8.0 * s->o->ranks, s->at); /* the norm */
    move_matrices(s, EXCHANGE_TO_OWNERS);
    update(s, true);
    move_matrices(s, EXCHANGE_FROM_OWNERS);
    refresh(s, values);
}

/* ---- the whole ---- */

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
    const double exchanges = FLOAT_BYTES * s->w->values / REDUCE_BYTES + 1;
    if (s->o->method == STEP_AS_BUILT) return pairs * exchanges * (double)s->rounds;
    const double buckets = FLOAT_BYTES * s->w->values / BUCKET_BYTES + 2 * s->w->layers + 2;
    const double tokens = 4.0 * (double)s->rounds * s->w->block_count * ranks * s->expert_ranks;
    return buckets * collective_messages(s->c, everyone(s)) + 2 * pairs + (s->expert_ranks > 1 ? tokens : 0);
}

static void open_step(step *s) {
    const size_t ranks = (size_t)s->o->ranks;
    s->s = simulation_create();
    s->c = cluster_create(s->m, s->s, s->o->ranks, true);
    s->at = xcalloc(ranks, sizeof *s->at);
    s->sending = xcalloc(ranks, sizeof *s->sending);
    s->slow = xcalloc(ranks, sizeof *s->slow);
    s->busy = xcalloc(ranks, sizeof *s->busy);
    s->update = xcalloc(ranks, sizeof *s->update);
    s->owner = xcalloc((size_t)s->w->param_count + 1, sizeof *s->owner);
    rng r = rng_named(s->o->seed, "slow ranks");
    for (size_t i = 0; i < ranks; i++) {
        float normal;
        rng_normal(&r, &normal, 1, 1);
        s->slow[i] = fmax(0.5, 1 + s->m->jitter * (double)normal);
        s->at[i] = s->sending[i] = -1;
    }
    assign(s);
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

/* A step as this program shares it out (docs/parallel.md): in every micro-batch gradients go to the owners of parameters while backward goes
 * on, and owners sum what has come (comm/reduce.h). */
#include "study/step_parts.h"

#include "base/memory.h"
#include "comm/reduce.h"
#include <math.h>
#include <stdlib.h>

/* Where an owner's part goes on. */
typedef struct cursor {
    int param;
    double from; /* bytes */
} cursor;

typedef struct reduction {
    step *s;
    double *bytes, *pieces;      /* [ranks] for each owner in the bucket that is being filled, in how many messages */
    cursor *next;                /* [ranks] */
    int *landed[REDUCE_FLIGHTS]; /* [ranks] tasks behind which the last buckets are there */
    int *summed;                 /* [ranks] and summed */
    int begun;
} reduction;

static reduction open_reduction(step *s) {
    const int ranks = s->o->ranks;
    reduction r = {.s = s, .summed = simulation_nothing(ranks)};
    r.bytes = xcalloc((size_t)ranks, sizeof *r.bytes);
    r.pieces = xcalloc((size_t)ranks, sizeof *r.pieces);
    r.next = xcalloc((size_t)ranks, sizeof *r.next);
    for (int i = 0; i < REDUCE_FLIGHTS; i++) r.landed[i] = simulation_nothing(ranks);
    return r;
}

static void close_reduction(reduction *r) {
    free(r->bytes);
    free(r->pieces);
    free(r->next);
    free(r->summed);
    for (int i = 0; i < REDUCE_FLIGHTS; i++) free(r->landed[i]);
}

/* Behind what was computed so far, and when one of the flights is free. Sums take the rank's time, between two blocks or later. */
static void send_bucket(reduction *r) {
    step *s = r->s;
    int *landed = r->landed[r->begun++ % REDUCE_FLIGHTS];
    for (int rank = 0; rank < s->o->ranks; rank++) landed[rank] = simulation_join(s->s, s->at[rank], landed[rank]);
    collective_exchange(s->c, EXCHANGE_TO_OWNERS, r->bytes, r->pieces, landed);
    for (int rank = 0; rank < s->o->ranks; rank++) {
        if (r->bytes[rank] == 0) continue;
        const double seconds = machine_memory_seconds(s->m, s->c->local, 3 * s->o->ranks * r->bytes[rank]);
        r->summed[rank] = simulation_join(s->s, r->summed[rank], landed[rank]);
        step_compute_behind(s, rank, seconds, s->update, &r->summed[rank]);
        r->bytes[rank] = r->pieces[rank] = 0;
    }
}

static double fullest(const reduction *r) {
    double most = 0;
    for (int rank = 0; rank < r->s->o->ranks; rank++) most = fmax(most, r->bytes[rank]);
    return most;
}

/* The owner's next gradients of the layer, as far as the bucket has room; whether some are left. */
static bool fill(reduction *r, int owner, int layer) {
    const step *s = r->s;
    const double most = (double)REDUCE_BYTES / s->o->ranks;
    cursor *at = &r->next[owner];
    for (; at->param < s->w->param_count; *at = (cursor){.param = at->param + 1}) {
        const work_param *p = &s->w->params[at->param];
        const double left =
            p->layer == layer && s->owner[at->param] == owner ? FLOAT_BYTES * (double)p->count - at->from : 0;
        const double taken = fmin(left, most - r->bytes[owner]);
        r->bytes[owner] += taken;
        r->pieces[owner] += taken > 0;
        at->from += taken;
        if (taken < left) return true;
    }
    return false;
}

/* The layer's gradients are final. Each bucket has a part for every owner that has some left, and the last one does not wait for the next
 * layer if there is something worth sending. */
static void reach(reduction *r, int layer) {
    for (int owner = 0; owner < r->s->o->ranks; owner++) r->next[owner] = (cursor){0};
    for (bool more = true; more;) {
        more = false;
        for (int owner = 0; owner < r->s->o->ranks; owner++) more |= fill(r, owner, layer);
        if (more || fullest(r) >= REDUCE_LEAST) send_bucket(r);
    }
}

static void finish(reduction *r) {
    step *s = r->s;
    if (fullest(r) > 0) send_bucket(r);
    for (int rank = 0; rank < s->o->ranks; rank++) {
        s->at[rank] = simulation_join(s->s, s->at[rank], r->summed[rank]);
        for (int i = 0; i < REDUCE_FLIGHTS; i++) s->at[rank] = simulation_join(s->s, s->at[rank], r->landed[i][rank]);
    }
}

/* What is in no layer is taken for final at the end, as embeddings are, of which a tied one is the head too; moec sends a head of its own first. */
static void run_backward_reducing(step *s) {
    reduction r = open_reduction(s);
    step_run_ends(s, 3);
    for (int i = s->w->block_count - 1; i >= 0; i--) {
        step_run_block(s, &s->w->blocks[i], 2);
        if (step_first_use(s->w, s->w->blocks[i].layer) == i) reach(&r, s->w->blocks[i].layer);
    }
    reach(&r, -1);
    finish(&r);
    close_reduction(&r);
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

void step_as_built(step *s) {
    for (int64_t round = 0; round < s->rounds; round++) {
        step_pass_over(s, s->w->values, 1, s->busy); /* gradients begin from zero */
        step_run_forward(s);
        run_backward_reducing(s);
    }
    tell_all(s, 8.0 * s->w->param_count); /* squares for the norm */
    step_update(s, false);
    share_values(s);
    step_refresh(s, s->w->values);
    tell_all(s, 24); /* the meeting behind a step */
}

/* A step as this program shares it out (docs/parallel.md). */
#include "study/step_parts.h"

#include "base/memory.h"
#include "comm/reduce.h"
#include <math.h>
#include <stdlib.h>

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
            step_compute(s, r, machine_memory_seconds(s->m, s->c->local, 3 * ranks * bytes[r]), s->update);
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

void step_as_built(step *s) {
    for (int64_t round = 0; round < s->rounds; round++) {
        step_pass_over(s, s->w->values, 1, s->busy); /* gradients begin from zero */
        step_run_forward(s);
        step_run_ends(s, 3);
        for (int i = s->w->block_count - 1; i >= 0; i--) step_run_block(s, &s->w->blocks[i], 2);
        reduce_to_owners(s);
    }
    tell_all(s, 8.0 * s->w->param_count); /* squares for the norm */
    step_update(s, false);
    share_values(s);
    step_refresh(s, s->w->values);
    tell_all(s, 24); /* the meeting behind a step */
}

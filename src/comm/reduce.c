#include "comm/reduce.h"
#include "base/memory.h"
#include "comm/parts.h"
#include <stdlib.h>

/* Some floats of one stretch. */
typedef struct piece {
    const comm_stretch *of;
    int64_t from, count;
} piece;

/* Where each owner's stretches are continued in the next exchange. */
typedef struct cursor {
    int stretch;
    int64_t from;
} cursor;

typedef struct reducer {
    comm *c;
    const kernels *k;
    const comm_stretch *stretches;
    int count;
    int64_t round, rounds;
    int64_t bucket;  /* floats of one owner in one exchange */
    cursor *next;    /* [ranks] */
    float *received; /* device [ranks][bucket]; the own row is where a sum without a place of its own is formed */
    piece *own;      /* of this exchange */
    int own_count, own_capacity;
    message_list out, in;
} reducer;

static bool is_first(const reducer *r) {
    return r->round == 0;
}
static bool is_last(const reducer *r) {
    return r->round + 1 == r->rounds;
}

static void add_own(reducer *r, piece p) {
    if (r->own_count == r->own_capacity) {
        r->own_capacity = r->own_capacity ? 2 * r->own_capacity : 64;
        r->own = xrealloc(r->own, (size_t)r->own_capacity * sizeof *r->own);
    }
    r->own[r->own_count++] = p;
}

/* The rank that has what a rank's micro-batch made: itself, where no groups are. */
static int holder_of(const comm_stretch *s, int rank) {
    return s->group > 1 ? rank - rank % s->group + s->owner % s->group : rank;
}

/* Where this rank has it. */
static float *made_by(const comm_stretch *s, int rank) {
    const int place = s->group > 1 ? rank % s->group : 0;
    return place == 0 ? s->data : s->more + (place - 1) * s->count;
}

/* The messages of a piece, micro-batch by micro-batch: to its owner, or from those who have them to this rank. */
static void send_piece(reducer *r, piece p, int64_t at) {
    const size_t bytes = (size_t)p.count * sizeof(float);
    const bool is_own = p.of->owner == r->c->rank;
    if (is_own) add_own(r, p);
    for (int rank = 0; rank < r->c->ranks; rank++) {
        const int holder = holder_of(p.of, rank);
        if (is_own && holder != r->c->rank)
            message_list_add(&r->in, holder, r->received + rank * r->bucket + at, bytes);
        if (!is_own && holder == r->c->rank)
            message_list_add(&r->out, p.of->owner, made_by(p.of, rank) + p.from, bytes);
    }
}

/* The next pieces of an owner's stretches, up to a bucket. */
static void fill_bucket(reducer *r, int owner) {
    cursor *at = &r->next[owner];
    int64_t filled = 0;
    while (at->stretch < r->count && filled < r->bucket) {
        const comm_stretch *s = &r->stretches[at->stretch];
        int64_t count = s->owner == owner ? s->count - at->from : 0;
        if (count > r->bucket - filled) count = r->bucket - filled;
        if (count > 0) send_piece(r, (piece){.of = s, .from = at->from, .count = count}, filled);
        filled += count;
        at->from += count;
        if (s->owner != owner || at->from == s->count) *at = (cursor){.stretch = at->stretch + 1};
    }
}

/* sum (+)= the micro-batches' pieces, in their order. */
static void add_piece(const reducer *r, piece p, int64_t at) {
    const size_t bytes = (size_t)p.count * sizeof(float);
    float *data = p.of->data + p.from;
    float *scratch = r->received + r->c->rank * r->bucket + at, *sum = p.of->sum ? p.of->sum + p.from : scratch;
    for (int rank = 0; rank < r->c->ranks; rank++) {
        const float *theirs =
            holder_of(p.of, rank) == r->c->rank ? made_by(p.of, rank) + p.from : r->received + rank * r->bucket + at;
        if (rank == 0 && is_first(r))
            r->k->copy(sum, theirs, bytes);
        else
            r->k->add(sum, theirs, p.count);
    }
    if (is_last(r)) r->k->copy(data, sum, bytes);
}

static status reduce_bucket(reducer *r) {
    r->own_count = r->out.count = r->in.count = 0;
    for (int owner = 0; owner < r->c->ranks; owner++) fill_bucket(r, owner);
    TRY(r->c->exchange(r->c, r->out.items, r->out.count, r->in.items, r->in.count));
    int64_t at = 0;
    for (int i = 0; i < r->own_count; i++) {
        add_piece(r, r->own[i], at);
        at += r->own[i].count;
    }
    return STATUS_OK;
}

static bool is_done(const reducer *r) {
    for (int owner = 0; owner < r->c->ranks; owner++)
        if (r->next[owner].stretch < r->count) return false;
    return true;
}

static status reduce_ranks(reducer *r) {
    const comm *c = r->c;
    r->bucket = (int64_t)REDUCE_BYTES / (int64_t)sizeof(float) / c->ranks;
    TRY(r->k->alloc((void **)&r->received, (size_t)(r->bucket * c->ranks) * sizeof(float)));
    r->next = xcalloc((size_t)c->ranks, sizeof *r->next);
    status s = STATUS_OK;
    while (s == STATUS_OK && !is_done(r)) s = reduce_bucket(r);
    r->k->release(r->received);
    free(r->next);
    free(r->own);
    free(r->out.items);
    free(r->in.items);
    return s;
}

/* The same sums where every micro-batch is this rank's own: a + b is b + a, so that the last one may stay where it is. */
static void reduce_alone(const reducer *r) {
    for (int i = 0; i < r->count; i++) {
        const comm_stretch *s = &r->stretches[i];
        if (is_first(r) && !is_last(r)) r->k->copy(s->sum, s->data, (size_t)s->count * sizeof(float));
        if (!is_first(r) && !is_last(r)) r->k->add(s->sum, s->data, s->count);
        if (!is_first(r) && is_last(r)) r->k->add(s->data, s->sum, s->count);
    }
}

status comm_reduce(comm *c, const kernels *k, const comm_stretch *stretches, int count, int64_t round, int64_t rounds) {
    reducer r = {.c = c, .k = k, .stretches = stretches, .count = count, .round = round, .rounds = rounds};
    if (c->ranks > 1) return reduce_ranks(&r);
    reduce_alone(&r);
    return STATUS_OK;
}

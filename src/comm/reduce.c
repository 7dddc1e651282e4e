#include "comm/reduce.h"
#include "base/memory.h"
#include "base/progress.h"
#include "comm/parts.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Some floats of one stretch, and where they lie in its owner's rows of the bucket. */
typedef struct piece {
    const comm_stretch *of;
    int64_t from, count, at;
} piece;

/* What is exchanged together: the pieces up to the next bucket's first. */
typedef struct bucket {
    int first, end;
    int stage; /* of the latest of them */
} bucket;

struct comm_reduction {
    comm *c;
    const kernels *k;
    const comm_stretch *stretches;
    int count;

    /* the plan */
    piece *pieces;
    bucket *buckets;
    int piece_count, piece_capacity, bucket_count, bucket_capacity;
    int64_t row; /* floats of a bucket that are this rank's to sum, at most */
    float *
        received; /* device [REDUCE_FLIGHTS][ranks][row]; the own row is where a sum without a place of its own is formed */
    int64_t capacity; /* of it, floats */

    /* of the round */
    int64_t round, rounds;
    int stage;                            /* that has been reached */
    int begun, landed;                    /* buckets: those in between are under way */
    comm_flight *flights[REDUCE_FLIGHTS]; /* of bucket b at b % REDUCE_FLIGHTS */
    double since, waited;                 /* when the first of them began, and what had been waited then */
    message_list out, in;
};

comm_reduction *comm_reduction_create(comm *c, const kernels *k) {
    comm_reduction *r = xcalloc(1, sizeof *r);
    r->c = c;
    r->k = k;
    return r;
}

/* What is under way when a rank fails stays so: messages may still come to the buffer, which the process keeps until it ends. */
void comm_reduction_destroy(comm_reduction *r) {
    if (!r) return;
    if (r->landed < r->begun)
        r->c->lost = true;
    else
        r->k->release(r->received);
    free(r->pieces);
    free(r->buckets);
    free(r->out.items);
    free(r->in.items);
    free(r);
}

/* ---- the plan: the same on all ranks ---- */

static bucket *open_bucket(comm_reduction *r) {
    if (r->bucket_count == r->bucket_capacity) {
        r->bucket_capacity = 2 * r->bucket_capacity + 16;
        r->buckets = xrealloc(r->buckets, (size_t)r->bucket_capacity * sizeof *r->buckets);
    }
    bucket *b = &r->buckets[r->bucket_count++];
    *b = (bucket){.first = r->piece_count, .end = r->piece_count};
    return b;
}

static void add_piece(comm_reduction *r, bucket *b, piece p) {
    if (r->piece_count == r->piece_capacity) {
        r->piece_capacity = 2 * r->piece_capacity + 64;
        r->pieces = xrealloc(r->pieces, (size_t)r->piece_capacity * sizeof *r->pieces);
    }
    r->pieces[r->piece_count++] = p;
    b->end = r->piece_count;
    b->stage = p.of->stage;
}

static int64_t most_of(const int64_t *filled, int ranks) {
    int64_t most = 0;
    for (int i = 0; i < ranks; i++) most = filled[i] > most ? filled[i] : most;
    return most;
}

/* What is being laid out: how much of the open bucket each owner has, and with which stretch its part goes on. */
typedef struct layout {
    int64_t most;     /* floats of a bucket for one owner */
    bucket *open;     /* the last one, or NULL */
    int64_t *filled;  /* [ranks] */
    int *next;        /* [ranks] a stretch */
    int64_t *offsets; /* [ranks] in it */
} layout;

/* The owner's next floats, up to the stretch `end`, as far as there is room in the bucket; whether some are left. */
static bool fill(comm_reduction *r, layout *l, int owner, int end) {
    for (; l->next[owner] < end; l->next[owner]++, l->offsets[owner] = 0) {
        const comm_stretch *s = &r->stretches[l->next[owner]];
        const int64_t left = s->owner == owner ? s->count - l->offsets[owner] : 0;
        const int64_t room = l->most - l->filled[owner], count = left < room ? left : room;
        if (count > 0) {
            if (!l->open) l->open = open_bucket(r);
            add_piece(r, l->open, (piece){.of = s, .from = l->offsets[owner], .count = count, .at = l->filled[owner]});
            l->filled[owner] += count;
            l->offsets[owner] += count;
        }
        if (count < left) return true;
    }
    return false;
}

static void close_bucket(comm_reduction *r, layout *l) {
    if (l->filled[r->c->rank] > r->row) r->row = l->filled[r->c->rank];
    memset(l->filled, 0, (size_t)r->c->ranks * sizeof *l->filled);
    l->open = NULL;
}

/* A stage's stretches: every bucket has a part for each owner that has some left, so that all of them receive at the same time. The last
 * one goes without waiting for a later stage where there is something worth sending. */
static void lay_out_stage(comm_reduction *r, layout *l, int first, int end) {
    const int ranks = r->c->ranks;
    for (int owner = 0; owner < ranks; owner++) l->next[owner] = first, l->offsets[owner] = 0;
    for (bool more = true; more;) {
        more = false;
        for (int owner = 0; owner < ranks; owner++) more |= fill(r, l, owner, end);
        if (more || most_of(l->filled, ranks) >= REDUCE_LEAST / (int64_t)sizeof(float)) close_bucket(r, l);
    }
}

static void lay_out(comm_reduction *r) {
    const size_t ranks = (size_t)r->c->ranks;
    layout l = {.most = (int64_t)REDUCE_BYTES / (int64_t)sizeof(float) / r->c->ranks};
    l.filled = xcalloc(ranks, sizeof *l.filled);
    l.next = xcalloc(ranks, sizeof *l.next);
    l.offsets = xcalloc(ranks, sizeof *l.offsets);
    r->piece_count = r->bucket_count = 0;
    r->row = 0;
    for (int first = 0, end; first < r->count; first = end) {
        for (end = first + 1; end < r->count && r->stretches[end].stage == r->stretches[first].stage;) end++;
        lay_out_stage(r, &l, first, end);
    }
    close_bucket(r, &l);
    free(l.filled);
    free(l.next);
    free(l.offsets);
}

status comm_reduction_plan(comm_reduction *r, const comm_stretch *stretches, int count) {
    r->stretches = stretches;
    r->count = count;
    r->begun = r->landed = 0;
    if (r->c->ranks == 1) return STATUS_OK;
    lay_out(r);
    const int64_t floats = REDUCE_FLIGHTS * r->c->ranks * r->row;
    if (floats <= r->capacity) return STATUS_OK;
    r->k->release(r->received);
    r->received = NULL;
    r->capacity = 0;
    TRY(r->k->alloc((void **)&r->received, (size_t)floats * sizeof *r->received));
    r->capacity = floats;
    return STATUS_OK;
}

/* ---- one bucket ---- */

/* The rank that has what a rank's micro-batch made: itself, where no groups are. */
static int holder_of(const comm_stretch *s, int rank) {
    return s->group > 1 ? rank - rank % s->group + s->owner % s->group : rank;
}

/* Where this rank has it. */
static float *made_by(const comm_stretch *s, int rank) {
    const int place = s->group > 1 ? rank % s->group : 0;
    return place == 0 ? s->data : s->more + (place - 1) * s->count;
}

/* Where a rank's part of an own piece comes to. */
static float *row_of(const comm_reduction *r, int number, int rank, const piece *p) {
    return r->received + ((int64_t)(number % REDUCE_FLIGHTS) * r->c->ranks + rank) * r->row + p->at;
}

/* The messages of a piece, micro-batch by micro-batch: to its owner, or from those who have them to this rank. */
static void send_piece(comm_reduction *r, int number, const piece *p) {
    const size_t bytes = (size_t)p->count * sizeof(float);
    const bool is_own = p->of->owner == r->c->rank;
    for (int rank = 0; rank < r->c->ranks; rank++) {
        const int holder = holder_of(p->of, rank);
        if (is_own && holder != r->c->rank) message_list_add(&r->in, holder, row_of(r, number, rank, p), bytes);
        if (!is_own && holder == r->c->rank)
            message_list_add(&r->out, p->of->owner, made_by(p->of, rank) + p->from, bytes);
    }
}

static status begin_bucket(comm_reduction *r) {
    const bucket *b = &r->buckets[r->begun];
    r->out.count = r->in.count = 0;
    if (r->begun == r->landed) {
        r->since = clock_seconds();
        r->waited = r->c->waited;
    }
    for (int i = b->first; i < b->end; i++) send_piece(r, r->begun, &r->pieces[i]);
    TRY(r->c->begin(r->c, r->out.items, r->out.count, r->in.items, r->in.count,
                    &r->flights[r->begun % REDUCE_FLIGHTS]));
    r->begun++;
    return STATUS_OK;
}

/* sum (+)= the micro-batches' pieces, in their order. */
static void sum_piece(const comm_reduction *r, int number, const piece *p) {
    const comm_stretch *s = p->of;
    const size_t bytes = (size_t)p->count * sizeof(float);
    float *data = s->data + p->from, *sum = s->sum ? s->sum + p->from : row_of(r, number, r->c->rank, p);
    for (int rank = 0; rank < r->c->ranks; rank++) {
        const float *theirs =
            holder_of(s, rank) == r->c->rank ? made_by(s, rank) + p->from : row_of(r, number, rank, p);
        if (rank == 0 && r->round == 0)
            r->k->copy(sum, theirs, bytes);
        else
            r->k->add(sum, theirs, p->count);
    }
    if (r->round + 1 == r->rounds) r->k->copy(data, sum, bytes);
}

static void count_time(comm_reduction *r) {
    const double under_way = clock_seconds() - r->since;
    r->c->reducing += under_way;
    r->c->behind += under_way - (r->c->waited - r->waited);
}

/* The oldest bucket that is under way: whether it is over, and then its sums. */
static status land_bucket(comm_reduction *r, bool wait, bool *over) {
    const int number = r->landed;
    const bucket *b = &r->buckets[number];
    TRY(r->c->look(r->c, r->flights[number % REDUCE_FLIGHTS], wait, over));
    if (!*over) return STATUS_OK;
    r->landed++;
    if (r->landed == r->begun) count_time(r);
    for (int i = b->first; i < b->end; i++)
        if (r->pieces[i].of->owner == r->c->rank) sum_piece(r, number, &r->pieces[i]);
    return STATUS_OK;
}

/* ---- a round ---- */

/* All that can be done without waiting. */
static status advance(comm_reduction *r) {
    for (;;) {
        bool over = true;
        while (over && r->landed < r->begun) TRY(land_bucket(r, false, &over));
        const bool is_next = r->begun < r->bucket_count && r->buckets[r->begun].stage <= r->stage;
        if (!is_next || r->begun - r->landed == REDUCE_FLIGHTS) return STATUS_OK;
        TRY(begin_bucket(r));
    }
}

/* The same sums where every micro-batch is this rank's own: a + b is b + a, so that the last one may stay where it is. */
static void sum_alone(const comm_reduction *r) {
    const bool first = r->round == 0, last = r->round + 1 == r->rounds;
    for (int i = 0; i < r->count; i++) {
        const comm_stretch *s = &r->stretches[i];
        if (first && !last) r->k->copy(s->sum, s->data, (size_t)s->count * sizeof(float));
        if (!first && !last) r->k->add(s->sum, s->data, s->count);
        if (!first && last) r->k->add(s->data, s->sum, s->count);
    }
}

void comm_reduction_begin(comm_reduction *r, int64_t round, int64_t rounds) {
    r->round = round;
    r->rounds = rounds;
    r->stage = -1;
    r->begun = r->landed = 0;
}

status comm_reduction_reach(comm_reduction *r, int stage) {
    if (r->c->ranks == 1) return STATUS_OK;
    if (stage > r->stage) r->stage = stage;
    return advance(r);
}

status comm_reduction_finish(comm_reduction *r) {
    bool over;
    if (r->c->ranks == 1) {
        sum_alone(r);
        return STATUS_OK;
    }
    r->stage = INT_MAX;
    TRY(advance(r));
    while (r->landed < r->bucket_count) {
        TRY(land_bucket(r, true, &over));
        TRY(advance(r));
    }
    return STATUS_OK;
}

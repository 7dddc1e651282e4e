/* Ranks over MPI. Messages are point-to-point and asynchronous, and their end is asked for instead of waited for: so a rank that
 * waits leaves its core to others, and knows for how long it has waited, and for whom. */
#include "base/memory.h"
#include "base/progress.h"
#include "comm/parts.h"
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TAG = 1,
    TAG_BEGUN = 2,     /* of exchanges that are under way behind others */
    TAG_ASKED = 3,     /* whether a rank is there; */
    TAG_HERE = 4,      /* it is. Both without bytes */
    LARGEST = 1 << 30, /* bytes of one MPI message, whose counts are ints */
    EAGER_ASKS = 2000  /* how often it asks before it sleeps in between */
};

/* Requests of one exchange, in the order of its messages, each message one or more. */
typedef struct requests {
    MPI_Request *items;
    int *ranks; /* whom each is with */
    int count, capacity;
} requests;

static void post(requests *r, const comm_message *m, bool sends, int tag) {
    size_t at = 0;
    do {
        if (r->count == r->capacity) {
            r->capacity = 2 * r->capacity + 64;
            r->items = xrealloc(r->items, (size_t)r->capacity * sizeof *r->items);
            r->ranks = xrealloc(r->ranks, (size_t)r->capacity * sizeof *r->ranks);
        }
        const size_t bytes = m->bytes - at < LARGEST ? m->bytes - at : LARGEST;
        char *data = (char *)m->data + at;
        if (sends)
            MPI_Isend(data, (int)bytes, MPI_BYTE, m->rank, tag, MPI_COMM_WORLD, &r->items[r->count]);
        else
            MPI_Irecv(data, (int)bytes, MPI_BYTE, m->rank, tag, MPI_COMM_WORLD, &r->items[r->count]);
        r->ranks[r->count++] = m->rank;
        at += bytes;
    } while (at < m->bytes);
}

/* Receives first: what comes has a place then. */
static void post_all(comm *c, requests *r, const comm_message *send, int sends, const comm_message *receive,
                     int receives, int tag) {
    for (int i = 0; i < receives; i++) post(r, &receive[i], false, tag);
    for (int i = 0; i < sends; i++) post(r, &send[i], true, tag);
    for (int i = 0; i < sends; i++) c->sent += (int64_t)send[i].bytes;
}

static void requests_free(requests *r) {
    free(r->items);
    free(r->ranks);
}

static void pause_a_little(int asked) {
    const struct timespec some = {.tv_nsec = 50000};
    if (asked < EAGER_ASKS)
        sched_yield();
    else
        nanosleep(&some, NULL);
}

/* MPI_Testall says nothing of single ones. */
static bool is_under_way(MPI_Request *request) {
    int done = 0;
    MPI_Test(request, &done, MPI_STATUS_IGNORE);
    return !done;
}

/* ---- who is missing ---- */

static void say(int rank, int tag) {
    MPI_Request said;
    MPI_Isend(NULL, 0, MPI_BYTE, rank, tag, MPI_COMM_WORLD, &said);
    MPI_Request_free(&said);
}

/* Takes in a message without bytes, if there is one. */
static bool heard(int rank, int tag, int *from) {
    MPI_Status found;
    int there = 0;
    MPI_Iprobe(rank, tag, MPI_COMM_WORLD, &there, &found);
    if (!there) return false;
    *from = found.MPI_SOURCE;
    MPI_Recv(NULL, 0, MPI_BYTE, found.MPI_SOURCE, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return true;
}

/* Whoever waits says so to those who ask. */
static void answer(void) {
    int from;
    while (heard(MPI_ANY_SOURCE, TAG_ASKED, &from)) say(from, TAG_HERE);
}

static void answer_until(double when) {
    const struct timespec some = {.tv_nsec = 20000000};
    while (clock_seconds() < when) {
        answer();
        nanosleep(&some, NULL); /* the launcher's SIGTERM ends no sleep */
    }
}

/* Of those that are missing: a rank that only waits, as this one does, for one that is gone says that it is there. Where all of them do,
 * all stay. */
static void keep_silent_ones(bool *is_missing, int ranks) {
    int from, silent = 0;
    bool *is_silent = xcalloc((size_t)ranks, sizeof *is_silent);
    for (int rank = 0; rank < ranks; rank++) {
        is_silent[rank] = is_missing[rank];
        if (is_missing[rank]) say(rank, TAG_ASKED);
    }
    answer_until(clock_seconds() + 1);
    while (heard(MPI_ANY_SOURCE, TAG_HERE, &from)) is_silent[from] = false;
    for (int rank = 0; rank < ranks; rank++) silent += is_silent[rank];
    if (silent > 0) memcpy(is_missing, is_silent, (size_t)ranks * sizeof *is_missing);
    free(is_silent);
}

/* "rank 2" or "ranks 2, 3"; a rank whose messages have all come and gone is not among them. */
static char *missing(requests *r, int ranks) {
    bool *is_missing = xcalloc((size_t)ranks, sizeof *is_missing);
    int count = 0;
    for (int i = 0; i < r->count; i++)
        if (is_under_way(&r->items[i])) is_missing[r->ranks[i]] = true;
    keep_silent_ones(is_missing, ranks);
    char *list = xstrdup("");
    for (int rank = 0; rank < ranks; rank++) {
        if (!is_missing[rank]) continue;
        char *longer = xasprintf("%s%s%d", list, count++ ? ", " : "", rank);
        free(list);
        list = longer;
    }
    char *text = xasprintf("rank%s %s", count == 1 ? "" : "s", list);
    free(list);
    free(is_missing);
    return text;
}

/* The lowest rank that is alive says it and ends the others before they do. */
static status timed_out(const comm *c, requests *r) {
    answer_until(clock_seconds() + 2 * (c->rank < 5 ? c->rank : 5));
    char *whom = missing(r, c->ranks);
    const status s = fail("%s: not heard from for %g s (MOEC_RANK_TIMEOUT): the job ends", whom, c->timeout);
    free(whom);
    return s;
}

/* ---- all messages at once ---- */

static status wait_for(const comm *c, requests *r) {
    const double started = clock_seconds();
    int asked = 0, done = 0;
    MPI_Testall(r->count, r->items, &done, MPI_STATUSES_IGNORE);
    while (!done) {
        pause_a_little(asked++);
        if (asked > EAGER_ASKS) answer();
        if (clock_seconds() - started > c->timeout) return timed_out(c, r);
        MPI_Testall(r->count, r->items, &done, MPI_STATUSES_IGNORE);
    }
    return STATUS_OK;
}

static status exchange(comm *c, const comm_message *send, int sends, const comm_message *receive, int receives) {
    const double started = clock_seconds();
    requests r = {0};
    if (c->lost) return STATUS_FAILED; /* whoever said why */
    post_all(c, &r, send, sends, receive, receives, TAG);
    const status s = r.count > 0 ? wait_for(c, &r) : STATUS_OK;
    requests_free(&r);
    c->waited += clock_seconds() - started;
    c->lost = s != STATUS_OK;
    return s;
}

/* ---- the same in two parts ---- */

struct comm_flight {
    requests r;
};

static status begin(comm *c, const comm_message *send, int sends, const comm_message *receive, int receives,
                    comm_flight **out) {
    const double started = clock_seconds();
    *out = NULL;
    if (c->lost) return STATUS_FAILED;
    comm_flight *f = xcalloc(1, sizeof *f);
    post_all(c, &f->r, send, sends, receive, receives, TAG_BEGUN);
    *out = f;
    c->waited += clock_seconds() - started;
    return STATUS_OK;
}

static status look(comm *c, comm_flight *f, bool wait, bool *over) {
    const double started = clock_seconds();
    int done = f->r.count == 0;
    status s = STATUS_OK;
    *over = false;
    if (c->lost) return STATUS_FAILED;
    if (!done && wait) s = wait_for(c, &f->r);
    if (!done && !wait) MPI_Testall(f->r.count, f->r.items, &done, MPI_STATUSES_IGNORE);
    c->waited += clock_seconds() - started;
    c->lost = s != STATUS_OK;
    *over = s == STATUS_OK && (done || wait);
    if (!*over) return s;
    requests_free(&f->r);
    free(f);
    return STATUS_OK;
}

static void end(comm *c, status s) {
    (void)c;
    fflush(NULL);
    MPI_Abort(MPI_COMM_WORLD, s);
    _Exit(s);
}

/* Where a rank ends by itself, not as all agreed, finalizing would wait for ever. */
static void finalize(void) {
    int done = 0;
    MPI_Finalized(&done);
    if (!done) MPI_Finalize();
}

static void find_neighbours(comm *c) {
    MPI_Comm machine;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    MPI_Comm_rank(machine, &c->local_rank);
    MPI_Comm_size(machine, &c->local_ranks);
    MPI_Comm_free(&machine);
}

status comm_open_mpi(comm *c, const launch *l) {
    int level = 0;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS)
        return fail("MPI cannot be initialised (%s says that there are %d ranks)", l->by, l->ranks);
    *c = (comm){.name = "mpi", .exchange = exchange, .begin = begin, .look = look, .end = end};
    MPI_Comm_rank(MPI_COMM_WORLD, &c->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &c->ranks);
    atexit(finalize);
    if (level < MPI_THREAD_FUNNELED)
        return fail("MPI: expected support for processes with threads (MPI_THREAD_FUNNELED), found none");
    if (c->ranks != l->ranks)
        return fail("MPI: expected the %d ranks of %s, found %d: the launcher is not of moec's MPI (srun: --mpi=pmix)",
                    l->ranks, l->by, c->ranks);
    find_neighbours(c);
    return STATUS_OK;
}

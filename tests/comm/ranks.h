/* Ranks that are threads of one test, with a way to send of their own: mailboxes. */
#ifndef MOEC_TESTS_COMM_RANKS_H
#define MOEC_TESTS_COMM_RANKS_H

#include "test.h"

#include "base/memory.h"
#include "comm/comm.h"
#include <pthread.h>
#include <string.h>

enum { MOST_RANKS = 8 };

typedef struct letter {
    struct letter *next;
    size_t bytes;
    char data[];
} letter;

/* box[from][to]: first letters first; begun: of exchanges that are under way behind others */
typedef struct post_office {
    pthread_mutex_t mutex;
    pthread_cond_t arrived;
    letter *box[MOST_RANKS][MOST_RANKS], *begun[MOST_RANKS][MOST_RANKS];
} post_office;

typedef struct thread_rank {
    comm c; /* first: exchange finds the rest behind it */
    post_office *office;
    void (*body)(comm *c, void *context);
    void *context;
    pthread_t thread;
} thread_rank;

static void put_letter(letter **box, const comm_message *m) {
    letter *l = xmalloc(sizeof *l + m->bytes);
    *l = (letter){.bytes = m->bytes};
    memcpy(l->data, m->data, m->bytes);
    while (*box) box = &(*box)->next;
    *box = l;
}

/* False: it has not come. The office's mutex is held. */
static bool take_letter(letter **box, const comm_message *m) {
    letter *l = *box;
    if (!l) return false;
    *box = l->next;
    if (l->bytes != m->bytes) abort(); /* cmocka's asserts are the main thread's */
    memcpy(m->data, l->data, l->bytes);
    free(l);
    return true;
}

static status exchange_letters(comm *c, const comm_message *send, int sends, const comm_message *receive,
                               int receives) {
    post_office *o = ((thread_rank *)c)->office;
    pthread_mutex_lock(&o->mutex);
    for (int i = 0; i < sends; i++) put_letter(&o->box[c->rank][send[i].rank], &send[i]);
    pthread_cond_broadcast(&o->arrived);
    for (int i = 0; i < receives; i++)
        while (!take_letter(&o->box[receive[i].rank][c->rank], &receive[i])) pthread_cond_wait(&o->arrived, &o->mutex);
    pthread_mutex_unlock(&o->mutex);
    return STATUS_OK;
}

struct comm_flight {
    comm_message *receive;
    int receives, come;
};

static status begin_letters(comm *c, const comm_message *send, int sends, const comm_message *receive, int receives,
                            comm_flight **out) {
    post_office *o = ((thread_rank *)c)->office;
    comm_flight *f = *out = xcalloc(1, sizeof *f);
    f->receives = receives;
    f->receive = xcalloc((size_t)receives + 1, sizeof *f->receive);
    if (receives > 0) memcpy(f->receive, receive, (size_t)receives * sizeof *receive);
    pthread_mutex_lock(&o->mutex);
    for (int i = 0; i < sends; i++) put_letter(&o->begun[c->rank][send[i].rank], &send[i]);
    pthread_cond_broadcast(&o->arrived);
    pthread_mutex_unlock(&o->mutex);
    return STATUS_OK;
}

static status look_for_letters(comm *c, comm_flight *f, bool wait, bool *over) {
    post_office *o = ((thread_rank *)c)->office;
    pthread_mutex_lock(&o->mutex);
    while (f->come < f->receives) {
        const comm_message *m = &f->receive[f->come];
        if (take_letter(&o->begun[m->rank][c->rank], m))
            f->come++;
        else if (wait)
            pthread_cond_wait(&o->arrived, &o->mutex);
        else
            break;
    }
    pthread_mutex_unlock(&o->mutex);
    *over = f->come == f->receives;
    if (!*over) return STATUS_OK;
    free(f->receive);
    free(f);
    return STATUS_OK;
}

static void *run_thread_rank(void *rank) {
    thread_rank *r = rank;
    r->body(&r->c, r->context);
    return NULL;
}

/* Runs body as each of `ranks` ranks; nothing may be left in a mailbox then. */
static void run_ranks(int ranks, void (*body)(comm *c, void *context), void *context) {
    post_office office = {.mutex = PTHREAD_MUTEX_INITIALIZER, .arrived = PTHREAD_COND_INITIALIZER};
    thread_rank all[MOST_RANKS];
    for (int r = 0; r < ranks; r++) {
        all[r] = (thread_rank){.c = {.name = "threads",
                                     .rank = r,
                                     .ranks = ranks,
                                     .exchange = exchange_letters,
                                     .begin = begin_letters,
                                     .look = look_for_letters},
                               .office = &office,
                               .body = body,
                               .context = context};
        assert_int_equal(pthread_create(&all[r].thread, NULL, run_thread_rank, &all[r]), 0);
    }
    for (int r = 0; r < ranks; r++) pthread_join(all[r].thread, NULL);
    for (int from = 0; from < ranks; from++)
        for (int to = 0; to < ranks; to++) assert_true(!office.box[from][to] && !office.begun[from][to]);
}

#endif

#include "serve/side_pass.h"

#include "base/memory.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { MESSAGE_BYTES = 400 };

typedef struct side_job {
    side_work work;
    void *context;
    pass *p;
    status outcome;
    char message[MESSAGE_BYTES];
    bool done;
} side_job;

struct side_pass {
    model *m;
    pass *p; /* of the thread; NULL: there was no memory for one */
    pthread_t thread;
    pthread_mutex_t turn; /* one asks at a time */
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    side_job *job; /* NULL: nothing to do */
    bool stop;
};

static status run_job(void *context) {
    side_job *j = context;
    return j->work(j->p, j->context);
}

/* Watchers of the work that was given up are gone, and the pass may be half run. */
static status renew(void *context) {
    side_pass *s = context;
    pass *was = s->p;
    s->p = NULL;
    pass_destroy(was);
    return pass_create(&s->p, s->m);
}

static void *run(void *context) {
    side_pass *s = context;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->job && !s->stop) pthread_cond_wait(&s->changed, &s->lock);
        side_job *job = s->job;
        if (!job) break;
        pthread_mutex_unlock(&s->lock);
        if (!s->p) (void)memory_guarded(renew, s);
        job->p = s->p;
        job->outcome = job->p ? memory_guarded(run_job, job) : fail("out of memory for a pass beside the texts'");
        if (job->outcome != STATUS_OK) {
            snprintf(job->message, sizeof job->message, "%s", error_message());
            if (memory_guarded(renew, s) != STATUS_OK) s->p = NULL; /* the next one tries again */
        }
        pthread_mutex_lock(&s->lock);
        s->job = NULL;
        job->done = true;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

status side_pass_start(side_pass **out, model *m) {
    side_pass *s = xcalloc(1, sizeof *s);
    s->m = m;
    status outcome = pass_create(&s->p, m);
    pthread_mutex_init(&s->turn, NULL);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (outcome == STATUS_OK && pthread_create(&s->thread, NULL, run, s) != 0)
        outcome = fail("cannot start a thread for embeddings");
    if (outcome != STATUS_OK) {
        pass_destroy(s->p);
        free(s);
        return outcome;
    }
    *out = s;
    return STATUS_OK;
}

void side_pass_stop(side_pass *s) {
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pass_destroy(s->p);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->turn);
    free(s);
}

status side_pass_run(side_pass *s, side_work work, void *context, const still_wanted *wanted) {
    side_job job = {.work = work, .context = context};
    pthread_mutex_lock(&s->turn);
    if (!wanted->is(wanted->context)) {
        pthread_mutex_unlock(&s->turn);
        (void)fail("nobody waits for it any more");
        return STATUS_INTERRUPTED;
    }
    pthread_mutex_lock(&s->lock);
    s->job = &job;
    pthread_cond_broadcast(&s->changed);
    while (!job.done) pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_unlock(&s->turn);
    return job.outcome == STATUS_OK ? STATUS_OK : fail("%s", job.message);
}

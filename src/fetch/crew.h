/* Workers that ask one server side by side, within one budget of requests.
 *
 * What passes (429, 5xx, a lost connection, a stall, an answer that is none) is asked again after a pause that grows; what
 * Retry-After says holds for all workers. The first failure that does not pass is the crew's: nobody begins anything
 * afterwards, and what is on its way is waited for. */
#ifndef MOEC_FETCH_CREW_H
#define MOEC_FETCH_CREW_H

#include "fetch/http.h"
#include <pthread.h>
#include <stdatomic.h>

enum { CREW_MAX_WORKERS = 256 };

typedef struct crew {
    const http_client *like; /* whose endpoint, token and times the workers' clients have */
    const char *model;       /* for messages */
    int64_t most_requests;   /* that may reach the server, lost and refused ones too; 0: any number */
    double timeout;          /* seconds for one answer, from the question to its last byte */
    pthread_mutex_t mutex;   /* of what follows, and of what the workers share otherwise */
    int64_t requests;        /* that reached the server */
    double not_before;
    status outcome; /* of the first worker that failed */
    char *message;
    uint64_t noted; /* the last note: workers that wait for the same say it once */
    atomic_bool stop;
} crew;

typedef struct crew_worker {
    crew *w;
    http_client c;
    http_response r;
    status (*work)(struct crew_worker *k, void *context);
    void *context;
} crew_worker;

/* `count` workers call work(…, context) until it returns; STATUS_OK, or the first failure with its message. */
status crew_run(crew *w, int count, status (*work)(crew_worker *k, void *context), void *context);
void crew_lock(crew *w);
void crew_unlock(crew *w);
/* The budget is spent, or somebody failed: nothing is to be begun. Under the lock. */
bool crew_is_over(const crew *w);
/* Under the lock, with memory guarded: who gives up for want of it must not keep the lock. */
status crew_guarded(crew *w, status (*call)(void *context), void *context);

/* What to make of a 2xx answer's body, which it may change; a failure means that there will be another attempt. */
typedef status (*crew_parser)(void *context, const http_client *c, char *text, size_t bytes);
/* One request, attempted until an answer is taken. STATUS_OK without *answered: the crew is over. */
status crew_ask(crew_worker *k, const http_request *q, crew_parser parse, void *context, bool *answered);

#endif

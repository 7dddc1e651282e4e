#include "fetch/crew.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "fetch/completion.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { POLL_MILLISECONDS = 20 };

void crew_lock(crew *w) {
    pthread_mutex_lock(&w->mutex);
}

void crew_unlock(crew *w) {
    pthread_mutex_unlock(&w->mutex);
}

bool crew_is_over(const crew *w) {
    return w->stop || (w->most_requests && w->requests >= w->most_requests);
}

status crew_guarded(crew *w, status (*call)(void *context), void *context) {
    crew_lock(w);
    status s = memory_guarded(call, context);
    crew_unlock(w);
    return s;
}

/* ---- one request ---- */

static bool take_request(crew *w) {
    crew_lock(w);
    const bool there = !crew_is_over(w);
    if (there) w->requests++;
    crew_unlock(w);
    return there;
}

static void settle_request(crew *w, const http_response *r) {
    crew_lock(w);
    if (!r->reached) w->requests--;
    const double until = r->wait > 0 && r->again ? clock_seconds() + r->wait : 0;
    if (until > w->not_before) w->not_before = until;
    crew_unlock(w);
}

static status wait_until(crew *w, double own) {
    const struct timespec slice = {.tv_nsec = POLL_MILLISECONDS * 1000000L};
    for (;;) {
        crew_lock(w);
        const double until = own > w->not_before ? own : w->not_before;
        crew_unlock(w);
        if (w->stop || clock_seconds() >= until) return STATUS_OK;
        if (interrupt_requested()) return fail("interrupted while waiting"), STATUS_INTERRUPTED;
        nanosleep(&slice, NULL);
    }
}

static status attempt(crew_worker *k, const http_request *q, crew_parser parse, void *context) {
    status s = http_attempt(&k->c, q, &k->r);
    settle_request(k->w, &k->r);
    if (s != STATUS_OK) return completion_explain(&k->c, &k->r, k->w->model, s);
    s = parse(context, &k->c, (char *)k->r.body, k->r.bytes);
    k->r.again = s == STATUS_FAILED; /* a server that is sound otherwise sends such a thing once */
    return s;
}

status crew_ask(crew_worker *k, const http_request *q, crew_parser parse, void *context, bool *answered) {
    double until = 0, pause;
    *answered = false;
    for (int number = 1;; number++) {
        TRY(wait_until(k->w, until));
        if (!take_request(k->w)) return STATUS_OK;
        http_response_clear(&k->r);
        status s = attempt(k, q, parse, context);
        *answered = s == STATUS_OK;
        if (*answered || !k->r.again || s == STATUS_INTERRUPTED) return s;
        TRY(http_again(&k->c, &k->r, number, &pause));
        until = clock_seconds() + pause;
    }
}

/* ---- workers ---- */

static void note(void *context, const char *line) {
    crew *w = context;
    const uint64_t of = crc64(0, line, strlen(line));
    crew_lock(w);
    const bool again = of == w->noted;
    w->noted = of;
    crew_unlock(w);
    if (!again && w->like->note) w->like->note(w->like->note_context, line);
}

static void give_up(crew *w, status s) {
    crew_lock(w);
    if (w->outcome == STATUS_OK) {
        w->outcome = s;
        w->message = strdup(error_message());
    }
    w->stop = true;
    crew_unlock(w);
}

static status begin(void *context) {
    crew_worker *k = context;
    TRY(http_open_like(&k->c, k->w->like));
    k->c.stall_seconds = k->w->timeout; /* nothing comes while the model writes */
    k->c.least_speed = 0;
    k->c.note = note;
    k->c.note_context = k->w;
    return k->work(k, k->context);
}

static void *run_worker(void *context) {
    crew_worker *k = context;
    status s = memory_guarded(begin, k);
    if (s != STATUS_OK) give_up(k->w, s);
    http_response_clear(&k->r);
    http_close(&k->c);
    return NULL;
}

status crew_run(crew *w, int count, status (*work)(crew_worker *k, void *context), void *context) {
    pthread_t *threads = xcalloc((size_t)count, sizeof *threads);
    crew_worker *workers = xcalloc((size_t)count, sizeof *workers);
    int started = 0, error = 0;
    pthread_mutex_init(&w->mutex, NULL);
    for (; started < count; started++) {
        workers[started] = (crew_worker){.w = w, .work = work, .context = context};
        error = pthread_create(&threads[started], NULL, run_worker, &workers[started]);
        if (error) break; /* fewer do it */
    }
    for (int i = 0; i < started; i++) pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&w->mutex);
    free(workers);
    free(threads);
    if (started == 0) return fail("cannot start a thread: %s", strerror(error));
    status s = w->outcome;
    if (s != STATUS_OK) fail("%s", w->message ? w->message : "out of memory");
    free(w->message);
    w->message = NULL;
    return s;
}

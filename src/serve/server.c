#include "base/memory.h"
#include "base/progress.h"
#include "serve/policy.h"
#include "serve/server_parts.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    DEFAULT_BODY_BYTES = 4 << 20,
    DEFAULT_CONNECTIONS = 256,
    SPARE_CONNECTIONS = 64, /* for those who are told that there are too many */
    DEFAULT_REQUEST_SECONDS = 30,
    DEFAULT_IDLE_SECONDS = 60,
    HEAD_BYTES = 32 << 10, /* of a request's head and of libmicrohttpd's other memory for a connection */
    STACK_BYTES = 1 << 20,
    LOOK_MILLISECONDS = 250,
    CUT_SECONDS = 3,
    KEEP_SECONDS = 60 /* between writings of the traffic's file */
};

/* Paths are compared as they come: an escaped letter, dot or NUL makes no other path. */
static size_t leave_escapes(void *context, struct MHD_Connection *connection, char *text) {
    (void)context;
    (void)connection;
    return strlen(text);
}

/* ---- the watcher ---- */

static void wait_a_moment(server *s) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += LOOK_MILLISECONDS * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_nsec -= 1000000000L;
        t.tv_sec++;
    }
    (void)pthread_cond_timedwait(&s->changed, &s->lock, &t);
}

static void *watch(void *context) {
    server *s = context;
    double kept = clock_seconds();
    pthread_mutex_lock(&s->lock);
    while (!s->ended) {
        wait_a_moment(s);
        pthread_mutex_unlock(&s->lock);
        clients_look(s);
        if (clock_seconds() - kept > KEEP_SECONDS) {
            (void)traffic_write(s->traffic); /* server_stop tells of what still fails then */
            kept = clock_seconds();
        }
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void end_watching(server *s) {
    if (!s->watching) return;
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->watcher, NULL);
    s->watching = false;
}

/* ---- starting ---- */

static status start_daemon(server *s) {
    s->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC, 0, NULL, NULL,
        exchange_handle, s, MHD_OPTION_LISTEN_SOCKET, s->listener.socket, MHD_OPTION_NOTIFY_COMPLETED,
        exchange_completed, s, MHD_OPTION_NOTIFY_CONNECTION, clients_notice, s, MHD_OPTION_UNESCAPE_CALLBACK,
        leave_escapes, NULL, MHD_OPTION_CONNECTION_LIMIT, (unsigned)(s->connections + SPARE_CONNECTIONS),
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)s->idle_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HEAD_BYTES, MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END);
    return s->daemon ? STATUS_OK : fail("%s:%d: the HTTP server cannot start", s->listener.host, s->listener.port);
}

static status start(server *s, const server_options *o) {
    TRY(traffic_open(&s->traffic, s->served, o->routing_state));
    if (o->log) TRY(request_log_open(&s->log, o->log));
    s->house = (call_house){
        .s = s->served, .traffic = s->traffic, .metrics = s->metrics, .stopping = &s->stopping, .cut = &s->cut};
    if (pthread_create(&s->watcher, NULL, watch, s) != 0) return fail("cannot start a thread");
    s->watching = true;
    return start_daemon(s);
}

static void free_server(server *s) {
    end_watching(s);
    listener_close(&s->listener);
    traffic_close(s->traffic);
    request_log_close(s->log);
    metrics_free(s->metrics);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->clients.lock);
    free(s->allowed_origin);
    free(s->page_policy);
    free(s);
}

status server_start(server **out, served *served, listener *l, const server_options *o) {
    server *s = xcalloc(1, sizeof *s);
    s->served = served;
    s->listener = *l;
    *l = (listener){.socket = -1};
    s->keys = o->keys;
    s->allowed_origin = o->allowed_origin ? xstrdup(o->allowed_origin) : NULL;
    s->body_bytes = o->body_bytes ? o->body_bytes : DEFAULT_BODY_BYTES;
    s->connections = o->connections ? o->connections : DEFAULT_CONNECTIONS;
    s->request_seconds = o->request_seconds ? o->request_seconds : DEFAULT_REQUEST_SECONDS;
    s->idle_seconds = o->idle_seconds ? o->idle_seconds : DEFAULT_IDLE_SECONDS;
    s->page_policy = page_policy_text(page_html, page_html_bytes);
    s->metrics = metrics_create(route_names, route_count + 1);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->clients.lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    const status outcome = start(s, o);
    if (outcome == STATUS_OK)
        *out = s;
    else
        free_server(s);
    return outcome;
}

/* ---- stopping ---- */

void server_drain(server *s) {
    if (atomic_exchange(&s->stopping, true)) return;
    const MHD_socket listening = MHD_quiesce_daemon(s->daemon);
    if (listening >= 0) s->listener.socket = -1;
    if (listening >= 0) close(listening);
    scheduler_close(s->served->scheduler);
}

bool server_is_idle(server *s) {
    return atomic_load(&s->active) == 0;
}

void server_cut(server *s) {
    server_drain(s);
    atomic_store(&s->cut, true);
    scheduler_stop(s->served->scheduler, false);
}

/* Of answers that were cut only the rest of what says so is still to be sent. */
static void wait_for_answers(server *s) {
    double cut_since = 0;
    while (!server_is_idle(s)) {
        if (atomic_load(&s->cut) && cut_since == 0) cut_since = clock_seconds();
        if (cut_since > 0 && clock_seconds() - cut_since > CUT_SECONDS) return;
        usleep(10000);
    }
}

status server_stop(server *s) {
    if (!s) return STATUS_OK;
    server_drain(s);
    wait_for_answers(s);
    MHD_stop_daemon(s->daemon);
    end_watching(s);
    scheduler_stop(s->served->scheduler, true);
    const status outcome = traffic_write(s->traffic);
    free_server(s);
    return outcome;
}

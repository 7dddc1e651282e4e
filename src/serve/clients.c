#include "base/memory.h"
#include "base/progress.h"
#include "serve/server_parts.h"
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void client_enter(client *c, client_phase phase) {
    pthread_mutex_lock(&c->server->clients.lock);
    c->phase = phase;
    c->since = clock_seconds();
    pthread_mutex_unlock(&c->server->clients.lock);
}

bool client_has_left(void *context) {
    const client *c = context;
    struct pollfd p = {.fd = c->socket, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

bool client_was_too_slow(client *c) {
    pthread_mutex_lock(&c->server->clients.lock);
    const bool slow = c->too_slow;
    pthread_mutex_unlock(&c->server->clients.lock);
    return slow;
}

static void add(server *s, struct MHD_Connection *connection, void **context) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    client *c = memory_allows() ? malloc(sizeof *c) : NULL;
    if (!c) return; /* nobody guards this thread here; its requests are refused */
    *c = (client){.server = s, .socket = info ? info->connect_fd : -1, .since = clock_seconds()};
    pthread_mutex_lock(&s->clients.lock);
    c->next = s->clients.first;
    if (c->next) c->next->prev = c;
    s->clients.first = c;
    pthread_mutex_unlock(&s->clients.lock);
    *context = c;
    metrics_connections(s->metrics, atomic_fetch_add(&s->clients.count, 1) + 1);
}

/* The socket is still open here: a number that is looked up under the lock is never another connection's. */
static void drop(server *s, void **context) {
    client *c = *context;
    if (!c) return;
    pthread_mutex_lock(&s->clients.lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->clients.first = c->next;
    if (c->next) c->next->prev = c->prev;
    pthread_mutex_unlock(&s->clients.lock);
    free(c);
    *context = NULL;
    metrics_connections(s->metrics, atomic_fetch_sub(&s->clients.count, 1) - 1);
}

void clients_notice(void *context, struct MHD_Connection *connection, void **socket_context,
                    enum MHD_ConnectionNotificationCode code) {
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        add(context, connection, socket_context);
    else
        drop(context, socket_context);
}

/* ---- deadlines ---- */

/* Nobody else writes to it then: libmicrohttpd waits for the body. */
static void say_too_slow(const client *c) {
    static const char body[] = "{\"error\":{\"message\":\"the request: expected it whole in time, found a part\","
                               "\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}";
    char text[sizeof body + 200];
    const int bytes = snprintf(text, sizeof text,
                               "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n"
                               "Content-Length: %zu\r\n\r\n%s",
                               sizeof body - 1, body);
    (void)!send(c->socket, text, (size_t)bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void cut_off(client *c) {
    if (c->phase == CLIENT_READING) {
        say_too_slow(c);
        c->too_slow = true;
    }
    shutdown(c->socket, SHUT_RDWR);
    c->cut = true;
}

void clients_look(server *s) {
    const double now = clock_seconds();
    pthread_mutex_lock(&s->clients.lock);
    for (client *c = s->clients.first; c; c = c->next) {
        const double allowed = c->phase == CLIENT_READING ? s->request_seconds : s->request_seconds + s->idle_seconds;
        if (c->phase != CLIENT_ANSWERED && !c->cut && now - c->since > allowed) cut_off(c);
    }
    pthread_mutex_unlock(&s->clients.lock);
}

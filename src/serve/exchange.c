/* One request over HTTP: what must be right before its body is read, the body within its bound, the answer. */
#include "base/memory.h"
#include "base/progress.h"
#include "serve/server_parts.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { STREAM_BLOCK = 16384, METHOD_BYTES = 16, BODY_FIRST = 4096 };

typedef struct exchange {
    call c;
    server *s;
    client *peer;
    struct MHD_Connection *connection;
    int route; /* route_count: none */
    char method[METHOD_BYTES];
    api_error refusal; /* http 0: none, so far */
    const char *allow; /* for 405 */
    size_t capacity;   /* of c.body */
    double began;
    bool preflight;
    bool last;    /* the connection closes behind it */
    bool endless; /* the body is longer than the answer is worth, or nobody knows where it ends: it is not waited for */
} exchange;

static const char *header(const exchange *x, const char *name) {
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

/* ---- before the body ---- */

static status check_end(exchange *x) {
    const char *coding = header(x, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    x->endless = coding && strcasecmp(coding, "chunked") != 0;
    if (!x->endless) return STATUS_OK;
    return api_refuse(&x->refusal, HTTP_NOT_IMPLEMENTED, NULL, "Transfer-Encoding: expected chunked, found another");
}

static bool is_json(const char *type) {
    static const char json[] = "application/json";
    const size_t bytes = sizeof json - 1;
    return type && strncasecmp(type, json, bytes) == 0 && (!type[bytes] || type[bytes] == ';' || type[bytes] == ' ');
}

/* Where it listens on loopback alone, browsers are the ones who may be led here by somebody else. */
static status check_browser(exchange *x) {
    const char *host = header(x, MHD_HTTP_HEADER_HOST), *origin = header(x, MHD_HTTP_HEADER_ORIGIN);
    if (!x->s->listener.loopback) return STATUS_OK;
    if (!listener_is_named(&x->s->listener, host))
        return api_refuse(&x->refusal, HTTP_MISDIRECTED, NULL,
                          "Host: expected localhost or an address of this machine, found another name");
    if (!origin_is_own(origin, host, x->s->allowed_origin))
        return api_refuse(&x->refusal, HTTP_FORBIDDEN, NULL,
                          "Origin: expected this server's own page, found another (--allow-origin allows one)");
    return STATUS_OK;
}

static status check_route(exchange *x, const char *method, const char *path) {
    const char *allow;
    const int found = route_find(method, path, &x->c.rest, &allow);
    x->route = found >= 0 ? found : route_count;
    if (found >= 0) return STATUS_OK;
    x->allow = allow;
    x->preflight = allow && strcmp(method, "OPTIONS") == 0 && x->s->allowed_origin;
    if (x->preflight) return STATUS_OK;
    if (allow)
        return api_refuse(&x->refusal, HTTP_METHOD_NOT_ALLOWED, NULL, "expected the method %s here, found another",
                          allow);
    return api_refuse(&x->refusal, HTTP_NOT_FOUND, NULL, "expected a path that is served, found another");
}

static status check_key(exchange *x) {
    const bool asked = x->s->keys && x->s->keys->count > 0 && !x->preflight;
    if (!asked || (x->route < route_count && routes[x->route].kind == ROUTE_OPEN)) return STATUS_OK;
    if (api_keys_know(x->s->keys, header(x, MHD_HTTP_HEADER_AUTHORIZATION))) return STATUS_OK;
    (void)api_refuse(&x->refusal, HTTP_UNAUTHORIZED, NULL,
                     "expected a known key (Authorization: Bearer KEY), found none");
    return api_refuse_code(&x->refusal, "invalid_api_key");
}

static status check_body(exchange *x) {
    const char *length = header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    const bool wanted = x->route < route_count && routes[x->route].kind == ROUTE_BODY;
    if (wanted && !is_json(header(x, MHD_HTTP_HEADER_CONTENT_TYPE)))
        return api_refuse(&x->refusal, HTTP_UNSUPPORTED_TYPE, NULL,
                          "Content-Type: expected application/json, found another");
    errno = 0;
    x->endless = length && (strtoull(length, NULL, 10) > x->s->body_bytes || errno);
    if (x->endless)
        return api_refuse(&x->refusal, HTTP_TOO_LARGE, NULL, "the body: expected at most %zu bytes, found more",
                          x->s->body_bytes);
    return STATUS_OK;
}

/* libmicrohttpd takes some more connections than there are to be, for somebody to tell them. */
static status check_room(exchange *x) {
    const bool open = x->route < route_count && routes[x->route].kind == ROUTE_OPEN;
    if (open || atomic_load(&x->s->clients.count) <= x->s->connections) return STATUS_OK;
    x->last = true;
    return api_refuse(&x->refusal, HTTP_UNAVAILABLE, NULL, "expected at most %d connections, found more: come again",
                      x->s->connections);
}

static void check(exchange *x, const char *method, const char *path) {
    if (check_end(x) != STATUS_OK) return;
    if (check_browser(x) != STATUS_OK) return;
    if (check_route(x, method, path) != STATUS_OK) return;
    if (check_room(x) != STATUS_OK) return;
    if (check_key(x) != STATUS_OK) return;
    (void)check_body(x);
}

/* ---- the body ---- */

static void take(exchange *x, const char *bytes, size_t count) {
    call *c = &x->c;
    if (x->refusal.http) return; /* it is read to its end, for the answer to be seen, and forgotten */
    if (c->body_bytes + count > x->s->body_bytes) {
        free(c->body);
        c->body = NULL;
        c->body_bytes = 0;
        (void)api_refuse(&x->refusal, HTTP_TOO_LARGE, NULL, "the body: expected at most %zu bytes, found more",
                         x->s->body_bytes);
        return;
    }
    if (c->body_bytes + count + 1 > x->capacity) {
        x->capacity = 2 * (c->body_bytes + count) + BODY_FIRST;
        c->body = xrealloc(c->body, x->capacity);
    }
    memcpy(c->body + c->body_bytes, bytes, count);
    c->body_bytes += count;
    c->body[c->body_bytes] = '\0';
}

/* ---- the answer ---- */

/* libmicrohttpd counts the time in which it waits for an answer as the connection's silence, and would close it then. */
static void hold(exchange *x, bool on) {
    (void)MHD_set_connection_option(x->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                    on ? 0U : (unsigned)x->s->idle_seconds);
}

static ssize_t read_stream(void *context, uint64_t position, char *text, size_t bytes) {
    exchange *x = context;
    (void)position;
    hold(x, true);
    const int64_t count = event_stream_read(x->c.stream, text, bytes);
    hold(x, false);
    return count > 0    ? (ssize_t)count
           : count == 0 ? MHD_CONTENT_READER_END_OF_STREAM
                        : MHD_CONTENT_READER_END_WITH_ERROR;
}

static struct MHD_Response *response_of(exchange *x) {
    call *c = &x->c;
    if (c->stream) return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, x, NULL);
    if (c->page) return MHD_create_response_from_buffer(c->bytes, (void *)c->page, MHD_RESPMEM_PERSISTENT);
    char *text = c->text;
    c->text = NULL;
    return MHD_create_response_from_buffer(c->bytes, text, MHD_RESPMEM_MUST_FREE);
}

static void add_headers(const exchange *x, struct MHD_Response *r) {
    const char *allowed = x->s->allowed_origin;
    if (x->c.type) MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, x->c.type);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    if (x->c.page) {
        MHD_add_response_header(r, "Content-Security-Policy", x->s->page_policy);
        MHD_add_response_header(r, "Referrer-Policy", "no-referrer");
    }
    if (x->c.http == HTTP_TOO_MANY || x->c.http == HTTP_UNAVAILABLE)
        MHD_add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    if (x->c.http == HTTP_UNAUTHORIZED) MHD_add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (x->allow) MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, x->allow);
    if (x->last || atomic_load(&x->s->stopping)) MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    if (!allowed) return;
    MHD_add_response_header(r, "Access-Control-Allow-Origin", allowed);
    MHD_add_response_header(r, "Vary", "Origin");
    if (x->preflight) {
        MHD_add_response_header(r, "Access-Control-Allow-Methods", "GET, POST");
        MHD_add_response_header(r, "Access-Control-Allow-Headers", "authorization, content-type");
    }
}

static enum MHD_Result send_answer(exchange *x) {
    struct MHD_Response *r = response_of(x);
    if (!r) return MHD_NO;
    add_headers(x, r);
    const enum MHD_Result queued = MHD_queue_response(x->connection, (unsigned)x->c.http, r);
    MHD_destroy_response(r);
    return queued;
}

static status run_route(void *context) {
    exchange *x = context;
    if (x->refusal.http)
        reply_error(&x->c, &x->refusal);
    else if (x->preflight)
        reply_text(&x->c, HTTP_NO_CONTENT, NULL, xstrdup(""));
    else
        routes[x->route].run(&x->c);
    return STATUS_OK;
}

static enum MHD_Result answer_it(exchange *x) {
    client_enter(x->peer, CLIENT_ANSWERED);
    hold(x, true);
    if (!x->c.body) x->c.body = xstrdup("");
    if (memory_guarded(run_route, x) != STATUS_OK) {
        (void)api_refuse_failure(&x->refusal, HTTP_INTERNAL, NULL);
        reply_error(&x->c, &x->refusal);
    }
    free(x->c.body);
    x->c.body = NULL;
    hold(x, false);
    return x->c.gone ? MHD_NO : send_answer(x);
}

/* ---- its life ---- */

static exchange *begin(server *s, struct MHD_Connection *connection, const char *method) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    exchange *x = xcalloc(1, sizeof *x);
    x->s = s;
    x->connection = connection;
    x->route = route_count; /* until check_route knows better */
    x->peer = info->socket_context;
    x->began = clock_seconds();
    x->c.house = &s->house;
    x->c.client_left = client_has_left;
    x->c.client = x->peer;
    snprintf(x->method, sizeof x->method, "%s", method);
    atomic_fetch_add(&s->active, 1);
    client_enter(x->peer, CLIENT_READING);
    return x;
}

/* What libmicrohttpd has come with. */
typedef struct arrival {
    server *s;
    struct MHD_Connection *connection;
    const char *path, *method, *upload;
    size_t *upload_bytes;
    exchange **mine; /* NULL in it: a request begins */
    enum MHD_Result result;
} arrival;

static enum MHD_Result take_arrival(arrival *a) {
    exchange *x = *a->mine;
    if (!x) {
        *a->mine = x = begin(a->s, a->connection, a->method);
        check(x, a->method, a->path);
        return x->endless ? answer_it(x) : MHD_YES;
    }
    if (*a->upload_bytes > 0) {
        take(x, a->upload, *a->upload_bytes);
        *a->upload_bytes = 0;
        return MHD_YES;
    }
    return answer_it(x);
}

static status take_guarded(void *context) {
    arrival *a = context;
    a->result = take_arrival(a);
    return STATUS_OK;
}

/* Where there is no memory even for an error, the connection is closed, and no more than that. */
enum MHD_Result exchange_handle(void *context, struct MHD_Connection *connection, const char *path, const char *method,
                                const char *version, const char *upload, size_t *upload_bytes, void **mine) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    arrival a = {context, connection, path, method, upload, upload_bytes, (exchange **)mine, MHD_NO};
    (void)version;
    if (!info || !info->socket_context) return MHD_NO; /* clients.c had no memory for it */
    return memory_guarded(take_guarded, &a) == STATUS_OK ? a.result : MHD_NO;
}

static void client_text(struct MHD_Connection *connection, char text[INET6_ADDRSTRLEN]) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *a = info ? info->client_addr : NULL;
    text[0] = '\0';
    if (a && a->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, text, INET6_ADDRSTRLEN);
    else if (a && a->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, text, INET6_ADDRSTRLEN);
}

void exchange_completed(void *context, struct MHD_Connection *connection, void **mine,
                        enum MHD_RequestTerminationCode code) {
    server *s = context;
    exchange *x = *mine;
    if (!x) return;
    const bool left = code != MHD_REQUEST_TERMINATED_COMPLETED_OK;
    const double seconds = clock_seconds() - x->began;
    char from[INET6_ADDRSTRLEN];
    client_text(connection, from);
    if (client_was_too_slow(x->peer)) x->c.http = HTTP_REQUEST_TIMEOUT;
    metrics_count(s->metrics, x->route, left && x->c.http != HTTP_REQUEST_TIMEOUT ? 0 : x->c.http, seconds);
    request_log_write(s->log, from, x->method, route_names[x->route], &x->c, left, seconds);
    client_enter(x->peer, CLIENT_IDLE);
    call_free(&x->c);
    free(x);
    *mine = NULL;
    atomic_fetch_sub(&s->active, 1);
}

/* moec serve: one model behind HTTP (docs/serve.md is its manual). From the caller's side:
 *     listener_open(&l, host, port);  served_start(&s, model, tokenizer, …);
 *     server_start(&server, s, &l, &options);       answers from now on, in threads of its own
 *     server_drain(server);                         no new connections, no new texts; those under way are finished
 *     server_is_idle(server) …
 *     server_cut(server);                           those that still are under way end with an error that says so
 *     server_stop(server);                          when all answers are out
 * A connection has a thread (libmicrohttpd's thread-per-connection), so that reading a long body, tokenising and writing
 * JSON delay nobody else; the scheduler's thread never waits for one. */
#ifndef MOEC_SERVE_SERVER_H
#define MOEC_SERVE_SERVER_H

#include "serve/keys.h"
#include "serve/listener.h"
#include "serve/served.h"
#include "serve/traffic.h"

typedef struct server_options {
    const api_keys *keys;       /* NULL or empty: nobody is asked for one */
    const char *allowed_origin; /* of pages elsewhere that may ask (CORS); NULL: none */
    size_t body_bytes;          /* of a request, at most; 0: 4 MiB */
    int connections;            /* open ones; some more are told so, with 503, and the rest cut off. 0: 256 */
    int request_seconds;        /* within which a request must have come in whole; 0: 30 */
    int idle_seconds;           /* without a byte either way, after which a connection is closed; 0: 60 */
    const char *routing_state;  /* the file of traffic.h; NULL: none */
    const char *log;            /* a line of JSON for each request is put behind what is there; NULL: none */
} server_options;

typedef struct server server;
/* The served model lives longer. The listener is closed by the server. */
status server_start(server **out, served *s, listener *l, const server_options *o);
void server_drain(server *s);
bool server_is_idle(server *s); /* no request is under way */
void server_cut(server *s);
/* Waits for the answers that are under way, and ends. STATUS_FAILED: what was to be kept could not be written. NULL is
 * fine. */
status server_stop(server *s);

#endif

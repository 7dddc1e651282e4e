/* A line of JSON for each request: when, which route, how it ended, how long it took, how many tokens; never its texts,
 * and no keys. */
#ifndef MOEC_SERVE_REQUEST_LOG_H
#define MOEC_SERVE_REQUEST_LOG_H

#include "serve/call.h"

typedef struct request_log request_log;
status request_log_open(request_log **out, const char *path); /* behind what is there */
void request_log_close(request_log *l);                       /* NULL is fine */
/* left: the client did, before the answer was out. */
void request_log_write(request_log *l, const char *client, const char *method, const char *route, const call *c,
                       bool left, double seconds);

#endif

/* Where a server listens. */
#ifndef MOEC_SERVE_LISTENER_H
#define MOEC_SERVE_LISTENER_H

#include "base/status.h"
#include <stdbool.h>

typedef struct listener {
    char *host; /* as it was asked for */
    int socket; /* listens; −1: closed */
    int port;   /* the one that it has, of 0 that was asked for one that was free */
    bool loopback;
} listener;

/* host: a name or an address. What cannot be had is refused with the address in the message. */
status listener_open(listener *l, const char *host, int port);
void listener_close(listener *l);

/* ---- what browsers are kept from ---- */

/* Whether a Host header (NULL: none, as HTTP/1.0 has it) names this server by a name that no foreign DNS gives it: a page of
 * somewhere else whose name was made to lead to 127.0.0.1 (DNS rebinding) sends its own. Asked where l->loopback alone. */
bool listener_is_named(const listener *l, const char *host_header);
/* Whether an Origin header (NULL: none) is that of the server's own page, or the one that is allowed (NULL: none is). */
bool origin_is_own(const char *origin, const char *host_header, const char *allowed);

#endif

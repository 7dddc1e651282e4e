/* HTTP requests to servers that may be slow, broken or hostile; http.c is the one file that knows how libcurl transfers.
 *
 * Only http and https, redirects too, and none from https to http. The token goes to the endpoint's own origin (scheme,
 * host, port) and nowhere else, whatever redirects say, and is in no message. Every wait has an end: connecting, silence,
 * a trickle, Retry-After; an interrupt (base/progress.h) ends each within a fraction of a second with STATUS_INTERRUPTED.
 * Compressed transfer is never asked for, so bytes received are bytes sent. */
#ifndef MOEC_FETCH_HTTP_H
#define MOEC_FETCH_HTTP_H

#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_MAX_REDIRECTS = 8,
    HTTP_MAX_HEADERS = 1 << 16,   /* bytes of headers, of all hops together */
    HTTP_PROGRESS_BYTES = 1 << 20 /* an attempt that brought so much begins the count of attempts anew */
};

typedef struct http_client {
    char *endpoint; /* whose origin gets the token; no '/' at its end */
    char *token;    /* NULL: none */
    double connect_seconds;
    double stall_seconds; /* a window in which fewer than least_speed bytes/s arrive ends the attempt */
    double least_speed;   /* bytes/s; 0: any byte will do */
    int attempts;         /* at most, for one response */
    double pause_seconds; /* before the second attempt; doubled for each further one, up to most_pause_seconds */
    double most_pause_seconds;
    double most_wait_seconds; /* of a Retry-After; a longer one is an error that says how long */
    /* Told of each pause, in one line; may be NULL. */
    void (*note)(void *context, const char *line);
    void *note_context;
    void *transfers, *transfer; /* libcurl's handles: connections are kept between requests */
} http_client;

/* Default times. The endpoint is checked; a token with anything but printable ASCII is refused (unsaid what it is). */
status http_open(http_client *c, const char *endpoint, const char *token);
/* Another one for the same endpoint, with the token and the times of `like`: a client is one thread's. */
status http_open_like(http_client *c, const http_client *like);
void http_close(http_client *c);

typedef struct http_response http_response;

typedef struct http_request {
    const char *url;
    const char *const *headers; /* "Name: value", to every hop; NULL at their end; may be NULL */
    const char *body;           /* POSTed as JSON unless NULL; a POST follows no redirects */
    size_t body_bytes;
    size_t most_bytes;   /* of the response's body: more is an error */
    double most_seconds; /* for one attempt as a whole; 0: as long as it moves */
    /* Gets the body of a 2xx response as it arrives; what it returns other than STATUS_OK ends the request. NULL: the body
     * is kept in the response. */
    status (*receive)(void *context, const http_response *r, const uint8_t *bytes, size_t count);
    void *context;
} http_request;

typedef struct http_header_line {
    int hop;            /* 0: the first answer, 1: that of its redirect's target, … */
    char *name, *value; /* the name in lower case */
} http_header_line;

struct http_response {
    int code; /* of the last hop; 0: none came */
    int hop;
    http_header_line *headers;
    int header_count;
    uint8_t *body;  /* with a NUL behind; NULL where the request has a receiver */
    size_t bytes;   /* of the body */
    char said[256]; /* the beginning of the body of an answer that is no 2xx */
    bool reached;   /* a request, or a part of one, was sent */
    bool again;     /* it failed in a way that passes: lost, stalled, 408, 429, 5xx */
    double wait;    /* seconds that the server asks for before that; 0: it does not say */
};

/* One attempt with its redirects. STATUS_OK: a whole 2xx response. Otherwise the message says what came, and r->code and
 * r->again what to make of it. The response is to be cleared in any case. */
status http_attempt(http_client *c, const http_request *q, http_response *r);
void http_response_clear(http_response *r);
/* The value of the last hop's header, NULL where it has none; _first: of the first hop that has it. Names in lower case. */
const char *http_header(const http_response *r, const char *name);
const char *http_header_first(const http_response *r, const char *name);

/* After attempt number `attempt` (from 1) failed with r->again: STATUS_OK if there is to be another, *seconds from now, and the
 * note is given; else the failure. */
status http_again(http_client *c, const http_response *r, int attempt, double *seconds);
/* The same, and waits. */
status http_pause(http_client *c, const http_response *r, int attempt);
/* Foreign text for a message as text_shown (url.h) has it, and the token in it as '*'. */
char *http_shown(const http_client *c, const char *text, int most);
/* Attempts with pauses until one works or none is left; a receiver that got bytes of one is not given those of another. */
status http_send(http_client *c, const http_request *q, http_response *r);

#endif

/* One request and what is answered, without a word of HTTP's machinery: routes (routes.h) read the first half and fill in
 * the second. */
#ifndef MOEC_SERVE_CALL_H
#define MOEC_SERVE_CALL_H

#include "serve/answer_json.h"
#include "serve/metrics.h"
#include "serve/served.h"
#include "serve/traffic.h"

/* Text that is made while it is sent. */
typedef struct event_stream event_stream;

typedef struct call_house {
    served *s;
    traffic *traffic;
    metrics *metrics;
    const atomic_bool *stopping; /* no new texts are begun */
    const atomic_bool *cut;      /* and those that are written are given up */
} call_house;

typedef struct call {
    const call_house *house;
    char *body; /* NUL-terminated; "" for none */
    size_t body_bytes;
    const char *rest;                  /* of the path, where a route takes one */
    bool (*client_left)(void *client); /* whether nobody waits for the answer any more */
    void *client;

    int http;         /* the answer's status; 0: none yet */
    const char *type; /* of its content */
    char *text;       /* malloc'ed */
    const char *page; /* instead: text that is there as long as the process is */
    size_t bytes;
    event_stream *stream;   /* instead: text/event-stream; freed with the call */
    bool gone;              /* the client left, and nobody is to be answered */
    const char *error_code; /* for the log; NULL where there is none */
    char param[96];         /* the same: the key that was refused */
    answer_tally tally;     /* for the log; zero where no text was written */
    bool writes;            /* for the log: texts, whose tally this is */
    bool streamed;
} call;

void call_free(call *c); /* what it holds */
/* Until the client leaves or the server gives up what is under way. */
still_wanted call_wanted(call *c);

void reply_json(call *c, int http, cJSON *json); /* json is deleted */
void reply_text(call *c, int http, const char *type, char *text);
void reply_error(call *c, const api_error *e);
/* Either fails with a refusal that is the answer, or c->body is an object, which the caller deletes. */
status call_json(call *c, cJSON **body);

/* ---- event_stream.c: both take over what they are given, r being malloc'ed ---- */

/* Answers with the whole of it; or with 503 where it was cut, 500 where the model failed. */
void reply_answer(call *c, completion_request *r, answer *a);
/* Answers with a stream of it. */
void reply_stream(call *c, completion_request *r, answer *a);
/* Up to `bytes` of the stream, as soon as there are any; 0: it is over; −1: it is to be given up (the client left). */
int64_t event_stream_read(event_stream *s, char *text, size_t bytes);
void event_stream_free(event_stream *s);

#endif

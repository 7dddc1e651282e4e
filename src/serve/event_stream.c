/* Texts on their way to a client: whole, or as server-sent events (WHATWG HTML, 9.2): "data: JSON\n\n" for each chunk,
 * and at last "data: [DONE]\n\n". */
#include "base/memory.h"
#include "base/progress.h"
#include "serve/call.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double LOOK_SECONDS = 0.2; /* how often somebody who waits looks whether the client is there */

struct event_stream {
    call *c;
    completion_request *r;
    answer *a;
    answer_writer *w;
    char *text; /* of the event that is being sent */
    size_t bytes, sent;
    said *heard;   /* what an event is being made of */
    double looked; /* clock_seconds() when the client was last looked for */
    bool said_usage, said_done, failed, given_up;
};

/* ---- whole ---- */

static void free_parts(completion_request *r, answer *a, answer_writer *w) {
    answer_free(a);
    answer_writer_free(w);
    completion_request_free(r);
    free(r);
}

/* Of a text that ended without being one. False: all is well. */
static bool failure(const call *c, const answer_tally *t, api_error *e) {
    if (t->worst == END_ERROR)
        (void)api_refuse(e, HTTP_INTERNAL, NULL, "%s", t->error);
    else if (t->worst == END_CANCELLED)
        (void)api_refuse(e, HTTP_UNAVAILABLE, NULL, "%s",
                         atomic_load(c->house->cut) ? "the server stopped before the text was whole" : "cancelled");
    else
        return false;
    return true;
}

/* Asked as often as one likes; looks now and then, however much is said meanwhile. */
static bool has_left(const call *c, double *looked) {
    const double now = clock_seconds();
    if (now - *looked < LOOK_SECONDS) return false;
    *looked = now;
    return c->client_left(c->client);
}

/* False: the client left. */
static bool collect(const call *c, answer *a, answer_writer *w) {
    double looked = clock_seconds();
    for (bool over = false; !over;) {
        said *x = answer_next(a, LOOK_SECONDS, &over);
        if (x) answer_collect(w, x);
        free(x);
        if (!over && has_left(c, &looked)) return false;
    }
    return true;
}

void reply_answer(call *c, completion_request *r, answer *a) {
    answer_writer *w = answer_writer_create(c->house->s, r, a);
    api_error e = {0};
    c->writes = true;
    c->gone = !collect(c, a, w);
    c->tally = *answer_writer_tally(w);
    if (c->gone)
        c->tally.worst = END_CANCELLED;
    else if (failure(c, &c->tally, &e))
        reply_error(c, &e);
    else
        reply_json(c, HTTP_OK, answer_whole(w));
    free_parts(r, a, w);
}

/* ---- a stream ---- */

void reply_stream(call *c, completion_request *r, answer *a) {
    event_stream *s = xcalloc(1, sizeof *s);
    *s = (event_stream){.c = c, .r = r, .a = a, .looked = clock_seconds()};
    c->writes = true;
    s->w = answer_writer_create(c->house->s, r, a);
    c->http = HTTP_OK;
    c->type = "text/event-stream";
    c->stream = s;
    c->streamed = true;
}

void event_stream_free(event_stream *s) {
    if (!s) return;
    free_parts(s->r, s->a, s->w);
    free(s->heard);
    free(s->text);
    free(s);
}

/* Takes text over. */
static void put_event(event_stream *s, char *text) {
    free(s->text);
    s->text = text;
    s->bytes = strlen(text);
    s->sent = 0;
}

static void set_event(event_stream *s, cJSON *json) {
    char *line = cJSON_PrintUnformatted(json), *text = NULL;
    cJSON_Delete(json);
    if (!line || !memory_allows() || asprintf(&text, "data: %s\n\n", line) < 0) text = NULL;
    free(line);
    if (!text) memory_out(0);
    put_event(s, text);
}

/* Behind the last chunk: an error, or the usage, where it was asked for, and that it is over. False: all was said. */
static bool next_last_event(event_stream *s) {
    api_error e = {0};
    if (s->said_done) return false;
    if (!s->failed && failure(s->c, answer_writer_tally(s->w), &e)) {
        s->failed = s->said_done = true;
        set_event(s, api_error_json(&e));
    } else if (s->r->include_usage && !s->said_usage) {
        s->said_usage = true;
        set_event(s, answer_usage_chunk(s->w));
    } else {
        s->said_done = true;
        put_event(s, xstrdup("data: [DONE]\n\n"));
    }
    return true;
}

/* The chunk of what was said next. A text that was given up has no chunk for its end: an error follows. */
static void set_chunk(event_stream *s, said *x) {
    cJSON *json = answer_chunk(s->w, x);
    const bool given_up = x->is_end && (x->end.reason == END_CANCELLED || x->end.reason == END_ERROR);
    s->c->tally = *answer_writer_tally(s->w);
    if (json && !given_up)
        set_event(s, json);
    else
        cJSON_Delete(json);
}

/* Until there is text to be sent. False: there is none any more, or the client left. */
static bool fill(event_stream *s, bool *left) {
    *left = false;
    while (s->sent == s->bytes) {
        bool over;
        s->heard = answer_next(s->a, LOOK_SECONDS, &over);
        if (s->heard) set_chunk(s, s->heard);
        free(s->heard);
        s->heard = NULL;
        if (over && !next_last_event(s)) return false;
        if (!over && has_left(s->c, &s->looked)) {
            *left = true;
            return false;
        }
    }
    return true;
}

static int64_t read_some(event_stream *s, char *text, size_t bytes) {
    bool left;
    if (!fill(s, &left)) {
        if (left) s->c->tally.worst = END_CANCELLED;
        return left ? -1 : 0;
    }
    const size_t count = s->bytes - s->sent < bytes ? s->bytes - s->sent : bytes;
    memcpy(text, s->text + s->sent, count);
    s->sent += count;
    return (int64_t)count;
}

typedef struct reading {
    event_stream *s;
    char *text;
    size_t bytes;
    int64_t count;
} reading;

static status read_guarded(void *context) {
    reading *r = context;
    r->count = read_some(r->s, r->text, r->bytes);
    return STATUS_OK;
}

/* No event is half sent where one was being made, so a last one can say why there are no more. */
static int64_t give_up(event_stream *s, char *text, size_t bytes) {
    static const char last[] =
        "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,"
        "\"code\":null}}\n\n";
    s->given_up = true;
    s->c->tally.worst = END_ERROR;
    if (bytes < sizeof last - 1) return -1;
    memcpy(text, last, sizeof last - 1);
    return sizeof last - 1;
}

int64_t event_stream_read(event_stream *s, char *text, size_t bytes) {
    reading r = {.s = s, .text = text, .bytes = bytes};
    if (s->given_up) return 0;
    return memory_guarded(read_guarded, &r) == STATUS_OK ? r.count : give_up(s, text, bytes);
}

#include "fetch/http.h"
#include "base/memory.h"
#include "base/progress.h"
#include "fetch/url.h"
#include <ctype.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    POLL_MILLISECONDS = 50,        /* how long an interrupt may wait */
    MOST_BYTES_UNWANTED = 1 << 16, /* of the body of a redirect or an error, which nobody reads */
    TOKEN_PART = 4                 /* bytes of a token that are worth hiding */
};

/* ---- the client ---- */

static void initialize(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static status check_token(const char *token) {
    for (const char *c = token; *c; c++)
        if (*c <= ' ' || *c > '~') return fail("the token: expected printable ASCII without spaces in it");
    return strlen(token) < 4096 ? STATUS_OK : fail("the token: expected fewer than 4096 bytes");
}

status http_open(http_client *c, const char *endpoint, const char *token) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialize);
    *c = (http_client){.connect_seconds = 20,
                       .stall_seconds = 30,
                       .least_speed = 100,
                       .attempts = 6,
                       .pause_seconds = 1,
                       .most_pause_seconds = 30,
                       .most_wait_seconds = 300};
    TRY(url_check("the endpoint", endpoint));
    if (token && *token) TRY(check_token(token));
    c->endpoint = xstrdup(endpoint);
    for (size_t n = strlen(c->endpoint); n > 0 && c->endpoint[n - 1] == '/';) c->endpoint[--n] = '\0';
    if (token && *token) c->token = xstrdup(token);
    c->transfers = curl_multi_init();
    c->transfer = curl_easy_init();
    if (!c->transfers || !c->transfer) memory_out(1);
    return STATUS_OK;
}

status http_open_like(http_client *c, const http_client *like) {
    const http_client times = *like;
    TRY(http_open(c, like->endpoint, like->token));
    const http_client own = *c;
    *c = times;
    c->endpoint = own.endpoint;
    c->token = own.token;
    c->transfers = own.transfers;
    c->transfer = own.transfer;
    return STATUS_OK;
}

void http_close(http_client *c) {
    if (c->transfer) curl_easy_cleanup(c->transfer);
    if (c->transfers) curl_multi_cleanup(c->transfers);
    free(c->endpoint);
    free(c->token);
    *c = (http_client){0};
}

/* ---- responses ---- */

void http_response_clear(http_response *r) {
    for (int i = 0; i < r->header_count; i++) {
        free(r->headers[i].name);
        free(r->headers[i].value);
    }
    free(r->headers);
    free(r->body);
    *r = (http_response){0};
}

const char *http_header(const http_response *r, const char *name) {
    for (int i = r->header_count - 1; i >= 0 && r->headers[i].hop == r->hop; i--)
        if (strcmp(r->headers[i].name, name) == 0) return r->headers[i].value;
    return NULL;
}

const char *http_header_first(const http_response *r, const char *name) {
    for (int i = 0; i < r->header_count; i++)
        if (strcmp(r->headers[i].name, name) == 0) return r->headers[i].value;
    return NULL;
}

/* ---- one hop, as libcurl reports it ---- */

typedef struct exchange {
    http_client *c;
    const http_request *q;
    http_response *r;
    size_t *header_bytes; /* of all hops */
    bool headers_end;     /* the empty line behind them was seen: without it they were cut off */
    uint64_t arrived;     /* bytes of this hop's body */
    status refused;       /* why receiving was ended by us */
    bool enough;          /* nobody reads the rest */
    char error[CURL_ERROR_SIZE];
} exchange;

static int code_of(exchange *x) {
    long code = 0;
    curl_easy_getinfo(x->c->transfer, CURLINFO_RESPONSE_CODE, &code);
    return (int)code;
}

static void keep_header(exchange *x, const char *line, size_t count) {
    const char *colon = memchr(line, ':', count);
    if (!colon) return;
    http_response *r = x->r;
    r->headers = xrealloc(r->headers, (size_t)(r->header_count + 1) * sizeof *r->headers);
    const char *value = colon + 1, *end = line + count;
    while (value < end && isspace((unsigned char)*value)) value++;
    while (end > value && isspace((unsigned char)end[-1])) end--;
    char *name = xasprintf("%.*s", (int)(colon - line), line);
    for (char *c = name; *c; c++) *c = (char)tolower((unsigned char)*c);
    r->headers[r->header_count++] = (http_header_line){r->hop, name, xasprintf("%.*s", (int)(end - value), value)};
}

static size_t on_header(char *line, size_t size, size_t count, void *context) {
    exchange *x = context;
    count *= size;
    if ((*x->header_bytes += count) > HTTP_MAX_HEADERS) {
        x->refused = fail("expected at most %d bytes of headers, found more", HTTP_MAX_HEADERS);
        return 0;
    }
    if (count <= 2 && (*line == '\r' || *line == '\n') && code_of(x) >= 200) x->headers_end = true;
    keep_header(x, line, count);
    return count;
}

static status keep_body(exchange *x, const void *bytes, size_t count) {
    http_response *r = x->r;
    /* Doubling, so that many small pieces stay linear. */
    if (((r->bytes + count) & ~(size_t)0xFFFF) != (r->bytes & ~(size_t)0xFFFF) || !r->body) {
        size_t room = 1 << 16;
        while (room < r->bytes + count + 1) room *= 2;
        r->body = xrealloc(r->body, room);
    }
    memcpy(r->body + r->bytes, bytes, count);
    r->bytes += count;
    r->body[r->bytes] = '\0';
    return STATUS_OK;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context) {
    exchange *x = context;
    count *= size;
    x->arrived += count;
    x->r->code = code_of(x);
    if (x->r->code < 200 || x->r->code > 299) {
        const size_t have = strlen(x->r->said), room = sizeof x->r->said - 1 - have, part = count < room ? count : room;
        memcpy(x->r->said + have, bytes, part);
        x->r->said[have + part] = '\0';
        x->enough = x->arrived > MOST_BYTES_UNWANTED;
        return x->enough ? CURL_WRITEFUNC_ERROR : count;
    }
    if (x->arrived > x->q->most_bytes)
        x->refused = fail("expected at most %zu bytes, found more", x->q->most_bytes);
    else if (x->q->receive)
        x->refused = x->q->receive(x->q->context, x->r, (const uint8_t *)bytes, count);
    else
        x->refused = keep_body(x, bytes, count);
    if (x->refused == STATUS_OK && x->q->receive) x->r->bytes += count;
    return x->refused == STATUS_OK ? count : CURL_WRITEFUNC_ERROR;
}

static struct curl_slist *headers_for(exchange *x, const char *url) {
    struct curl_slist *list = NULL;
    for (const char *const *h = x->q->headers; h && *h; h++) list = curl_slist_append(list, *h);
    if (x->q->body) list = curl_slist_append(list, "Content-Type: application/json");
    list = curl_slist_append(list, "Expect:"); /* no waiting for 100-continue */
    if (x->c->token && url_same_origin(url, x->c->endpoint)) {
        char *line = xasprintf("Authorization: Bearer %s", x->c->token);
        list = curl_slist_append(list, line);
        free(line);
    }
    if (!list) memory_out(1);
    return list;
}

static void set_up(exchange *x, const char *url, struct curl_slist *headers) {
    CURL *t = x->c->transfer;
    curl_easy_reset(t);
    curl_easy_setopt(t, CURLOPT_URL, url);
    curl_easy_setopt(t, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(t, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(t, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(t, CURLOPT_USERAGENT, "moec/" MOEC_VERSION);
    curl_easy_setopt(t, CURLOPT_CONNECTTIMEOUT_MS, (long)(1000 * x->c->connect_seconds));
    curl_easy_setopt(t, CURLOPT_ERRORBUFFER, x->error);
    curl_easy_setopt(t, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(t, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(t, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(t, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L); /* a proxy's are not the server's */
    curl_easy_setopt(t, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(t, CURLOPT_WRITEDATA, x);
    if (x->q->body) {
        curl_easy_setopt(t, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)x->q->body_bytes);
        curl_easy_setopt(t, CURLOPT_POSTFIELDS, x->q->body);
    }
}

/* Drives the one transfer to its end: its CURLcode, or -1 with a message and r->again where we end it. */
static int drive(exchange *x, double deadline) {
    CURLM *m = x->c->transfers;
    double window = clock_seconds();
    uint64_t before = 0;
    for (int running = 1, left;;) {
        curl_multi_perform(m, &running);
        if (!running) {
            CURLMsg *done = curl_multi_info_read(m, &left);
            return done ? (int)done->data.result : (int)CURLE_RECV_ERROR;
        }
        double now = clock_seconds();
        if (interrupt_requested()) {
            fail("interrupted");
            x->refused = STATUS_INTERRUPTED;
            return -1;
        }
        x->r->again = true; /* if it is one of these */
        if (deadline > 0 && now > deadline) return fail("no whole answer within %g seconds", x->q->most_seconds), -1;
        if (now - window > x->c->stall_seconds) {
            double least = x->c->least_speed * x->c->stall_seconds;
            if ((double)(x->arrived - before) < (least > 1 ? least : 1))
                return fail("stalled: %llu bytes in %g seconds", (unsigned long long)(x->arrived - before),
                            x->c->stall_seconds),
                       -1;
            window = now;
            before = x->arrived;
        }
        x->r->again = false;
        curl_multi_poll(m, NULL, 0, POLL_MILLISECONDS, NULL);
    }
}

static bool passes(int result) {
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: /* what a status line that was cut off looks like */
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_PARTIAL_FILE:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return true;
    default:
        return false;
    }
}

static status judge(exchange *x, int result) {
    if (result == -1) return x->refused != STATUS_OK ? x->refused : STATUS_FAILED;
    if (x->refused != STATUS_OK) return x->refused;
    if (result == CURLE_OK && !x->headers_end) {
        x->r->again = true;
        return fail("the connection was lost within the headers");
    }
    if (result == CURLE_OK || x->enough) return STATUS_OK;
    x->r->again = passes(result);
    char *why = text_shown(*x->error ? x->error : curl_easy_strerror((CURLcode)result), 200);
    status s = fail("%s", why);
    free(why);
    return s;
}

/* STATUS_OK: an answer of any code came whole; *target is where a redirect leads (a new string), NULL for none. */
static status one_hop(http_client *c, const http_request *q, http_response *r, const char *url, size_t *header_bytes,
                      double deadline, char **target) {
    exchange x = {.c = c, .q = q, .r = r, .header_bytes = header_bytes};
    struct curl_slist *headers = headers_for(&x, url);
    char *redirect = NULL;
    curl_off_t wait = 0;
    long sent = 0;
    *target = NULL;
    r->code = 0;
    *r->said = '\0';
    set_up(&x, url, headers);
    curl_multi_add_handle(c->transfers, c->transfer);
    status s = judge(&x, drive(&x, deadline));
    r->code = code_of(&x);
    curl_easy_getinfo(c->transfer, CURLINFO_REDIRECT_URL, &redirect);
    curl_easy_getinfo(c->transfer, CURLINFO_RETRY_AFTER, &wait);
    curl_easy_getinfo(c->transfer, CURLINFO_REQUEST_SIZE, &sent);
    if (redirect) *target = xstrdup(redirect);
    r->reached = r->reached || sent > 0;
    r->wait = (double)wait;
    curl_multi_remove_handle(c->transfers, c->transfer);
    curl_slist_free_all(headers);
    return s;
}

/* ---- one attempt ---- */

/* The token in a text, and the beginning of it where the text ends within it, become '*'. */
static void hide(char *said, const char *token) {
    const size_t whole = strlen(token), bytes = strlen(said);
    for (char *echo = said; (echo = strstr(echo, token)); echo += whole) memset(echo, '*', whole);
    for (size_t part = whole < bytes ? whole : bytes; part >= TOKEN_PART; part--)
        if (memcmp(said + bytes - part, token, part) == 0) {
            memset(said + bytes - part, '*', part);
            return;
        }
}

char *http_shown(const http_client *c, const char *text, int most) {
    char *said = xstrdup(text); /* hidden before it is cut: an edge would leave a part of it */
    if (c->token) hide(said, c->token);
    char *shown = text_shown(said, most);
    free(said);
    return shown;
}

/* What the server says of an error, for a message; a new string, NULL if it says nothing that is meant for people. */
static char *explanation(const http_client *c, const http_response *r) {
    const char *header = http_header(r, "x-error-message"), *json = *r->said == '{' ? r->said : NULL;
    if (!header && !json) return NULL;
    return http_shown(c, header ? header : json, 200);
}

/* An answer that is neither 2xx nor a redirect. */
static status refuse_code(const http_client *c, http_response *r) {
    r->again = r->code == 408 || r->code == 429 || (r->code >= 500 && r->code != 501);
    char *shown = explanation(c, r);
    status s = r->code >= 300 && r->code < 400 ? fail("HTTP status %d without a target", r->code)
               : r->code == 429                ? fail("HTTP status 429, too many requests")
               : shown                         ? fail("HTTP status %d: %s", r->code, shown)
                                               : fail("HTTP status %d", r->code);
    free(shown);
    return s;
}

static status check_redirect(const http_request *q, const http_response *r, const char *from, const char *to) {
    if (q->body) return fail("expected an answer, found a redirect (%d)", r->code);
    if (r->hop == HTTP_MAX_REDIRECTS) return fail("expected at most %d redirects, found more", HTTP_MAX_REDIRECTS);
    TRY(url_check("the redirect", to));
    if (url_is_https(from) && !url_is_https(to)) return fail("redirected from https to http");
    return STATUS_OK;
}

static status follow(http_client *c, const http_request *q, http_response *r, char **url) {
    size_t header_bytes = 0;
    double deadline = q->most_seconds > 0 ? clock_seconds() + q->most_seconds : 0;
    for (;;) {
        char *target;
        status s = one_hop(c, q, r, *url, &header_bytes, deadline, &target);
        if (s == STATUS_OK && target && r->code >= 300 && r->code < 400)
            s = check_redirect(q, r, *url, target);
        else if (s == STATUS_OK && (r->code < 200 || r->code > 299))
            s = refuse_code(c, r);
        else if (s == STATUS_OK) {
            free(target);
            return STATUS_OK;
        }
        if (s != STATUS_OK) {
            free(target);
            return s;
        }
        free(*url);
        *url = target;
        r->hop++;
    }
}

status http_attempt(http_client *c, const http_request *q, http_response *r) {
    *r = (http_response){0};
    if (interrupt_requested()) return fail("interrupted"), STATUS_INTERRUPTED;
    TRY(url_check("fetch", q->url));
    char *url = xstrdup(q->url);
    status s = follow(c, q, r, &url);
    if (s != STATUS_OK) {
        char *shown = url_shown(url);
        fail_in(s, "%s", shown);
        free(shown);
    }
    if (s == STATUS_OK && !q->receive && !r->body) r->body = xcalloc(1, 1);
    free(url);
    return s;
}

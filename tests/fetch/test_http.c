/* Requests to servers that behave well, badly and hostile. Each case is a path. */
#include "base/progress.h"
#include "fetch/http.h"
#include "server.h"
#include <signal.h>

typedef struct fixture {
    server s, other; /* `other` is another host as far as tokens go: another port */
    http_client c;
    int times;           /* a path was asked before */
    char authorized[64]; /* what the last request to `other` had as Authorization */
    char body[256];      /* of the last POST */
    double asked_at[8];
    char notes[2048];
} fixture;

static void answer_other(server *s, int fd, const char *request) {
    fixture *f = s->context;
    if (!asked_header(request, "authorization", f->authorized, sizeof f->authorized)) strcpy(f->authorized, "none");
    say_whole(fd, "200 OK", "", "elsewhere", 9);
}

static void redirect(int fd, const char *to) {
    char *line = xasprintf("Location: %s\r\n", to);
    say_whole(fd, "302 Found", line, "<html>", 6);
    free(line);
}

/* What the number behind a '/' says of how many times it goes wrong first. */
static bool fails_first(fixture *f, int times) {
    return f->times++ < times;
}

static void answer(server *s, int fd, const char *request) {
    fixture *f = s->context;
    char path[256], token[64];
    asked_path(request, path, sizeof path);
    if (f->times < 8) f->asked_at[f->times] = clock_seconds();
    if (strcmp(path, "/plain") == 0) {
        say_whole(fd, "200 OK", "X-Thing: a  value \r\n", "hello", 5);
    } else if (strcmp(path, "/token") == 0) {
        if (!asked_header(request, "authorization", token, sizeof token)) strcpy(token, "none");
        say_whole(fd, "200 OK", "", token, strlen(token));
    } else if (strcmp(path, "/post") == 0) {
        snprintf(f->body, sizeof f->body, "%.4s|%s", request, strstr(request, "\r\n\r\n") + 4);
        say_whole(fd, "200 OK", "", "{}", 2);
    } else if (strcmp(path, "/chunked") == 0) {
        say_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: x\r\n\r\n");
    } else if (strcmp(path, "/chunk-cut") == 0) {
        say_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab");
    } else if (strcmp(path, "/chunk-unended") == 0) {
        say_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    } else if (strcmp(path, "/chunk-endless") == 0) {
        say_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 3000; i++) say_text(fd, "a\r\n0123456789\r\n");
    } else if (strncmp(path, "/cut/", 5) == 0) {
        static const char whole[] = "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello";
        say(fd, whole, strtoul(path + 5, NULL, 10));
    } else if (strcmp(path, "/nothing") == 0) {
        return;
    } else if (strcmp(path, "/garbage") == 0) {
        say_text(fd, "\001\002\003 this is no HTTP\r\n\r\n");
    } else if (strcmp(path, "/stall") == 0) {
        stall(s, fd);
    } else if (strcmp(path, "/stall-in-body") == 0) {
        say_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc");
        stall(s, fd);
    } else if (strcmp(path, "/trickle") == 0) {
        say_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n");
        for (int i = 0; i < 100 && !s->stop; i++) {
            if (send(fd, "x", 1, MSG_NOSIGNAL) < 0) break;
            usleep(20000);
        }
    } else if (strcmp(path, "/busy") == 0) {
        if (fails_first(f, 2))
            say_whole(fd, "429 Too Many Requests", "", "slow down", 9);
        else
            say_whole(fd, "200 OK", "", "served", 6);
    } else if (strcmp(path, "/busy-says-when") == 0) {
        if (fails_first(f, 1))
            say_whole(fd, "429 Too Many Requests", "Retry-After: 1\r\n", "", 0);
        else
            say_whole(fd, "200 OK", "", "served", 6);
    } else if (strcmp(path, "/busy-for-days") == 0) {
        say_whole(fd, "429 Too Many Requests", "Retry-After: 86400\r\n", "", 0);
    } else if (strcmp(path, "/broken") == 0) {
        say_whole(fd, "503 Service Unavailable", "", "", 0);
    } else if (strcmp(path, "/absent") == 0) {
        say_whole(fd, "404 Not Found", "X-Error-Message: Repository\033[31m not found\r\n", "<html>", 6);
    } else if (strcmp(path, "/echo") == 0) {
        say_whole(fd, "400 Bad", "", "{\"error\": \"wrong key hf_secret\"}", 32);
    } else if (strcmp(path, "/echo-header") == 0) {
        say_whole(fd, "400 Bad", "X-Error-Message: wrong key hf_secret, hf_secret\r\n", "", 0);
    } else if (strcmp(path, "/endless-error") == 0) {
        say_text(fd, "HTTP/1.1 404 Not Found\r\n\r\n");
        for (int i = 0; i < 300000; i++) say_text(fd, "0123456789abcdef");
    } else if (strcmp(path, "/headers") == 0) {
        say_text(fd, "HTTP/1.1 200 OK\r\n");
        for (int i = 0; i < 10000; i++) say_text(fd, "X-Filler: 0123456789012345678901234567890123456789\r\n");
        say_text(fd, "\r\n");
    } else if (strcmp(path, "/circle") == 0) {
        redirect(fd, "/circle");
    } else if (strcmp(path, "/to-token") == 0) {
        redirect(fd, "token");
    } else if (strcmp(path, "/to-file") == 0) {
        redirect(fd, "file:///etc/passwd");
    } else if (strcmp(path, "/to-gopher") == 0) {
        redirect(fd, "gopher://127.0.0.1/");
    } else if (strcmp(path, "/to-user") == 0) {
        redirect(fd, "http://user:secret@127.0.0.1/");
    } else if (strcmp(path, "/to-nowhere") == 0) {
        say_whole(fd, "302 Found", "", "", 0);
    } else if (strcmp(path, "/to-other") == 0) {
        char *to = xasprintf("%s/x?signature=secret", f->other.url);
        redirect(fd, to);
        free(to);
    } else if (strcmp(path, "/to-closed") == 0) {
        redirect(fd, "http://127.0.0.1:1/x?signature=secret");
    }
}

static void keep_note(void *context, const char *line) {
    fixture *f = context;
    strncat(f->notes, line, sizeof f->notes - strlen(f->notes) - 1);
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    server_start(&f->s, answer, f);
    server_start(&f->other, answer_other, f);
    assert_ok(http_open(&f->c, f->s.url, "hf_secret"));
    f->c.stall_seconds = 0.3;
    f->c.pause_seconds = 0.01;
    f->c.attempts = 3;
    f->c.note = keep_note;
    f->c.note_context = f;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    http_close(&f->c);
    server_stop(&f->s);
    server_stop(&f->other);
    free(f);
    return 0;
}

static status ask(fixture *f, const char *path, http_response *r) {
    char *url = xasprintf("%s%s", f->s.url, path);
    const http_request q = {.url = url, .most_bytes = 20000};
    status s = http_send(&f->c, &q, r);
    free(url);
    return s;
}

static void gives(fixture *f, const char *path, const char *body) {
    http_response r;
    f->times = 0;
    assert_ok(ask(f, path, &r));
    assert_int_equal(r.bytes, strlen(body));
    assert_string_equal((char *)r.body, body);
    http_response_clear(&r);
}

/* requests: how many it takes until given up; 0: any number */
static void refuses(fixture *f, const char *path, const char *part, int requests) {
    http_response r;
    const int before = f->s.requests;
    f->times = 0;
    assert_fails(ask(f, path, &r), part);
    assert_null(strstr(error_message(), "secret")); /* neither token nor signature */
    assert_null(strchr(error_message(), '\033'));
    if (requests && f->s.requests - before != requests) fail_msg("%s: %d requests", path, f->s.requests - before);
    http_response_clear(&r);
}

static void test_answers(void **state) {
    fixture *f = *state;
    http_response r;
    gives(f, "/plain", "hello");
    gives(f, "/chunked", "abcde");
    gives(f, "/token", "Bearer hf_secret");
    gives(f, "/to-token", "Bearer hf_secret");
    assert_ok(ask(f, "/plain", &r));
    assert_int_equal(r.code, 200);
    assert_string_equal(http_header(&r, "x-thing"), "a  value");
    assert_null(http_header(&r, "x-other"));
    http_response_clear(&r);
    assert_ok(ask(f, "/to-token", &r));
    assert_string_equal(http_header_first(&r, "location"), "token");
    assert_null(http_header(&r, "location"));
    http_response_clear(&r);
}

static void test_post(void **state) {
    fixture *f = *state;
    http_response r;
    char *url = xasprintf("%s/post", f->s.url), *circle = xasprintf("%s/circle", f->s.url);
    const http_request q = {.url = url, .body = "{\"a\": 1}", .body_bytes = 8, .most_bytes = 10},
                       moved = {.url = circle, .body = "{}", .body_bytes = 2, .most_bytes = 10};
    assert_ok(http_send(&f->c, &q, &r));
    assert_string_equal(f->body, "POST|{\"a\": 1}");
    http_response_clear(&r);
    assert_fails(http_send(&f->c, &moved, &r), "expected an answer, found a redirect (302)");
    http_response_clear(&r);
    free(url);
    free(circle);
}

static void test_token_stays_with_its_host(void **state) {
    fixture *f = *state;
    gives(f, "/to-other", "elsewhere");
    assert_string_equal(f->authorized, "none");
}

static void test_redirects(void **state) {
    fixture *f = *state;
    refuses(f, "/circle", "expected at most 8 redirects", HTTP_MAX_REDIRECTS + 1);
    refuses(f, "/to-file",
            "the redirect: expected a URL that begins with http:// or https://, found file:///etc/passwd", 1);
    refuses(f, "/to-gopher", "found gopher://", 1);
    refuses(f, "/to-user", "without a user name", 1);
    refuses(f, "/to-nowhere", "HTTP status 302 without a target", 1);
    refuses(f, "/to-closed", "http://127.0.0.1:1/x: ", 3);
}

static void test_again(void **state) {
    fixture *f = *state;
    gives(f, "/busy", "served");
    assert_non_null(strstr(f->notes, "HTTP status 429, too many requests; attempt 2 of 3 in 0.01 s"));
    assert_non_null(strstr(f->notes, "attempt 3 of 3 in 0.02 s")); /* twice as long */
    gives(f, "/busy-says-when", "served");
    assert_true(f->asked_at[1] - f->asked_at[0] > 0.9);
    refuses(f, "/busy-for-days", "asks to wait 86400 seconds, which is more than 300", 1);
    refuses(f, "/broken", "given up after 3 attempts: ", 3);
    refuses(f, "/broken", "HTTP status 503", 3);
    refuses(f, "/echo", "HTTP status 400: {\"error\": \"wrong key *********\"}",
            1); /* what a server echoes is not shown */
    refuses(f, "/echo-header", "HTTP status 400: wrong key *********, *********", 1);
    refuses(f, "/absent", "HTTP status 404: Repository?[31m not found", 1);
}

static void test_cut_at_every_byte(void **state) {
    fixture *f = *state;
    const size_t whole = strlen("HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello");
    char path[32];
    f->c.attempts = 1;
    for (size_t at = 0; at < whole; at++) {
        http_response r;
        snprintf(path, sizeof path, "/cut/%zu", at);
        if (ask(f, path, &r) == STATUS_OK) fail_msg("cut at byte %zu: taken as whole", at);
        if (!r.again) fail_msg("cut at byte %zu: not tried again: %s", at, error_message());
        http_response_clear(&r);
    }
    snprintf(path, sizeof path, "/cut/%zu", whole);
    gives(f, path, "hello");
    refuses(f, "/nothing", "Empty reply", 1);
    refuses(f, "/garbage", f->s.url, 1);
    refuses(f, "/chunk-cut", f->s.url, 1);
    refuses(f, "/chunk-unended", f->s.url, 1);
}

static void test_bounds(void **state) {
    fixture *f = *state;
    f->c.attempts = 1;
    refuses(f, "/chunk-endless", "expected at most 20000 bytes, found more", 1);
    refuses(f, "/headers", "expected at most 65536 bytes of headers, found more", 1);
    refuses(f, "/endless-error", "HTTP status 404", 1);
}

static void test_stalls(void **state) {
    fixture *f = *state;
    f->c.attempts = 1;
    const double before = clock_seconds();
    refuses(f, "/stall", "stalled: 0 bytes in 0.3 seconds", 1);
    refuses(f, "/stall-in-body", "stalled: ", 1);
    refuses(f, "/trickle", "stalled: ", 1);
    f->c.least_speed = 0;
    http_response r;
    char *url = xasprintf("%s/trickle", f->s.url);
    const http_request q = {.url = url, .most_bytes = 1 << 20, .most_seconds = 0.5};
    assert_fails(http_send(&f->c, &q, &r), "no whole answer within 0.5 seconds");
    http_response_clear(&r);
    free(url);
    assert_true(clock_seconds() - before < 5);
}

static void test_endpoints(void **state) {
    (void)state;
    http_client c;
    static const char *const wrong[] = {"ftp://x", "file:///etc",  "",       "huggingface",
                                        "http://", "http://a:b@c", "http:/x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_fails(http_open(&c, wrong[i], NULL), "the endpoint: expected a URL");
        http_close(&c);
    }
    assert_fails(http_open(&c, "http://x", "a\r\nX-Evil: b"), "the token: expected printable ASCII");
    assert_null(strstr(error_message(), "Evil"));
    http_close(&c);
    assert_ok(http_open(&c, "http://x//", ""));
    assert_string_equal(c.endpoint, "http://x");
    assert_null(c.token);
    http_close(&c);
}

/* Last: the interrupt stays. */
static void *interrupt_soon(void *nothing) {
    usleep(100000);
    kill(getpid(), SIGINT);
    return nothing;
}

static void test_interrupt(void **state) {
    fixture *f = *state;
    http_response r;
    pthread_t thread;
    interrupt_catch();
    f->c.stall_seconds = 60;
    assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, NULL), 0);
    const double before = clock_seconds();
    assert_int_equal(ask(f, "/stall", &r), STATUS_INTERRUPTED);
    assert_true(clock_seconds() - before < 2);
    pthread_join(thread, NULL);
    http_response_clear(&r);
}

#define served(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        served(test_answers),   served(test_post),   served(test_token_stays_with_its_host),
        served(test_redirects), served(test_again),  served(test_cut_at_every_byte),
        served(test_bounds),    served(test_stalls), cmocka_unit_test(test_endpoints),
        served(test_interrupt)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

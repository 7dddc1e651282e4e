/* A server of an untrained mixture in this process, and clients of it over sockets. */
#ifndef MOEC_TESTS_SERVE_SPOKEN_H
#define MOEC_TESTS_SERVE_SPOKEN_H

#include "generate/texts.h"
#include "serve/server.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct spoken {
    model *m;
    tokenizer *tok;
    served *served;
    server *server;
    int port;
} spoken;

static inline spoken spoken_start(const served_options *what, const server_options *how) {
    spoken s = {.m = texts_model(DTYPE_F32, 0.3F), .tok = texts_tokenizer()};
    listener l;
    served_options o = *what;
    o.name = "texts";
    if (!o.context) o.context = 400;
    if (!o.choices) o.choices = 16;
    assert_ok(served_start(&s.served, s.m, s.tok, &o));
    assert_ok(listener_open(&l, "127.0.0.1", 0));
    s.port = l.port;
    assert_ok(server_start(&s.server, s.served, &l, how));
    return s;
}

static inline void spoken_stop(spoken *s) {
    if (s->server) assert_ok(server_stop(s->server));
    served_stop(s->served);
    model_destroy(s->m);
    tokenizer_close(s->tok);
}

static inline int dial(int port) {
    const struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

static inline void say_bytes(int fd, const char *text, size_t bytes) {
    while (bytes > 0) {
        const ssize_t sent = send(fd, text, bytes, MSG_NOSIGNAL);
        if (sent <= 0) return;
        text += sent;
        bytes -= (size_t)sent;
    }
}

static inline void post(int fd, const char *path, const char *body) {
    char *text =
        xasprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                  "Content-Length: %zu\r\n\r\n%s",
                  path, strlen(body), body);
    say_bytes(fd, text, strlen(text));
    free(text);
}

/* All that comes until the other end closes; a new string. */
static inline char *hear(int fd) {
    size_t bytes = 0, capacity = 1 << 16;
    char *text = xmalloc(capacity);
    for (ssize_t got; (got = recv(fd, text + bytes, capacity - bytes - 1, 0)) > 0;) {
        bytes += (size_t)got;
        if (capacity - bytes < 4096) text = xrealloc(text, capacity *= 2);
    }
    text[bytes] = '\0';
    return text;
}

static inline char *ask_post(int port, const char *path, const char *body) {
    const int fd = dial(port);
    post(fd, path, body);
    char *text = hear(fd);
    close(fd);
    return text;
}

static inline int status_of(const char *answer) {
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : 0;
}

static inline void assert_status(const char *answer, int status) {
    if (status_of(answer) != status) fail_msg("expected %d, found %.400s", status, answer);
}

static inline void assert_says(const char *answer, const char *part) {
    if (!strstr(answer, part)) fail_msg("\"%s\" is not in %.1200s", part, answer);
}

#endif

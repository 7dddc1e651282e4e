/* A server on 127.0.0.1 that answers as a test tells it, however badly: one connection at a time, one request each. */
#ifndef MOEC_TESTS_FETCH_SERVER_H
#define MOEC_TESTS_FETCH_SERVER_H

#include "test.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_BYTES = 1 << 16 };

typedef struct server server;
typedef void (*server_answer)(server *s, int fd, const char *request); /* the head and body as they came */

struct server {
    int listener, port;
    pthread_t thread;
    server_answer answer;
    void *context;
    atomic_bool stop;
    atomic_int requests;
    char url[64];
};

static inline void say(int fd, const void *bytes, size_t count) {
    const char *next = bytes;
    while (count > 0) {
        ssize_t sent = send(fd, next, count, MSG_NOSIGNAL);
        if (sent <= 0) return;
        next += sent;
        count -= (size_t)sent;
    }
}

static inline void say_text(int fd, const char *text) {
    say(fd, text, strlen(text));
}

/* "200 OK", header lines each with "\r\n" */
static inline void say_whole(int fd, const char *code, const char *headers, const void *body, size_t bytes) {
    char *head = xasprintf("HTTP/1.1 %s\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n", code, headers, bytes);
    say_text(fd, head);
    say(fd, body, bytes);
    free(head);
}

/* Says nothing until the client is gone. */
static inline void stall(server *s, int fd) {
    char byte;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    while (!s->stop && (poll(&wait, 1, 20) == 0 || recv(fd, &byte, 1, 0) > 0)) {}
}

/* The value of a header, without its line end, into `value`. */
static inline bool asked_header(const char *request, const char *name, char *value, size_t room) {
    const size_t length = strlen(name);
    for (const char *line = strstr(request, "\r\n"); line && strncmp(line, "\r\n\r\n", 4) != 0;
         line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':') {
            const char *text = line + 3 + length + strspn(line + 3 + length, " ");
            snprintf(value, room, "%.*s", (int)strcspn(text, "\r\n"), text);
            return true;
        }
    return false;
}

/* The path with its query. */
static inline void asked_path(const char *request, char *path, size_t room) {
    const char *begin = strchr(request, ' ') + 1;
    snprintf(path, room, "%.*s", (int)strcspn(begin, " \r\n"), begin);
}

static inline bool request_is_whole(const char *request) {
    char length[32];
    const char *end = strstr(request, "\r\n\r\n");
    if (!end) return false;
    return !asked_header(request, "content-length", length, sizeof length) ||
           strlen(end + 4) >= strtoul(length, NULL, 10);
}

static inline void *server_run(void *argument) {
    server *s = argument;
    struct pollfd wait = {.fd = s->listener, .events = POLLIN};
    char *request = malloc(REQUEST_BYTES + 1);
    while (!s->stop) {
        if (poll(&wait, 1, 20) <= 0) continue;
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0) continue;
        size_t count = 0;
        for (ssize_t got; count < REQUEST_BYTES && (got = recv(fd, request + count, REQUEST_BYTES - count, 0)) > 0;) {
            count += (size_t)got;
            request[count] = '\0';
            if (request_is_whole(request)) break;
        }
        request[count] = '\0';
        s->requests++;
        if (count) s->answer(s, fd, request);
        shutdown(fd, SHUT_WR);
        close(fd);
    }
    free(request);
    return NULL;
}

static inline void server_start(server *s, server_answer answer, void *context) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    *s = (server){.answer = answer, .context = context, .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(s->listener, 16), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &length), 0);
    s->port = ntohs(address.sin_port);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d", s->port);
    setenv("no_proxy", "127.0.0.1,localhost", 1);
    assert_int_equal(pthread_create(&s->thread, NULL, server_run, s), 0);
}

static inline void server_stop(server *s) {
    s->stop = true;
    pthread_join(s->thread, NULL);
    close(s->listener);
}

#endif

#include "serve/listener.h"

#include "base/memory.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 512 };

static bool is_loopback(const struct sockaddr *a) {
    if (a->sa_family == AF_INET) return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

/* errno of what failed, or 0. */
static int try_address(listener *l, const struct addrinfo *a) {
    const int on = 1;
    struct sockaddr_storage bound;
    socklen_t bytes = sizeof bound;
    l->socket = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->socket < 0) return errno;
    setsockopt(l->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(l->socket, a->ai_addr, a->ai_addrlen) != 0 || listen(l->socket, BACKLOG) != 0 ||
        getsockname(l->socket, (struct sockaddr *)&bound, &bytes) != 0) {
        const int error = errno;
        listener_close(l);
        return error;
    }
    l->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                : ((struct sockaddr_in *)&bound)->sin_port);
    l->loopback = is_loopback((struct sockaddr *)&bound);
    return 0;
}

status listener_open(listener *l, const char *host, int port) {
    const struct addrinfo hints = {
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char service[16];
    int error = EADDRNOTAVAIL;
    *l = (listener){.socket = -1};
    snprintf(service, sizeof service, "%d", port);
    const int unknown = getaddrinfo(host, service, &hints, &found);
    if (unknown != 0)
        return fail_usage("--host: expected a name or an address of this machine, found `%.100s`: %s", host,
                          gai_strerror(unknown));
    for (const struct addrinfo *a = found; a && error != 0; a = a->ai_next) error = try_address(l, a);
    freeaddrinfo(found);
    if (error != 0) return fail("%s:%d: cannot listen: %s", host, port, strerror(error));
    l->host = xstrdup(host);
    return STATUS_OK;
}

void listener_close(listener *l) {
    if (l->socket >= 0) close(l->socket);
    l->socket = -1;
    free(l->host);
    l->host = NULL;
}

/* ---- browsers ---- */

/* "[::1]:8080" → "::1", "localhost:8080" → "localhost", as far as they fit. */
static void name_of(const char *header, char *name, size_t bytes) {
    const char *begin = header, *end;
    if (*begin == '[') {
        end = strchr(++begin, ']');
        if (!end) end = begin;
    } else {
        end = begin + strcspn(begin, ":");
    }
    snprintf(name, bytes, "%.*s", (int)(end - begin), begin);
}

bool listener_is_named(const listener *l, const char *host_header) {
    char name[256];
    struct in_addr four;
    struct in6_addr six;
    if (!host_header) return true;
    if (strlen(host_header) >= sizeof name) return false;
    name_of(host_header, name, sizeof name);
    if (strcasecmp(name, "localhost") == 0 || strcasecmp(name, l->host) == 0) return true;
    if (inet_pton(AF_INET, name, &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, name, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

bool origin_is_own(const char *origin, const char *host_header, const char *allowed) {
    if (!origin || (allowed && strcmp(origin, allowed) == 0)) return true;
    const char *authority = strstr(origin, "://");
    return authority && host_header && strcasecmp(authority + 3, host_header) == 0;
}

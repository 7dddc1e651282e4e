#include "serve/said.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

/* Of a block whose parts may be of any type. */
static size_t room(size_t bytes) {
    return (bytes + 15) / 16 * 16;
}

static said *block(size_t bytes) {
    return memory_allows() ? malloc(bytes) : NULL;
}

static void *put(char **at, const void *from, size_t bytes) {
    void *to = *at;
    if (bytes > 0) memcpy(to, from, bytes);
    *at += room(bytes);
    return to;
}

said *said_token(int choice, const token_event *t) {
    const size_t top = (size_t)t->top_count * sizeof *t->top, routes_bytes = (size_t)t->route_count * sizeof *t->routes;
    size_t bytes = room(sizeof(said)) + room(t->bytes + 1) + room(top) + room(routes_bytes);
    for (int i = 0; i < t->route_count; i++)
        bytes += room((size_t)t->routes[i].count * sizeof(int32_t)) + room((size_t)t->routes[i].count * sizeof(float));
    said *x = block(bytes);
    if (!x) return NULL;
    char *at = (char *)x + room(sizeof *x);
    *x = (said){.choice = choice, .token = *t};
    x->token.text = put(&at, t->bytes > 0 ? t->text : "", t->bytes + 1);
    x->token.top = put(&at, t->top, top);
    token_route *routes = put(&at, t->routes, routes_bytes);
    for (int i = 0; i < t->route_count; i++) {
        routes[i].experts = put(&at, t->routes[i].experts, (size_t)t->routes[i].count * sizeof(int32_t));
        routes[i].gates = put(&at, t->routes[i].gates, (size_t)t->routes[i].count * sizeof(float));
    }
    x->token.routes = routes;
    return x;
}

said *said_end(int choice, const text_end *end) {
    const char *error = end->error ? end->error : "";
    said *x = block(room(sizeof *x) + room(end->bytes + 1) + room(strlen(error) + 1));
    if (!x) return NULL;
    char *at = (char *)x + room(sizeof *x);
    *x = (said){.choice = choice, .is_end = true, .end = *end};
    x->end.text = put(&at, end->bytes > 0 ? end->text : "", end->bytes + 1);
    x->end.error = put(&at, error, strlen(error) + 1);
    x->end.stopped = NULL;
    return x;
}

said *said_spare(int choice) {
    said *x = xcalloc(1, sizeof *x);
    *x = (said){.choice = choice, .is_end = true};
    return x;
}

void said_fill_spare(said *spare, const text_end *end) {
    spare->end = *end;
    spare->end.reason = END_ERROR;
    spare->end.error = "out of memory";
    spare->end.text = "";
    spare->end.bytes = 0;
    spare->end.stopped = NULL;
}

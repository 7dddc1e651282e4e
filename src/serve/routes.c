#include "serve/routes.h"

#include "base/memory.h"
#include <string.h>

static void route_page(call *c) {
    c->http = HTTP_OK;
    c->type = "text/html; charset=utf-8";
    c->page = page_html;
    c->bytes = page_html_bytes;
}

static void route_health(call *c) {
    const bool stopping = atomic_load(c->house->stopping), failed = scheduler_failed(c->house->s->scheduler);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "status", failed ? "out of memory" : stopping ? "stopping" : "ok");
    reply_json(c, failed || stopping ? HTTP_UNAVAILABLE : HTTP_OK, json);
}

static void route_metrics(call *c) {
    reply_text(c, HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", metrics_text(c->house->metrics, c->house->s));
}

static void route_routing(call *c) {
    reply_json(c, HTTP_OK, traffic_json(c->house->traffic));
}

static void route_routing_reset(call *c) {
    traffic_reset(c->house->traffic);
    reply_json(c, HTTP_OK, traffic_json(c->house->traffic));
}

const route routes[] = {
    {"GET", "/", route_page, ROUTE_OPEN},
    {"GET", "/health", route_health, ROUTE_OPEN},
    {"GET", "/metrics", route_metrics, ROUTE_PLAIN},
    {"GET", "/v1/models", route_models, ROUTE_PLAIN},
    {"GET", "/v1/models/", route_model, ROUTE_PLAIN},
    {"GET", "/v1/routing", route_routing, ROUTE_PLAIN},
    {"POST", "/v1/routing/reset", route_routing_reset, ROUTE_PLAIN},
    {"POST", "/v1/completions", route_completions, ROUTE_BODY},
    {"POST", "/v1/chat/completions", route_chat, ROUTE_BODY},
    {"POST", "/v1/embeddings", route_embeddings, ROUTE_BODY},
    {"POST", "/tokenize", route_tokenize, ROUTE_BODY},
    {"POST", "/detokenize", route_detokenize, ROUTE_BODY},
};
const int route_count = sizeof routes / sizeof *routes;
const char *const route_names[] = {"/",
                                   "/health",
                                   "/metrics",
                                   "/v1/models",
                                   "/v1/models/",
                                   "/v1/routing",
                                   "/v1/routing/reset",
                                   "/v1/completions",
                                   "/v1/chat/completions",
                                   "/v1/embeddings",
                                   "/tokenize",
                                   "/detokenize",
                                   "other"};
_Static_assert(sizeof route_names / sizeof *route_names == sizeof routes / sizeof *routes + 1, "a name for each route");

static bool leads_to(const route *r, const char *path, const char **rest) {
    const size_t bytes = strlen(r->path);
    *rest = "";
    if (bytes == 1 || r->path[bytes - 1] != '/') return strcmp(r->path, path) == 0;
    if (strncmp(r->path, path, bytes) != 0 || !path[bytes]) return false;
    *rest = path + bytes;
    return true;
}

int route_find(const char *method, const char *path, const char **rest, const char **allow) {
    const char *asked = strcmp(method, "HEAD") == 0 ? "GET" : method;
    *allow = NULL;
    for (int i = 0; i < route_count; i++) {
        if (!leads_to(&routes[i], path, rest)) continue;
        if (strcmp(routes[i].method, asked) == 0) return i;
        *allow = routes[i].method;
    }
    return -1;
}

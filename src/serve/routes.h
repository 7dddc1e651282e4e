/* What is served where. */
#ifndef MOEC_SERVE_ROUTES_H
#define MOEC_SERVE_ROUTES_H

#include "serve/call.h"

typedef enum route_kind { ROUTE_PLAIN, ROUTE_OPEN /* without a key */, ROUTE_BODY /* JSON is expected */ } route_kind;

typedef struct route {
    const char *method,
        *path; /* a path that ends with a slash takes what stands behind it (call.rest); "/" alone does not */
    void (*run)(call *c);
    route_kind kind;
} route;

extern const route routes[];
extern const int route_count;
extern const char
    *const route_names[]; /* [route_count + 1]: for metrics and logs, the last one for paths that are none */

/* The route, or −1: then *allow is the method that the path has (a HEAD is a GET), or NULL where there is no such path. */
int route_find(const char *method, const char *path, const char **rest, const char **allow);

/* The page: one HTML document, embedded when moec is built. */
extern const char page_html[];
extern const unsigned long page_html_bytes;

/* ---- routes_text.c, routes_model.c ---- */

void route_completions(call *c);
void route_chat(call *c);
void route_embeddings(call *c);
void route_tokenize(call *c);
void route_detokenize(call *c);
void route_models(call *c);
void route_model(call *c);

#endif

/* What one pass through a router did with each document of a text. */
#ifndef MOEC_EVAL_DOCUMENT_ROUTING_H
#define MOEC_EVAL_DOCUMENT_ROUTING_H

#include "grad/ops.h"

/* Sums over a document's tokens; each array is [documents, E]. */
typedef struct document_routing {
    int experts;   /* E */
    int64_t room;  /* documents that there is room for; what was never added to is 0 */
    double *first; /* tokens whose first choice is e */
    double *gates; /* the tokens' gates, a token's divided by their sum: 1 a token over all experts */
    double *probs; /* the router's probabilities */
} document_routing;

/* One token's routing: gates and probs [E], each adding up to 1. */
typedef struct token_routing {
    int first;
    double *gates, *probs; /* [E] */
} token_routing;

int likeliest_expert(const double *probs, int experts); /* of several, the first */
/* Of token n, into t's arrays. Where every expert takes part its first choice is the likeliest one. */
void token_routing_read(token_routing *t, const moe_choice *c, int64_t n);

/* r of 0 but for `experts` is empty; it grows to what it is given. */
void document_routing_add(document_routing *r, int64_t document, const token_routing *t);
void document_routing_reserve(document_routing *r, int64_t documents);
void document_routing_free(document_routing *r);

#endif

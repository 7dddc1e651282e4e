/* Routers while a model trains: a warning when an expert takes nearly all tokens or nearly none for many steps, and the
 * state of all of them in a few words. */
#ifndef MOEC_TRAIN_ROUTING_WATCH_H
#define MOEC_TRAIN_ROUTING_WATCH_H

#include "train/log.h"

enum { ROUTING_WATCH_STEPS = 50 };

/* Of the tokens: a share of (token, choice) pairs times the choices a token has. */
typedef enum expert_load { LOAD_FINE, LOAD_HIGH, LOAD_LOW } expert_load;
#define ROUTING_HIGH 0.90 /* of the tokens and more: the expert has taken over */
#define ROUTING_LOW 0.02  /* and less: it is not used; with more than 12 experts a quarter of its even part */
/* An expert's load is extreme only where the router has a choice (fewer choices than experts). */
expert_load routing_load(const model_config *c, double share);

/* One pass through a router: for how many steps in a row each expert's load has been extreme. */
typedef struct watched_pass {
    int layer, pass, experts;
    expert_load *load; /* [experts] */
    int *steps;        /* [experts] */
} watched_pass;

/* One entry a pass of the last step's record. */
typedef struct routing_watch {
    watched_pass *passes;
    int count;
} routing_watch;
void routing_watch_free(routing_watch *w);

typedef void (*routing_warn)(void *context, const char *line);
/* Look at one step. An expert is warned of when it has been extreme for ROUTING_WATCH_STEPS steps, once for as long as it
 * stays so. An event that changes the passes starts the counting anew. */
void routing_watch_step(routing_watch *w, const model_config *c, const step_record *s, routing_warn warn,
                        void *context);

/* "experts take 41 to 59 % of the tokens, entropy 0.19 of 0.69 nats", or "" for a model without routers. */
enum { ROUTING_SUMMARY = 128 };
void routing_summary(const step_record *s, const model_config *c, char text[ROUTING_SUMMARY]);

#endif

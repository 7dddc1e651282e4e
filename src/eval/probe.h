/* What the routers of a mixture know of the domains of a text: each router's tables of domain × expert and what they amount to, and
 * the same of the mean over all routers. */
#ifndef MOEC_EVAL_PROBE_H
#define MOEC_EVAL_PROBE_H

#include "config/labels.h"
#include "eval/bpb.h"
#include "eval/routing_measures.h"

enum { PROBE_SHUFFLES = 20 };

/* One pass through a router, or the mean. */
typedef struct probed_router {
    int layer, pass;         /* −1 and 0: the mean over routers of each token's probabilities and gates */
    routing_table first;     /* [D, E] tokens, by their first choice */
    routing_table gates;     /* [D, E] tokens, by their gates: of soft gates the mean probability */
    routing_table documents; /* [D, E] documents, by the likeliest expert of their tokens' mean probabilities */

    double entropy;          /* bits: the mean over tokens of the entropy of the router's probabilities */
    double expert_entropy;   /* bits: of all tokens' first choices together; log2 E where the experts are used evenly */
    double separation;       /* of gates */
    double separation_first; /* of first choices */
    routing_contrast contrast; /* of gates */
    /* Bits that a token's first choice tells of its domain. Also a router that knows nothing of domains tells some, because documents
     * are few and their tokens are alike: `shuffled` is the mean over PROBE_SHUFFLES times that the domains were dealt to the documents
     * at random (always the same). */
    double information, information_shuffled, information_bound;

    int expert[EVAL_MAX_DOMAINS]; /* that a domain should go to, −1: none */
    routing_accuracy accuracy, document_accuracy;
} probed_router;

typedef struct probe {
    const document_table *table;                                   /* the caller's: names of the domains */
    label_list names;                                              /* of the experts; none: they have none */
    int64_t tokens[EVAL_MAX_DOMAINS], documents[EVAL_MAX_DOMAINS]; /* that counted */
    /* Domains go to the experts of their names. Where no expert has a domain's name: to those that make the accuracy largest, which is
     * fitted to this very text, for each router on its own; and the mean over routers is one over experts that have nothing but their
     * number in common. */
    bool by_name;
    probed_router *routers; /* in path order */
    int count;
    probed_router mean;
} probe;

/* That there is something to find out: a mixture; documents of at least two domains. `model` and `data` are for messages. */
status probe_check_model(const model_config *c, const char *model);
status probe_check_text(const document_table *documents, const char *data);
/* Of a finished routing_probe that kept `documents`, which live as long as *out. */
status probe_of(probe *out, const routing_probe *p, const document_table *documents, const label_list *names);
void probe_free(probe *p);

double probe_information_share(const probed_router *r);                     /* information / its bound */
const char *probe_expert_name(const probe *p, int expert, char number[16]); /* its name, or its number in `number` */
/* How many domains have an expert of their own. */
int probe_domains_with_expert(const probe *p, const probed_router *r);

#endif

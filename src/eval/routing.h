/* What routers do with the tokens that are scored: tokens per expert, entropy; where it is asked for, the same by document, and
 * every single choice as a row of a CSV file. */
#ifndef MOEC_EVAL_ROUTING_H
#define MOEC_EVAL_ROUTING_H

#include "comm/comm.h"
#include "eval/document_routing.h"
#include "nn/pass.h"
#include "text/documents.h"
#include "text/tokenizer.h"

/* One pass through a router, summed over the tokens that count. */
typedef struct routing_row {
    int layer, pass; /* pass: counted from 1, more than one where the layer loops */
    int64_t tokens;
    int experts;    /* E */
    int64_t *taken; /* [E] tokens that went to the expert; soft gates: that prefer it */
    double entropy; /* Σ over tokens of the router's entropy, nats: of passes, which sum their own tokens first */
    double fresh;   /* the same of the last pass alone */
    document_routing
        by_document; /* of the documents that routing_probe_documents lists; empty without a table of them */
} routing_row;

/* A document some of whose tokens count. A token is of the document that it stands in, not of its target's. */
typedef struct routed_document {
    int64_t index; /* in the table of documents */
    int domain;
    int64_t tokens;
} routed_document;

typedef struct routing_probe routing_probe;
/* trace: a CSV file with the columns position, token, piece, pass, layer, expert, gate; NULL: none is written. The file is
 * there when routing_probe_finish has succeeded. documents: of the text, whose positions ascend; they live as long as the probe.
 * NULL: nothing is kept by document. */
status routing_probe_create(routing_probe **out, const tokenizer *tok, const char *trace,
                            const document_table *documents);
void routing_probe_destroy(routing_probe *p);
/* Watch this pass from now on (NULL: none), which must live until then. */
void routing_probe_attach(routing_probe *p, pass *watched);
/* The rows that it runs next: ids and their positions in the text, < 0 for rows that are only context. They are not copied. */
void routing_probe_expect(routing_probe *p, const int32_t *ids, const int64_t *positions, int64_t rows);
/* For all ranks, each behind a pass of its own or none: everyone's rows are then those of all, as if their passes had run one after another.
 * Only of probes that trace nothing and know no documents; one rank has nothing to do. */
status routing_probe_meet(routing_probe *p, comm *ranks);
status routing_probe_finish(routing_probe *p);
/* In path order; *count 0: the model has no routers. */
const routing_row *routing_probe_rows(const routing_probe *p, int *count);
/* When it has finished: the documents, and the mean over all passes through routers of each token's probabilities and gates, as if
 * it were a router (layer −1); its first choice is the likeliest expert. NULL and 0 without a table of documents. */
const routed_document *routing_probe_documents(const routing_probe *p, int64_t *count);
const routing_row *routing_probe_mean(const routing_probe *p);

#endif

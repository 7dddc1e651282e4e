/* What log.jsonl says of the routers, summed over steps. */
#ifndef MOEC_STUDY_ROUTING_LOG_H
#define MOEC_STUDY_ROUTING_LOG_H

#include <cjson/cJSON.h>

/* One pass through a router. */
typedef struct routed_pass {
    int layer, pass; /* pass: of the layer, from 1 */
    int experts;
    int steps;      /* that were added */
    double entropy; /* Σ over steps */
    double *share;  /* [experts] Σ over steps */
} routed_pass;

/* In ascending order of layers and passes. */
typedef struct routing_sums {
    routed_pass *passes;
    int count;
} routing_sums;

/* experts: the array of that name in a step's record; anything else is passed over. */
void routing_sums_add(routing_sums *s, const cJSON *experts);
/* NULL where the pass is not among them. */
const routed_pass *routing_sums_find(const routing_sums *s, int layer, int pass);
void routing_sums_free(routing_sums *s);

#endif

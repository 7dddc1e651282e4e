/* The parameters of a model counted from its config alone, without allocating any. */
#ifndef MOEC_NN_BUDGET_H
#define MOEC_NN_BUDGET_H

#include "nn/config.h"
#include <stdint.h>

typedef enum component {
    COMPONENT_EMBEDDING, /* tok_emb, which is the head too where it is tied */
    COMPONENT_BIGRAM,    /* table and projection */
    COMPONENT_ATTENTION, /* c_q, c_k, c_v, proj */
    COMPONENT_MLP,       /* of dense layers */
    COMPONENT_EXPERTS,   /* of mixture layers */
    COMPONENT_ROUTER,
    COMPONENT_GATES, /* q_gain, attn_scale, mlp_scale, resid_mix, smear_w */
    COMPONENT_SKIPS, /* skip_weights, skip_gates */
    COMPONENT_HEAD,  /* an untied one */
    COMPONENTS
} component;
const char *component_name(component c);

/* Parameters of one shape: `count` tensors [rows, cols]; vectors have one row. */
typedef struct budget_entry {
    component component;
    int64_t count, rows, cols;
    bool is_matrix; /* a product reads it, so that packing may quantise it */
} budget_entry;
typedef void (*budget_visitor)(void *context, const budget_entry *entry);
void model_budget_visit(const model_config *c, budget_visitor visit, void *context);

typedef struct model_budget {
    int64_t of[COMPONENTS]; /* elements */
    int64_t total;
    int64_t active; /* what one token's pass uses: all but the experts that it is not sent to */
} model_budget;
model_budget model_budget_count(const model_config *c);

#endif

/* A model's parameters in their places, looked up once; private to nn/. */
#ifndef MOEC_NN_PARTS_H
#define MOEC_NN_PARTS_H

#include "nn/model.h"
#include "nn/specs.h"

/* What a block is and what it is made of; NULL for what its plan does not have. */
typedef struct block {
    layer_plan plan;
    param *attn_norm, *mlp_norm;
    linear q, k, v, proj;
    param *q_norm, *k_norm, *q_gain;
    param *attn_scale, *mlp_scale, *resid_mix, *smear_w;
    mlp dense; /* its proj is a random up-projection's too */
    param *router, *router_bias;
    mlp *experts; /* [plan.mlp.experts] */
    mlp shared;
    param *shared_gate;
    linear random;
    param *adapter_gain, *adapter_router;
    linear adapter_down, adapter_up;
} block;

/* An embedding of a hash of the last tokens: scale · proj(table[ids]) */
typedef struct hash_embedding {
    param *table, *scale; /* scale may be NULL; table NULL: there is none */
    linear proj;          /* its weight may be NULL */
} hash_embedding;

typedef struct model_parts {
    int layers;
    block *blocks;
    forward_path path;
    param *tok_emb, *skip_weights, *skip_gates, *smear_gate, *final_norm;
    hash_embedding bigram, trigram;
    linear head;
    rotary *rotary;
} model_parts;

/* Point the parts at the parameters, and resolve plan and path from the config (again after either changed). */
status model_bind(model *m);
void model_unbind(model *m);
/* Give every parameter its place in the arenas. Values that are there are taken along. */
status model_place(model *m);
/* A new parameter as the spec says, not in the list yet, without a place; derived values are not made. */
status model_param_create(param **out, const model *m, const param_spec *spec);
void model_append(model *m, param *p);
/* Make the frozen random weights of every layer that has some. */
status model_derive(model *m);

#endif

/* Every parameter that a config's model has, as data: its role, name, shape and treatment, in the order of the state dict.
 * Creating a model, binding names to pointers, initial values, counting and packing all walk this one list. */
#ifndef MOEC_NN_SPECS_H
#define MOEC_NN_SPECS_H

#include "nn/config.h"
#include <stdint.h>

typedef enum component {
    COMPONENT_EMBEDDING, /* tok_emb, which is the head too where it is tied */
    COMPONENT_BIGRAM,    /* table, projection and scale */
    COMPONENT_TRIGRAM,   /* the same */
    COMPONENT_ATTENTION, /* c_q, c_k, c_v, proj */
    COMPONENT_MLP,       /* of dense layers */
    COMPONENT_SHARED,    /* MLPs beside experts */
    COMPONENT_EXPERTS,   /* of mixture layers */
    COMPONENT_ROUTER,    /* and selection biases */
    COMPONENT_ADAPTERS,  /* gain, router and low-rank correction of random up-projections */
    COMPONENT_GATES,     /* q_gain, attn_scale, mlp_scale, resid_mix, smear_w, smear.gate */
    COMPONENT_SKIPS,     /* skip_weights, skip_gates */
    COMPONENT_HEAD,      /* an untied one */
    COMPONENTS
} component;
const char *component_name(component c);

/* Shapes: d channels, h the width of the MLP in question (twice as many rows of fc for SwiGLU), E experts. */
typedef enum param_role {
    ROLE_TOK_EMB,       /* [V, d] */
    ROLE_BIGRAM_TABLE,  /* [buckets, dim] */
    ROLE_BIGRAM_PROJ,   /* [d, dim]; by modules only where dim differs from d */
    ROLE_BIGRAM_SCALE,  /* scalar, where hash_scale is not 0 */
    ROLE_TRIGRAM_TABLE, /* as for bigrams */
    ROLE_TRIGRAM_PROJ,
    ROLE_TRIGRAM_SCALE,
    ROLE_C_Q, /* [d, d] */
    ROLE_C_K, /* [kv_heads · head_dim, d] */
    ROLE_C_V,
    ROLE_ATTENTION_PROJ, /* [d, d] */
    ROLE_Q_GAIN,         /* [heads] */
    ROLE_ATTN_SCALE,     /* [d] */
    ROLE_MLP_FC,         /* [h, d] */
    ROLE_MLP_PROJ,       /* [d, h] */
    ROLE_ROUTER,         /* [E, d] */
    ROLE_ROUTER_BIAS,    /* [E], frozen: moved by model_balance_experts */
    ROLE_EXPERT_FC,      /* [h, d] */
    ROLE_EXPERT_PROJ,    /* [d, h] */
    ROLE_SHARED_FC,      /* [h, d] */
    ROLE_SHARED_PROJ,    /* [d, h] */
    ROLE_RANDOM_WEIGHT,  /* [h, d], derived from random_up_seed */
    ROLE_ADAPTER_GAIN,   /* [h] */
    ROLE_ADAPTER_ROUTER, /* [random_up_experts, d] */
    ROLE_ADAPTER_DOWN,   /* V [rank, d] */
    ROLE_ADAPTER_UP,     /* U [h, rank] */
    ROLE_MLP_SCALE,      /* [d] */
    ROLE_RESID_MIX,      /* [2, d] */
    ROLE_SMEAR_W,        /* [smear_width] */
    ROLE_SKIP_WEIGHTS,   /* [skips, d] */
    ROLE_SKIP_GATES,     /* [skips, d] */
    ROLE_SMEAR_GATE,     /* [d] */
    ROLE_HEAD,           /* [V, d] */
    ROLES
} param_role;

enum { PARAM_NAME_BYTES = 64 };
typedef struct param_spec {
    param_role role;
    int layer, expert; /* −1 where there is none */
    char name[PARAM_NAME_BYTES];
    int ndim;
    int64_t shape[2];
    bool is_matrix; /* a product or a look-up reads it: packing may quantise it */
} param_spec;

typedef void (*param_visitor)(void *context, const param_spec *spec);
void model_specs_visit(const model_config *c, param_visitor visit, void *context);

component role_component(param_role role);
bool role_is_frozen(param_role role);  /* no gradient */
bool role_is_derived(param_role role); /* made again from the config, never stored */
bool role_is_table(param_role role);   /* rows that ids look up: embeddings and hash tables; and the head */
/* The role that a tensor of this name has, in either naming; ROLES for a name that no model has. */
param_role param_role_of(const char *name);

#endif

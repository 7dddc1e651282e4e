/* What a parameter is for. A role, with a layer and an expert where it has them, tells a parameter from all others; its
 * name in moec's own files and messages is written from the role (roles.c has the table), and other people's names are
 * tables of formats/names.h. */
#ifndef MOEC_NN_ROLES_H
#define MOEC_NN_ROLES_H

#include <stdbool.h>
#include <stddef.h>

typedef enum component {
    COMPONENT_EMBEDDING, /* tok_emb, which is the head too where it is tied */
    COMPONENT_BIGRAM,    /* table, projection and scale */
    COMPONENT_TRIGRAM,   /* the same */
    COMPONENT_ATTENTION, /* queries, keys, values, output, and their biases */
    COMPONENT_MLP,       /* of dense layers */
    COMPONENT_SHARED,    /* MLPs beside experts */
    COMPONENT_EXPERTS,   /* of mixture layers */
    COMPONENT_ROUTER,    /* and selection biases */
    COMPONENT_ADAPTERS,  /* gain, router and low-rank correction of random up-projections */
    COMPONENT_NORMS,     /* weights of norms */
    COMPONENT_GATES,     /* q_gain, attn_scale, mlp_scale, resid_mix, smear_w, smear.gate */
    COMPONENT_SKIPS,     /* skip_weights, skip_gates */
    COMPONENT_HEAD,      /* an untied one */
    COMPONENTS
} component;
const char *component_name(component c);

/* Shapes: d channels, q and kv the widths of all query and key heads, h the width of the MLP in question (twice as many rows
 * of fc for SwiGLU: first those that are activated, then those that are multiplied with), E experts. */
typedef enum param_role {
    ROLE_TOK_EMB,       /* [V, d] */
    ROLE_BIGRAM_TABLE,  /* [buckets, dim] */
    ROLE_BIGRAM_PROJ,   /* [d, dim] */
    ROLE_BIGRAM_SCALE,  /* scalar, where hash_scale is not 0 */
    ROLE_TRIGRAM_TABLE, /* as for bigrams */
    ROLE_TRIGRAM_PROJ,
    ROLE_TRIGRAM_SCALE,
    ROLE_ATTN_NORM, /* [d] */
    ROLE_C_Q,       /* [q, d] */
    ROLE_C_K,       /* [kv, d] */
    ROLE_C_V,
    ROLE_C_Q_BIAS, /* [q] */
    ROLE_C_K_BIAS, /* [kv] */
    ROLE_C_V_BIAS,
    ROLE_ATTENTION_PROJ,      /* [d, q] */
    ROLE_ATTENTION_PROJ_BIAS, /* [d] */
    ROLE_Q_NORM,              /* [head_dim] */
    ROLE_K_NORM,
    ROLE_Q_GAIN,     /* [heads] */
    ROLE_ATTN_SCALE, /* [d]; [passes, d] where loops have scales */
    ROLE_MLP_NORM,   /* [d] */
    ROLE_MLP_FC,     /* [h, d] */
    ROLE_MLP_PROJ,   /* [d, h] */
    ROLE_MLP_FC_BIAS,
    ROLE_MLP_PROJ_BIAS,
    ROLE_ROUTER,         /* [E, d] */
    ROLE_ROUTER_BIAS,    /* [E], frozen: moved by model_balance_experts */
    ROLE_EXPERT_FC,      /* [h, d] */
    ROLE_EXPERT_PROJ,    /* [d, h] */
    ROLE_SHARED_FC,      /* [h, d] */
    ROLE_SHARED_PROJ,    /* [d, h] */
    ROLE_SHARED_GATE,    /* [1, d] */
    ROLE_RANDOM_WEIGHT,  /* [h, d], derived from random_up.seed */
    ROLE_ADAPTER_GAIN,   /* [h] */
    ROLE_ADAPTER_ROUTER, /* [chunks, d] */
    ROLE_ADAPTER_DOWN,   /* V [rank, d] */
    ROLE_ADAPTER_UP,     /* U [h, rank] */
    ROLE_MLP_SCALE,      /* the same */
    ROLE_RESID_MIX,      /* [2, d] */
    ROLE_SMEAR_W,        /* [smear_width] */
    ROLE_SKIP_WEIGHTS,   /* [skips, d] */
    ROLE_SKIP_GATES,     /* [skips, d] */
    ROLE_SMEAR_GATE,     /* [d] */
    ROLE_FINAL_NORM,     /* [d] */
    ROLE_HEAD,           /* [V, d] */
    ROLES
} param_role;

component role_component(param_role role);
bool role_is_matrix(param_role role);   /* a product or a look-up reads it: packing may quantise it */
bool role_is_in_block(param_role role); /* it has a layer */
bool role_has_expert(param_role role);
bool role_is_frozen(param_role role);  /* no gradient */
bool role_is_derived(param_role role); /* made again from the config, never stored */
bool role_is_table(param_role role);   /* rows that ids look up: embeddings and hash tables; and the head */

/* ---- names ---- */

enum { PARAM_NAME_BYTES = 96 };
/* moec's own: #2102's state dict, and what it does not have in its manner. "#" of the pattern is the layer, "@" the expert. */
const char *role_pattern(param_role role);
void name_write(char name[PARAM_NAME_BYTES], const char *pattern, int layer, int expert);
/* Whether a name is of the pattern; layer and expert become its numbers, −1 where it has none. */
bool name_matches(const char *pattern, const char *name, int *layer, int *expert);

#endif

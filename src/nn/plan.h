/* What one block is, resolved from the config: whoever creates, binds, runs, counts, packs, imports or exports parameters
 * walks this and never asks the config which family it is. A Llama block is a plan with less in it, not a second model. */
#ifndef MOEC_NN_PLAN_H
#define MOEC_NN_PLAN_H

#include "nn/config.h"

typedef struct norm_plan {
    bool weight;
    float eps, scale; /* y = weight ⊙ scale · x / √(mean(x²) + eps) */
} norm_plan;

typedef struct attention_plan {
    int heads, kv_heads, head_dim;
    int64_t q_width, kv_width; /* heads · head_dim, kv_heads · head_dim */
    qk_norm qk_norm;
    bool q_gain, qkv_bias, proj_bias, xsa, within_document;
} attention_plan;

typedef enum mlp_kind { MLP_DENSE, MLP_EXPERTS, MLP_RANDOM_UP } mlp_kind;

typedef struct mlp_plan {
    mlp_kind kind;
    activation activation;
    bool bias;
    int64_t hidden;        /* of the dense MLP, of each expert, or of the random up-projection */
    int64_t fc_rows;       /* rows of fc: twice hidden for SwiGLU */
    int experts, top_k;    /* of experts */
    int active;            /* experts that a token goes to: top_k, or all of them */
    bool router_bias;      /* a selection bias beside the router */
    int64_t shared_hidden; /* beside the experts; 0: none */
    bool shared_gate;
    int chunks;   /* blocks of a random up-projection's rows, gated by a router; 1: none */
    int64_t rank; /* of its correction; 0: none */
    bool gain;    /* for each of its rows */
} mlp_plan;

typedef struct layer_plan {
    int layer;
    norm_plan norm; /* of the attention's input and of the MLP's */
    attention_plan attention;
    mlp_plan mlp;
    bool mix, attn_scale, mlp_scale;
    int scale_rows; /* of the two scales: 1, or one for each pass of the layer */
    bool parallel;  /* the MLP reads the attention's input */
    int smear_width;
} layer_plan;
layer_plan model_plan(const model_config *c, int layer);

/* Rows of fc for an MLP of this width. */
int64_t fc_rows(activation f, int64_t hidden);
norm_plan model_final_norm(const model_config *c);
norm_plan model_stem_norm(const model_config *c);

/* The order in which blocks run. An entry pushes its output for a later one, pops the newest that is left before it runs, or
 * neither. */
enum { PATH_PUSH = -1, PATH_PLAIN = -2 };
typedef struct forward_path {
    int length, encoder; /* the first `encoder` entries push (of each pass, where each pass is a U-Net) */
    int layer[MODEL_MAX_PATH];
    int pass[MODEL_MAX_PATH]; /* how often the layer ran before */
    int skip[MODEL_MAX_PATH]; /* PATH_PUSH, PATH_PLAIN, or the row of skip_weights with which the entry pops */
} forward_path;
forward_path model_path(const model_config *c);
int model_skips(const model_config *c);             /* rows of skip_weights: for the looped path if extra_passes > 0 */
int model_passes(const model_config *c, int layer); /* of a layer, once loops are on */

#endif

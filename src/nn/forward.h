/* What the files of nn/ share about a model's inside. */
#ifndef MOEC_NN_FORWARD_H
#define MOEC_NN_FORWARD_H

#include "nn/model.h"
#include "nn/specs.h"

/* A block's parameters, looked up once; NULL for those that its kind does not have. */
typedef struct block {
    param *c_q, *c_k, *c_v, *proj, *q_gain; /* attention */
    param *attn_scale, *mlp_scale, *resid_mix, *smear_w;
    param *mlp_fc, *mlp_proj; /* a dense layer's MLP; mlp_proj is a random up-projection's too */
    param *router, *router_bias, *experts_fc[MODEL_MAX_EXPERTS], *experts_proj[MODEL_MAX_EXPERTS];
    param *shared_fc, *shared_proj;
    param *random_weight, *adapter_gain, *adapter_router, *adapter_down, *adapter_up;
} block;

/* An embedding of a hash of the last tokens: scale · table[ids] · projᵀ */
typedef struct hash_embedding {
    param *table, *proj, *scale; /* proj and scale may be NULL; table NULL: there is none */
    int32_t *ids;                /* device [capacity] */
} hash_embedding;

struct model_scratch {
    block blocks[MODEL_MAX_LAYERS];
    param *tok_emb, *skip_weights, *skip_gates, *smear_gate, *head;
    hash_embedding bigram, trigram;
    int32_t *ids, *targets, *first; /* device [capacity] */
    int32_t *host;                  /* host [capacity], to prepare hashes */
    int64_t capacity;
    float load[MODEL_MAX_LAYERS][MODEL_MAX_EXPERTS]; /* shares summed over passes since model_balance_experts */
};

/* Point the scratch at the parameters (again after the list changed). The list is in the order of model_specs_visit. */
status model_bind(model *m);
void model_unbind(model *m);
/* A new parameter as the spec says, not in the list yet; derived values are not made. */
status model_param_create(param **out, const model *m, const param_spec *spec);
/* Make the frozen random weights of every layer that has some. */
status model_derive(model *m);
void model_insert(model *m, param *p, int at);

/* What generating keeps of one pass of a block. */
typedef struct pass_cache {
    attention_cache attention;
    void *carry; /* act [B, smear_width]: the last token's channels before SmearGate */
} pass_cache;

/* The same of what comes before the blocks. */
enum { TOKENS_BACK = 2 }; /* that hashes look at */
typedef struct stem_cache {
    int32_t (*previous)[TOKENS_BACK]; /* host [B]: the last tokens, newest first; as many as there are yet */
    void *carry;                      /* act [B, d]: the last token's embedding before smear.gate */
} stem_cache;

/* One pass over tokens: from ids to the final norm's output. stem and passes (one entry a pass of forward_path) when
 * generating, else NULL. */
typedef struct pass_input {
    int64_t batch, length, offset;
    const int32_t *ids, *first; /* host [B, T]; first may be NULL */
    const stem_cache *stem;
    pass_cache *passes;
    float loss_weight;
} pass_input;
var *model_forward(model *m, const pass_input *in);

/* Token ids and their hashes to the device; refuses ids beyond the vocabulary. */
status model_upload_tokens(model *m, const pass_input *in);
/* SmearGate at w, with what the last call left in `carry` (NULL: not generating). */
var *model_smear(model *m, var *x, param *w, const layout *l, void *carry);
/* How a mixture layer's pass counts in the loss, and what its noise is drawn from. */
typedef struct routing_pass {
    float loss_weight; /* of balance and z-loss; 0 where another pass of the layer counts */
    uint64_t noise_seed;
} routing_pass;
/* What the block's MLP, of whatever kind, makes of the normalised stream n. */
var *model_mlp(model *m, int layer, var *n, const routing_pass *pass);

#endif

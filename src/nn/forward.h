/* What the files of nn/ share about a model's inside. */
#ifndef MOEC_NN_FORWARD_H
#define MOEC_NN_FORWARD_H

#include "nn/model.h"

/* A block's parameters, looked up once. */
typedef struct block {
    param *c_q, *c_k, *c_v, *proj, *q_gain; /* attention */
    param *attn_scale, *mlp_scale, *resid_mix, *smear_w;
    param *mlp_fc, *mlp_proj; /* a dense layer's MLP */
    param *router, *experts_fc[MODEL_MAX_EXPERTS], *experts_proj[MODEL_MAX_EXPERTS];
} block;

struct model_scratch {
    block blocks[MODEL_MAX_LAYERS];
    param *tok_emb, *bigram_emb, *bigram_proj, *skip_weights, *skip_gates, *head;
    int32_t *ids, *bigram_ids, *targets, *first; /* device [capacity] */
    int32_t *host;                               /* host [capacity], to prepare bigram_ids */
    int64_t capacity;
};

/* Look up every parameter by name (again after the list changed). */
status model_bind(model *m);
void model_unbind(model *m);
void model_insert(model *m, param *p, int at);

/* What generating keeps of one pass of a block. */
typedef struct pass_cache {
    attention_cache attention;
    void *carry; /* act [B, smear_width]: the last token's channels before SmearGate */
} pass_cache;

/* One pass over tokens: from ids to the final norm's output. `previous` (host [B]) are the tokens before the first ones,
 * NULL: none. passes: one entry a pass of forward_path when generating, else NULL. */
typedef struct pass_input {
    int64_t batch, length, offset;
    const int32_t *ids, *first; /* host [B, T]; first may be NULL */
    const int32_t *previous;
    pass_cache *passes;
    float loss_weight;
} pass_input;
var *model_forward(model *m, const pass_input *in);

#endif

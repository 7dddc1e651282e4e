/* The architecture of a model, as one struct. It describes the model as it is now: events of training change it
 * (upcycling fills moe_layers, looping sets `looping`), and a checkpoint's config.json is this struct. The names are the
 * record scripts' own where they have one. */
#ifndef MOEC_NN_CONFIG_H
#define MOEC_NN_CONFIG_H

#include "base/status.h"
#include "grad/ops.h"
#include <cjson/cJSON.h>
#include <stdbool.h>

enum { MODEL_MAX_LAYERS = 64, MODEL_MAX_EXPERTS = 64, MODEL_MAX_PATH = 256 };

typedef struct model_config {
    int vocab_size;
    int num_layers;
    int model_dim; /* d */
    int num_heads, num_kv_heads;
    float mlp_mult; /* h = mlp_mult · d */
    activation activation;
    bool tie_embeddings;
    float tied_embed_init_std;
    float logit_softcap; /* 0: none */
    float rope_base;
    int rope_dims; /* rotated dimensions of a head; 0: all */
    float qk_gain_init;

    bool ln_scale;            /* block inputs × 1/√(layer + 1) after each norm */
    bool xsa;                 /* #2102's XSA in every layer */
    int smear_width;          /* SmearGate's channels at each block's input; 0: none */
    int parallel_start_layer; /* from here on attention and MLP read the same input; num_layers: nowhere */
    bool gated_skips;         /* #2102: gated along the looped path; else x + w ⊙ skip */

    int bigram_buckets; /* 0: no BigramHash */
    int bigram_dim;

    int num_loops;            /* extra passes of the looped range; 0: no loops */
    int loop_start, loop_end; /* layers, inclusive */
    bool looping;             /* loops are on */

    int moe_num_experts; /* what upcycling makes, and what moe_layers have */
    int moe_top_k;
    float moe_aux_weight;
    bool moe_layers[MODEL_MAX_LAYERS]; /* layers whose MLP is a mixture of experts */
    bool document_attention;           /* attention stays within a document */
} model_config;

/* The order in which blocks run: the first `encoder` entries push their output, the others pop. */
typedef struct forward_path {
    int length, encoder;
    int layer[MODEL_MAX_PATH];
} forward_path;

model_config model_config_default(void); /* #2102 at its published size, dense, before any event */
/* Every rule that a config must keep: positive sizes, what must divide, ranges. Names the key and the rule. */
status model_config_check(const model_config *c);
forward_path model_config_path(const model_config *c);
int model_config_skips(const model_config *c);  /* rows of skip_weights: for the looped path if num_loops > 0 */
int model_config_hidden(const model_config *c); /* h */

cJSON *model_config_to_json(const model_config *c);
/* Unknown and ill-typed keys are errors; `where` is the file's name for the message. */
status model_config_from_json(model_config *c, const cJSON *json, const char *where);

#endif

/* The architecture of a model, as one struct. It describes the model as it is now: events of training change it
 * (upcycling fills moe_layers, looping sets `looping`), and a checkpoint's config.json is this struct. The names are the
 * record scripts' own where they have one. Families (#2102, #480, #660, #1692) are nothing but values of these fields. */
#ifndef MOEC_NN_CONFIG_H
#define MOEC_NN_CONFIG_H

#include "base/status.h"
#include "grad/ops.h"
#include <cjson/cJSON.h>
#include <stdbool.h>

enum { MODEL_MAX_LAYERS = 64, MODEL_MAX_EXPERTS = 64, MODEL_MAX_PATH = 256 };

/* How tensors are called in files: as #2102 does (bigram_emb, mlp.experts_fc.0), or by modules as #480, #660 and #1692 do
 * (bigram.embed, mlp.experts.0.fc). */
typedef enum naming { NAMING_FLAT, NAMING_MODULES } naming;

typedef enum bigram_hash {
    BIGRAM_LINEAR, /* (31 · previous + current) mod buckets; previous is 0 for a document's first token (#2102) */
    BIGRAM_XOR     /* (36313 · current xor 27191 · previous) mod (buckets − 1) in wrapping int32, the modulus never
                      negative; a document's first token → buckets − 1 (#480) */
} bigram_hash;

/* Which of a hash embedding's two factors starts at zero; the other one has to be something, or neither would ever move. */
typedef enum hash_init {
    HASH_ZERO_PROJECTION, /* table normal with std 1 */
    HASH_ZERO_TABLE       /* projection orthogonal / √(2 · num_layers), as #480 in effect has it */
} hash_init;

typedef enum matrix_init {
    MATRIX_ORTHOGONAL, /* matrices of at least 64 × 64; smaller ones uniform */
    MATRIX_UNIFORM     /* ±1/√inputs (torch's nn.Linear), #1692 */
} matrix_init;

/* The projections out of attention and MLPs at first. */
typedef enum projection_init { PROJECTION_ZERO, PROJECTION_ORTHOGONAL /* / √(2 · num_layers) */ } projection_init;

/* What the U-Net's skips are when layers loop. */
typedef enum loop_skips {
    LOOP_SKIPS_ALONG_PATH, /* one U-Net along the longer path (#2102) */
    LOOP_SKIPS_EACH_PASS   /* each pass over all layers is a U-Net of its own (#660's NUM_LOOPS) */
} loop_skips;

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
    bool smear_embedding;     /* SmearGate over all channels of the normalised embedding (#480, #660) */
    int parallel_start_layer; /* from here on attention and MLP read the same input; num_layers: nowhere */
    bool gated_skips;         /* #2102: gated along the looped path; else x + w ⊙ skip */

    int bigram_buckets; /* 0: no BigramHash */
    int bigram_dim;
    bigram_hash bigram_hash;
    int trigram_buckets; /* (961·t₋₂ + 31·t₋₁ + t) mod buckets; a document's first two tokens → 0. 0: no TrigramHash */
    int trigram_dim;
    float hash_scale; /* learned scale of the hash embeddings at first; 0: they have none */
    hash_init hash_init;

    int num_loops;            /* extra passes of the looped range; 0: no loops */
    int loop_start, loop_end; /* layers, inclusive */
    loop_skips loop_skips;
    bool looping; /* loops are on */

    int moe_num_experts; /* E: what upcycling makes, and what mixture layers have */
    int moe_top_k;
    gate_kind moe_gate;
    float moe_expert_mult;             /* an expert's width as a multiple of d; 0: mlp_mult */
    bool moe_split;                    /* an expert has 1/E of that width (rounded down) */
    float moe_shared_mult;             /* width of an MLP for every token beside the experts; 0: none */
    float moe_aux_weight;              /* Switch balance loss; 0: none */
    bool moe_aux_mean;                 /* averaged over the mixture layers (#480), else their sum */
    float moe_z_weight;                /* router z-loss, reduced over layers as the balance loss; 0: none */
    float moe_noise_std;               /* of the noise on the router's logits in training; 0: none */
    float moe_bias_rate;               /* step of the selection bias that balances without a loss; 0: no bias */
    bool moe_layers[MODEL_MAX_LAYERS]; /* layers whose MLP is a mixture of experts */
    int moe_start_layer;               /* instead: all layers from this one on; −1: moe_layers says which */

    bool random_up_layers[MODEL_MAX_LAYERS]; /* layers whose MLP has a frozen random up-projection (#1692) */
    int random_up_experts;                   /* blocks of its rows, gated by a router; 1: none */
    int random_up_rank;                      /* of the learned correction U V; 0: none */
    bool random_up_gain;                     /* a learned gain for each of its rows */
    int64_t random_up_seed;

    matrix_init matrix_init;
    projection_init projection_init;
    float router_init_std; /* 0: routers start at zero */
    naming naming;

    bool document_attention; /* attention stays within a document */
} model_config;

/* The order in which blocks run. An entry pushes its output for a later one, pops the newest that is left before it runs, or
 * neither. */
enum { PATH_PUSH = -1, PATH_PLAIN = -2 };
typedef struct forward_path {
    int length, encoder; /* the first `encoder` entries push (of each pass, where each pass is a U-Net) */
    int layer[MODEL_MAX_PATH];
    int skip[MODEL_MAX_PATH]; /* PATH_PUSH, PATH_PLAIN, or the row of skip_weights with which the entry pops */
} forward_path;

model_config model_config_default(void); /* #2102 at its published size, dense, before any event */
/* Every rule that a config must keep: positive sizes, what must divide, ranges, and options that exclude or need each
 * other. Names the key and the rule. */
status model_config_check(const model_config *c);
forward_path model_config_path(const model_config *c);
int model_config_skips(const model_config *c);         /* rows of skip_weights: for the looped path if num_loops > 0 */
int model_config_hidden(const model_config *c);        /* h */
int model_config_expert_hidden(const model_config *c); /* of each expert */
int model_config_shared_hidden(const model_config *c); /* of the shared MLP; 0: none */
bool model_config_is_moe(const model_config *c, int layer); /* by moe_layers or moe_start_layer */
bool model_config_has_moe(const model_config *c);           /* in any layer */
int model_config_active_experts(const model_config *c);     /* that one token is sent to: top_k, or all of them */

cJSON *model_config_to_json(const model_config *c);
/* Unknown and ill-typed keys are errors; `where` is the file's name for the message. Keys that older versions did not
 * have may be missing. */
status model_config_from_json(model_config *c, const cJSON *json, const char *where);

#endif

/* The architecture of a model, as one struct, nested by what it describes. It describes the model as it is now: events of
 * training change it (upcycling fills moe.layers, looping sets loop.on), and a checkpoint's config.json is this struct.
 * In files its keys are flat and have the names of the record scripts where they have one (config_fields.c is the table).
 * Families (#2102, #480, #660, #1692, Llama, Qwen) are nothing but values of these fields; plan.h says what one block is. */
#ifndef MOEC_NN_CONFIG_H
#define MOEC_NN_CONFIG_H

#include "base/status.h"
#include "config/labels.h"
#include "grad/ops.h"
#include "grad/rotary.h"
#include <cjson/cJSON.h>
#include <stdbool.h>

/* The one place of these limits. */
enum { MODEL_MAX_LAYERS = 256, MODEL_MAX_EXPERTS = 512, MODEL_MAX_PATH = 1024 };

/* ---- what comes before the blocks ---- */

typedef enum bigram_hash {
    BIGRAM_LINEAR, /* (31 · previous + current) mod buckets; previous is 0 for a document's first token (#2102) */
    BIGRAM_XOR     /* (36313 · current xor 27191 · previous) mod (buckets − 1) in wrapping int32, the modulus never
                      negative; a document's first token → buckets − 1 (#480) */
} bigram_hash;

typedef struct stem_config {
    bool norm;                      /* the embedding is normalised */
    bool smear;                     /* SmearGate over all channels of the normalised embedding (#480, #660) */
    int bigram_buckets, bigram_dim; /* 0 buckets: no BigramHash */
    bigram_hash bigram_hash;
    int trigram_buckets; /* (961·t₋₂ + 31·t₋₁ + t) mod buckets; a document's first two tokens → 0. 0: no TrigramHash */
    int trigram_dim;
    bool hash_projection; /* hash tables always have a projection (#2102), else only where their width is not d */
    float hash_scale;     /* learned scale of the hash embeddings at first; 0: they have none */
} stem_config;

/* ---- a block ---- */

typedef enum qk_norm {
    QK_NORM_NONE,
    QK_NORM_UNIT,  /* RMS norm of each head's queries and keys (the records) */
    QK_NORM_WEIGHT /* the same, times a learned weight [head_dim] each (Qwen3) */
} qk_norm;

typedef struct attention_config {
    int heads, kv_heads; /* kv_heads divides heads */
    int head_dim;        /* 0: d / heads */
    qk_norm qk_norm;
    bool q_gain;          /* a learned gain for each query head */
    bool qkv_bias;        /* on queries, keys and values (Qwen2) */
    bool proj_bias;       /* on the output */
    bool xsa;             /* #2102's XSA in every layer */
    bool within_document; /* attention stays within a document */
} attention_config;

typedef struct norm_config {
    float eps;
    bool weight;       /* norms have learned weights [d] (Llama, Qwen), else none (the records) */
    bool depth_scaled; /* block inputs × 1/√(layer + 1) after each norm (#2102's ln_scale) */
} norm_config;

typedef struct mlp_config {
    float mult; /* h = mult · d */
    int hidden; /* h, where it is not 0 */
    activation activation;
    bool bias; /* on both products */
} mlp_config;

typedef struct moe_config {
    int experts; /* E: what upcycling makes, and what mixture layers have */
    int top_k;
    gate_kind gate;
    float expert_mult;             /* an expert's width as a multiple of d; 0: mlp.mult */
    int expert_hidden;             /* an expert's width, where it is not 0 */
    bool split;                    /* an expert has 1/E of that width (rounded down) */
    float shared_mult;             /* width of an MLP for every token beside the experts; 0: none */
    int shared_hidden;             /* the same, where it is not 0 */
    bool shared_gate;              /* the shared MLP's output × σ(w·x) (Qwen2-MoE) */
    float aux_weight;              /* Switch balance loss; 0: none */
    bool aux_mean;                 /* averaged over the mixture layers (#480), else their sum */
    float z_weight;                /* router z-loss, reduced over layers as the balance loss; 0: none */
    float noise_std;               /* of the noise on the router's logits in training; 0: none */
    float bias_rate;               /* step of the selection bias that balances without a loss; 0: no bias */
    bool layers[MODEL_MAX_LAYERS]; /* layers whose MLP is a mixture of experts */
    int start_layer;               /* instead: all layers from this one on; −1: `layers` says which */
    label_list names;              /* of the experts, by what they are meant for; none, or one for each */
} moe_config;

typedef struct random_up_config {
    bool layers[MODEL_MAX_LAYERS]; /* layers whose MLP has a frozen random up-projection (#1692) */
    int experts;                   /* blocks of its rows, gated by a router; 1: none */
    int rank;                      /* of the learned correction U V; 0: none */
    bool gain;                     /* a learned gain for each of its rows */
    int64_t seed;
} random_up_config;

typedef struct residual_config {
    bool mix;                   /* x ← mix₀ ⊙ x + mix₁ ⊙ x0 before a block */
    bool attn_scale, mlp_scale; /* learned scales per channel of what is added to the stream */
    bool unet;                  /* the first half of the path pushes, the second pops */
    bool gated_skips;           /* #2102: gated along the looped path; else x + w ⊙ skip */
    int parallel_start_layer;   /* from here on attention and MLP read the same input; num_layers: nowhere */
    int smear_width;            /* SmearGate's channels at each block's input; 0: none */
} residual_config;

/* ---- the whole ---- */

/* What the U-Net's skips are when layers loop. */
typedef enum loop_skips {
    LOOP_SKIPS_ALONG_PATH, /* one U-Net along the longer path (#2102) */
    LOOP_SKIPS_EACH_PASS   /* each pass over all layers is a U-Net of its own (#660's NUM_LOOPS) */
} loop_skips;

typedef struct loop_config {
    int extra_passes; /* of the looped range; 0: no loops */
    int first, last;  /* layers, inclusive */
    loop_skips skips;
    bool on;
    bool scales; /* attn_scale and mlp_scale of looped layers have a row for each pass */
} loop_config;

typedef struct head_config {
    bool tied;     /* the head is the embedding */
    float softcap; /* logits = c tanh(z / c); 0: none */
} head_config;

/* ---- initial values ---- */

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

typedef struct init_config {
    float embed_std;
    float q_gain;
    hash_init hash;
    matrix_init matrix;
    projection_init projection;
    float router_std; /* 0: routers start at zero */
} init_config;

typedef struct model_config {
    int vocab_size;
    int num_layers;
    int model_dim; /* d */
    stem_config stem;
    attention_config attention;
    rotary_config rotary; /* grad/rotary.h */
    norm_config norm;
    mlp_config mlp;
    moe_config moe;
    random_up_config random_up;
    residual_config residual;
    loop_config loop;
    head_config head;
    init_config init;
} model_config;

model_config model_config_default(void); /* #2102 at its published size, dense, before any event */
/* Every rule that a config must keep: positive sizes, what must divide, ranges, and options that exclude or need each
 * other. Names the key and the rule. */
status model_config_check(const model_config *c);
int model_config_head_dim(const model_config *c);
int model_config_hidden(const model_config *c);        /* h */
int model_config_expert_hidden(const model_config *c); /* of each expert */
int model_config_shared_hidden(const model_config *c); /* of the shared MLP; 0: none */
/* Whether rows of a table of hashes (its buckets and dim; 0 buckets: there is none) go through a matrix before they are added. */
bool model_config_hash_is_projected(const model_config *c, int buckets, int dim);
bool model_config_is_moe(const model_config *c, int layer); /* by moe.layers or moe.start_layer */
bool model_config_has_moe(const model_config *c);           /* in any layer */
/* Whether experts can be copies of the MLP (upcycling): as wide, with none beside them that are shared. */
bool model_config_experts_are_copies(const model_config *c);
int model_config_active_experts(const model_config *c); /* that one token is sent to: top_k, or all of them */

cJSON *model_config_to_json(const model_config *c);
/* Unknown, ill-typed and missing keys are errors; `where` is the file's name for the message. */
status model_config_from_json(model_config *c, const cJSON *json, const char *where);

#endif

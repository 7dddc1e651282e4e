#include "nn/config.h"
#include "nn/config_fields.h"
#include <math.h>

static const char *const activation_names[] = {"relu2", "leaky_relu2", "swiglu", NULL};
static const char *const bigram_names[] = {"linear", "xor", NULL};
static const char *const hash_init_names[] = {"zero_projection", "zero_table", NULL};
static const char *const loop_skips_names[] = {"along_path", "each_pass", NULL};
static const char *const gate_names[] = {"probability", "renormalized", "soft", "straight_through", NULL};
static const char *const matrix_init_names[] = {"orthogonal", "uniform", NULL};
static const char *const projection_init_names[] = {"zero", "orthogonal", NULL};
static const char *const naming_names[] = {"flat", "modules", NULL};
_Static_assert(sizeof(activation) == sizeof(int) && sizeof(bigram_hash) == sizeof(int) &&
                   sizeof(hash_init) == sizeof(int) && sizeof(loop_skips) == sizeof(int) &&
                   sizeof(gate_kind) == sizeof(int) && sizeof(matrix_init) == sizeof(int) &&
                   sizeof(projection_init) == sizeof(int) && sizeof(naming) == sizeof(int),
               "FIELD_CHOICE stores an int");

#define FIELD(type, member, least, most, choices, meaning)                                                             \
    { "model", #member, type, offsetof(model_config, member), least, most, choices, meaning }

const config_field model_config_fields[MODEL_CONFIG_FIELDS] = {
    FIELD(FIELD_INT, vocab_size, 2, 65536, NULL, "tokens of the vocabulary (shards hold 16-bit ids)"),
    FIELD(FIELD_INT, num_layers, 1, MODEL_MAX_LAYERS, NULL, "blocks"),
    FIELD(FIELD_INT, model_dim, 1, 65536, NULL, "channels d of the residual stream"),
    FIELD(FIELD_INT, num_heads, 1, 1024, NULL, "query heads; divides model_dim"),
    FIELD(FIELD_INT, num_kv_heads, 1, 1024, NULL, "key and value heads; divides num_heads"),
    FIELD(FIELD_FLOAT, mlp_mult, 0.001, 64, NULL, "MLP width as a multiple of model_dim"),
    FIELD(FIELD_CHOICE, activation, 0, 0, activation_names, "of the MLPs"),
    FIELD(FIELD_BOOL, tie_embeddings, 0, 0, NULL, "the head is the embedding"),
    FIELD(FIELD_FLOAT, tied_embed_init_std, 1e-6, 10, NULL, "standard deviation of the embedding at first"),
    FIELD(FIELD_FLOAT, logit_softcap, 0, 1000, NULL, "logits = c tanh(z / c); 0: none"),
    FIELD(FIELD_FLOAT, rope_base, 1, 1e9, NULL, "base of the rotary embedding"),
    FIELD(FIELD_INT, rope_dims, 0, 65536, NULL, "rotated dimensions of a head; 0: all"),
    FIELD(FIELD_FLOAT, qk_gain_init, 0, 100, NULL, "gain of normalised queries at first"),
    FIELD(FIELD_BOOL, ln_scale, 0, 0, NULL, "block inputs x 1/sqrt(layer + 1)"),
    FIELD(FIELD_BOOL, xsa, 0, 0, NULL, "take the own value's direction out of attention"),
    FIELD(FIELD_INT, smear_width, 0, 65536, NULL, "channels of the SmearGate; 0: none"),
    FIELD(FIELD_BOOL, smear_embedding, 0, 0, NULL, "a SmearGate over all channels of the embedding"),
    FIELD(FIELD_INT, parallel_start_layer, 0, MODEL_MAX_LAYERS, NULL,
          "first layer with attention and MLP side by side"),
    FIELD(FIELD_BOOL, gated_skips, 0, 0, NULL, "skips are gated"),
    FIELD(FIELD_INT, bigram_buckets, 0, 1 << 24, NULL, "rows of the BigramHash; 0: none"),
    FIELD(FIELD_INT, bigram_dim, 1, 65536, NULL, "channels of the BigramHash"),
    FIELD(FIELD_CHOICE, bigram_hash, 0, 0, bigram_names, "linear: 31 prev + cur; xor: 36313 cur xor 27191 prev"),
    FIELD(FIELD_INT, trigram_buckets, 0, 1 << 24, NULL, "rows of the TrigramHash; 0: none"),
    FIELD(FIELD_INT, trigram_dim, 1, 65536, NULL, "channels of the TrigramHash"),
    FIELD(FIELD_FLOAT, hash_scale, 0, 100, NULL, "learned scale of the hash embeddings at first; 0: they have none"),
    FIELD(FIELD_CHOICE, hash_init, 0, 0, hash_init_names, "which factor of a hash embedding starts at zero"),
    FIELD(FIELD_INT, num_loops, 0, 64, NULL, "extra passes of the looped layers; 0: no loops"),
    FIELD(FIELD_INT, loop_start, 0, MODEL_MAX_LAYERS - 1, NULL, "first looped layer"),
    FIELD(FIELD_INT, loop_end, 0, MODEL_MAX_LAYERS - 1, NULL, "last looped layer"),
    FIELD(FIELD_CHOICE, loop_skips, 0, 0, loop_skips_names, "one U-Net along the looped path, or one each pass"),
    FIELD(FIELD_BOOL, looping, 0, 0, NULL, "loops are on (the loop event turns them on)"),
    FIELD(FIELD_INT, moe_num_experts, 1, MODEL_MAX_EXPERTS, NULL, "experts of a mixture layer"),
    FIELD(FIELD_INT, moe_top_k, 1, MODEL_MAX_EXPERTS, NULL, "experts a token goes to"),
    FIELD(FIELD_CHOICE, moe_gate, 0, 0, gate_names, "what an expert's output is multiplied with"),
    FIELD(FIELD_FLOAT, moe_expert_mult, 0, 64, NULL, "width of an expert as a multiple of model_dim; 0: mlp_mult"),
    FIELD(FIELD_BOOL, moe_split, 0, 0, NULL, "an expert has one part in moe_num_experts of that width"),
    FIELD(FIELD_FLOAT, moe_shared_mult, 0, 64, NULL, "width of an MLP beside the experts, for every token; 0: none"),
    FIELD(FIELD_FLOAT, moe_aux_weight, 0, 100, NULL, "weight of the load-balance loss; 0: none"),
    FIELD(FIELD_BOOL, moe_aux_mean, 0, 0, NULL, "router losses are averaged over the mixture layers, else summed"),
    FIELD(FIELD_FLOAT, moe_z_weight, 0, 100, NULL, "weight of the router z-loss; 0: none"),
    FIELD(FIELD_FLOAT, moe_noise_std, 0, 100, NULL, "noise on the router's logits in training; 0: none"),
    FIELD(FIELD_FLOAT, moe_bias_rate, 0, 1, NULL, "step of the selection bias that balances without a loss; 0: none"),
    FIELD(FIELD_SET, moe_layers, 0, MODEL_MAX_LAYERS - 1, NULL, "mixture layers (the upcycle event adds to them)"),
    FIELD(FIELD_INT, moe_start_layer, -1, MODEL_MAX_LAYERS - 1, NULL, "instead: mixtures from this layer on; -1: no"),
    FIELD(FIELD_SET, random_up_layers, 0, MODEL_MAX_LAYERS - 1, NULL, "layers with a frozen random up-projection"),
    FIELD(FIELD_INT, random_up_experts, 1, MODEL_MAX_EXPERTS, NULL, "blocks of its rows, gated by a router; 1: none"),
    FIELD(FIELD_INT, random_up_rank, 0, 65536, NULL, "rank of the learned correction to it; 0: none"),
    FIELD(FIELD_BOOL, random_up_gain, 0, 0, NULL, "a learned gain for each of its rows"),
    FIELD(FIELD_INT64, random_up_seed, 0, 999999999999999, NULL, "of the random rows, which are never stored"),
    FIELD(FIELD_CHOICE, matrix_init, 0, 0, matrix_init_names, "matrices at first"),
    FIELD(FIELD_CHOICE, projection_init, 0, 0, projection_init_names, "projections to the residual stream at first"),
    FIELD(FIELD_FLOAT, router_init_std, 0, 10, NULL, "standard deviation of routers at first; 0: they are zero"),
    FIELD(FIELD_CHOICE, naming, 0, 0, naming_names,
          "of tensors in files: as #2102, or by modules as #480, #660, #1692"),
    FIELD(FIELD_BOOL, document_attention, 0, 0, NULL, "attention stays within a document"),
};

model_config model_config_default(void) {
    return (model_config){
        .vocab_size = 8192,
        .num_layers = 9,
        .model_dim = 512,
        .num_heads = 8,
        .num_kv_heads = 4,
        .mlp_mult = 4,
        .activation = ACTIVATION_LEAKY_RELU2,
        .tie_embeddings = true,
        .tied_embed_init_std = 0.005f,
        .logit_softcap = 30,
        .rope_base = 10000,
        .rope_dims = 16,
        .qk_gain_init = 5.25f,
        .ln_scale = true,
        .xsa = true,
        .smear_width = 12,
        .parallel_start_layer = 6,
        .gated_skips = true,
        .bigram_buckets = 2048,
        .bigram_dim = 128,
        .trigram_dim = 128,
        .num_loops = 2,
        .loop_start = 3,
        .loop_end = 5,
        .moe_num_experts = 2,
        .moe_top_k = 1,
        .moe_gate = GATE_RENORMALIZED,
        .moe_aux_weight = 0.01f,
        .moe_start_layer = -1,
        .random_up_experts = 1,
        .random_up_gain = true,
        .random_up_seed = 20260403,
        .router_init_std = 0.01f,
        .document_attention = true,
    };
}

/* ---- the forward path ---- */

/* The roles of a U-Net over the entries from `from` to the path's end: the first half pushes, the second half pops. */
static void assign_skips(forward_path *path, int from) {
    int encoder = (path->length - from) / 2, decoder = from + encoder;
    for (int i = from; i < path->length; i++)
        path->skip[i] = i < decoder ? PATH_PUSH : i - decoder < encoder ? i - decoder : PATH_PLAIN;
    if (from == 0) path->encoder = encoder;
}

static void add_layers(forward_path *path, int first, int last) {
    for (int layer = first; layer <= last; layer++) path->layer[path->length++] = layer;
}

forward_path model_config_path(const model_config *c) {
    forward_path path = {0};
    int passes = c->looping ? c->num_loops + 1 : 1;
    int start = c->looping ? c->loop_start : 0, end = c->looping ? c->loop_end : c->num_layers - 1;
    bool each_pass = c->loop_skips == LOOP_SKIPS_EACH_PASS;
    add_layers(&path, 0, start - 1);
    for (int pass = 0; pass < passes; pass++) {
        int from = path.length;
        add_layers(&path, start, end);
        if (each_pass) assign_skips(&path, from);
    }
    add_layers(&path, end + 1, c->num_layers - 1);
    if (!each_pass) assign_skips(&path, 0);
    return path;
}

int model_config_skips(const model_config *c) {
    /* The encoder is the smaller half, so it alone counts. */
    bool longer = c->num_loops > 0 && c->loop_skips == LOOP_SKIPS_ALONG_PATH;
    int looped = longer ? c->num_loops * (c->loop_end - c->loop_start + 1) : 0;
    return (c->num_layers + looped) / 2;
}

/* ---- widths ---- */

static int width_of(const model_config *c, float multiple) {
    return (int)lroundf(multiple * (float)c->model_dim);
}

int model_config_hidden(const model_config *c) {
    return width_of(c, c->mlp_mult);
}

int model_config_expert_hidden(const model_config *c) {
    int whole = width_of(c, c->moe_expert_mult > 0 ? c->moe_expert_mult : c->mlp_mult);
    return c->moe_split ? whole / c->moe_num_experts : whole;
}

int model_config_shared_hidden(const model_config *c) {
    return width_of(c, c->moe_shared_mult);
}

/* ---- mixtures ---- */

bool model_config_is_moe(const model_config *c, int layer) {
    return c->moe_layers[layer] || (c->moe_start_layer >= 0 && layer >= c->moe_start_layer);
}

bool model_config_has_moe(const model_config *c) {
    for (int layer = 0; layer < c->num_layers; layer++)
        if (model_config_is_moe(c, layer)) return true;
    return false;
}

int model_config_active_experts(const model_config *c) {
    return c->moe_gate == GATE_SOFT ? c->moe_num_experts : c->moe_top_k;
}

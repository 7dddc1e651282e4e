#include "nn/config.h"
#include "nn/config_field.h"
#include <math.h>
#include <stdlib.h>

static const char *const activation_names[] = {"relu2", "leaky_relu2", "swiglu", NULL};
_Static_assert(sizeof(activation) == sizeof(int), "FIELD_CHOICE stores an int");

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
    FIELD(FIELD_INT, parallel_start_layer, 0, MODEL_MAX_LAYERS, NULL,
          "first layer with attention and MLP side by side"),
    FIELD(FIELD_BOOL, gated_skips, 0, 0, NULL, "skips are gated"),
    FIELD(FIELD_INT, bigram_buckets, 0, 1 << 24, NULL, "rows of the BigramHash; 0: none"),
    FIELD(FIELD_INT, bigram_dim, 1, 65536, NULL, "channels of the BigramHash"),
    FIELD(FIELD_INT, num_loops, 0, 64, NULL, "extra passes of the looped layers; 0: no loops"),
    FIELD(FIELD_INT, loop_start, 0, MODEL_MAX_LAYERS - 1, NULL, "first looped layer"),
    FIELD(FIELD_INT, loop_end, 0, MODEL_MAX_LAYERS - 1, NULL, "last looped layer"),
    FIELD(FIELD_BOOL, looping, 0, 0, NULL, "loops are on (the loop event turns them on)"),
    FIELD(FIELD_INT, moe_num_experts, 1, MODEL_MAX_EXPERTS, NULL, "experts of a mixture layer"),
    FIELD(FIELD_INT, moe_top_k, 1, MODEL_MAX_EXPERTS, NULL, "experts a token goes to"),
    FIELD(FIELD_FLOAT, moe_aux_weight, 0, 100, NULL, "weight of the load-balance loss"),
    FIELD(FIELD_LAYERS, moe_layers, 0, 0, NULL, "mixture layers (the upcycle event adds to them)"),
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
        .num_loops = 2,
        .loop_start = 3,
        .loop_end = 5,
        .moe_num_experts = 2,
        .moe_top_k = 1,
        .moe_aux_weight = 0.01f,
        .document_attention = true,
    };
}

/* ---- the forward path ---- */

/* Entries of the path with loops on: every looped layer runs num_loops times more. */
static int looped_length(const model_config *c) {
    return c->num_layers + c->num_loops * (c->loop_end - c->loop_start + 1);
}

forward_path model_config_path(const model_config *c) {
    forward_path path = {0};
    int passes = c->looping ? c->num_loops + 1 : 1;
    int start = c->looping ? c->loop_start : 0, end = c->looping ? c->loop_end : c->num_layers - 1;
    for (int layer = 0; layer < start; layer++) path.layer[path.length++] = layer;
    for (int pass = 0; pass < passes; pass++)
        for (int layer = start; layer <= end; layer++) path.layer[path.length++] = layer;
    for (int layer = end + 1; layer < c->num_layers; layer++) path.layer[path.length++] = layer;
    path.encoder = path.length / 2;
    return path;
}

int model_config_skips(const model_config *c) {
    /* The encoder is the smaller half, so it alone counts. */
    return (c->num_loops > 0 ? looped_length(c) : c->num_layers) / 2;
}

int model_config_hidden(const model_config *c) {
    return (int)lroundf(c->mlp_mult * (float)c->model_dim);
}

/* ---- the rules ---- */

static status check_ranges(const model_config *c) {
    for (size_t i = 0; i < MODEL_CONFIG_FIELDS; i++) {
        const config_field *f = &model_config_fields[i];
        if (field_in_range(f, c)) continue;
        char *expected = field_expected(f), *found = f->type == FIELD_CHOICE ? NULL : field_text(f, c);
        status s = fail_usage("%s: expected %s, found %s", f->key, expected, found ? found : "an unknown number");
        free(expected);
        free(found);
        return s;
    }
    return STATUS_OK;
}

static status check_heads(const model_config *c) {
    if (c->model_dim % c->num_heads)
        return fail_usage("num_heads: expected a divisor of model_dim %d, found %d", c->model_dim, c->num_heads);
    if (c->num_heads % c->num_kv_heads)
        return fail_usage("num_kv_heads: expected a divisor of num_heads %d, found %d", c->num_heads, c->num_kv_heads);
    int head_dim = c->model_dim / c->num_heads;
    if (head_dim % 2)
        return fail_usage("num_heads: expected heads of an even number of channels, found %d / %d = %d", c->model_dim,
                          c->num_heads, head_dim);
    if (c->rope_dims % 2 || c->rope_dims > head_dim)
        return fail_usage("rope_dims: expected an even number up to the head's %d, found %d", head_dim, c->rope_dims);
    return STATUS_OK;
}

static status check_widths(const model_config *c) {
    float hidden = c->mlp_mult * (float)c->model_dim;
    if (hidden < 1 || fabsf(hidden - roundf(hidden)) > 1e-3f)
        return fail_usage("mlp_mult: expected a multiple that gives a whole MLP width, found %g x %d = %g",
                          (double)c->mlp_mult, c->model_dim, (double)hidden);
    if (c->smear_width > c->model_dim)
        return fail_usage("smear_width: expected at most model_dim %d, found %d", c->model_dim, c->smear_width);
    if (c->parallel_start_layer > c->num_layers)
        return fail_usage("parallel_start_layer: expected at most num_layers %d, found %d", c->num_layers,
                          c->parallel_start_layer);
    return STATUS_OK;
}

static status check_loops(const model_config *c) {
    if (c->looping && c->num_loops == 0) return fail_usage("looping: expected num_loops of at least 1, found 0");
    if (c->num_loops == 0) return STATUS_OK;
    if (c->loop_end >= c->num_layers)
        return fail_usage("loop_end: expected a layer below num_layers %d, found %d", c->num_layers, c->loop_end);
    if (c->loop_start > c->loop_end)
        return fail_usage("loop_start: expected at most loop_end %d, found %d", c->loop_end, c->loop_start);
    if (looped_length(c) > MODEL_MAX_PATH)
        return fail_usage("num_loops: expected a forward path of at most %d blocks, found %d", MODEL_MAX_PATH,
                          looped_length(c));
    return STATUS_OK;
}

static status check_experts(const model_config *c) {
    if (c->moe_top_k > c->moe_num_experts)
        return fail_usage("moe_top_k: expected at most moe_num_experts %d, found %d", c->moe_num_experts, c->moe_top_k);
    for (int layer = c->num_layers; layer < MODEL_MAX_LAYERS; layer++)
        if (c->moe_layers[layer])
            return fail_usage("moe_layers: expected layers below num_layers %d, found %d", c->num_layers, layer);
    return STATUS_OK;
}

status model_config_check(const model_config *c) {
    TRY(check_ranges(c));
    TRY(check_heads(c));
    TRY(check_widths(c));
    TRY(check_loops(c));
    return check_experts(c);
}
